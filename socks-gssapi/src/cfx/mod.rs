//! Per-message protection of RFC 4121, for the encryption types of RFC 3962 and RFC 8009.
//!
//! A context that MIT's library has established hands over its [`ContextKeys`]; [`halves`] makes the two
//! halves of a [`Protection`](socks_core::Protection) out of them, which from then on share nothing. Both
//! work in place and allocate nothing per message. This module establishes no context and knows no
//! RFC 1964 token (DES, RC4).

mod chain;
mod cipher;
mod confounder;
mod decryption;
mod derive;
mod enctype;
mod hash;
mod keys;
mod mac;
mod open;
mod seal;
mod sequence;
mod sha1;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use decryption::decrypt;
pub use enctype::Enctype;
pub use keys::{ContextKeys, KeyOrigin, Role, UnsupportedKey};
pub use open::Opener;
pub use seal::Sealer;
pub(crate) use sequence::Order;
pub(crate) use token::sequence_number;

/// Makes the two halves that protect the messages of a context.
///
/// The opening half expects the strict order of a stream.
///
/// # Errors
/// [`UnsupportedKey`] when the key is of another encryption type than [`Enctype::ALL`].
///
/// ```
/// use socks_core::{Level, Open as _, Seal as _, Sealing};
/// use socks_gssapi::cfx::{self, ContextKeys, KeyOrigin, Role};
///
/// let keys = |role| ContextKeys {
///     role,
///     enctype: 18,
///     protocol_key: vec![7; 32].into(),
///     origin: KeyOrigin::AcceptorSubkey,
///     send_sequence: 0,
///     receive_sequence: 0,
/// };
/// let (mut client, _) = cfx::halves(&keys(Role::Initiator))?;
/// let (_, mut server) = cfx::halves(&keys(Role::Acceptor))?;
///
/// let mut buffer = [0; 128];
/// buffer[36..41].copy_from_slice(b"hello");
/// let mut message = Sealing { buffer: &mut buffer, range: 36..41 };
/// client.seal(&mut message, Level::Confidentiality)?;
///
/// let frame = &mut message.buffer[message.range];
/// let opened = server.open(frame)?;
/// assert_eq!(&frame[opened.plaintext], b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn halves(keys: &ContextKeys) -> Result<(Sealer, Opener), UnsupportedKey> {
    let enctype = keys.supported_enctype()?;
    Ok((Sealer::new(enctype, keys), Opener::new(enctype, keys)))
}
