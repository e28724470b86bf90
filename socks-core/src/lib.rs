//! The core of a SOCKS5 gateway: what goes over the wire, who a client is, how its octets are protected,
//! and the relay that carries them.
//!
//! This crate holds the messages of RFC 1928 ([`wire`]), the [`Identity`] that an authentication method
//! proves, the [`Protection`] it may bring (RFC 1961 section 5, or a plug-in's own), the [`ClientStream`]
//! that hides whether there is one, and the relays for TCP ([`relay`]) and for [`udp`]. It knows no configuration, no policy and no
//! GSSAPI.
//!
//! ```
//! use bytes::BytesMut;
//! use socks_core::wire::{Decode, Encode, Greeting, Method};
//!
//! let mut octets = BytesMut::from(&[0x05, 0x02, 0x00, 0x02, 0xFF][..]);
//! let greeting = Greeting::decode(&mut octets)?.expect("the message is complete");
//! assert!(greeting.offers(Method::USERNAME_PASSWORD));
//! assert_eq!(&octets[..], [0xFF], "octets behind the message stay where they are");
//! # Ok::<(), socks_core::wire::DecodeError>(())
//! ```

mod identity;
mod protection;
pub mod relay;
mod stream;
pub mod udp;
pub mod wire;

pub use identity::{Identity, IdentityName, Principal, PrincipalError};
pub use jiff::Timestamp;
pub use protection::{
    Level, Levels, Open, OpenError, Opened, Opening, Protection, Room, Seal, SealError, Sealing, Sequence,
};
pub use stream::{ClientIo, ClientStream, ProtectedStream, ReceiveError};
