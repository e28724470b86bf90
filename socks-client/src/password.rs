//! Username and password (RFC 1929, method 0x02), which protects nothing: both travel in the clear.

use std::fmt;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use socks_core::Protection;
use socks_core::wire::{Decode, DecodeError, Method};
use zeroize::Zeroizing;

use crate::{ClientAuth, Exchange, Fault};

/// The version octet of the sub-negotiation (RFC 1929 section 2); not that of SOCKS.
const VERSION: u8 = 0x01;

/// A name and a password to log in with.
pub struct Password {
    name: Box<[u8]>,
    /// The message that says both, wiped when it goes.
    login: Zeroizing<Box<[u8]>>,
}

impl Password {
    /// A login of a name and a password, each of 1 to 255 octets.
    ///
    /// # Errors
    /// [`LoginError`] when one is empty or too long.
    pub fn new(name: &[u8], password: &[u8]) -> Result<Self, LoginError> {
        let name_len = octet_len(name).ok_or(LoginError("user name"))?;
        let password_len = octet_len(password).ok_or(LoginError("password"))?;
        let mut login = Vec::with_capacity(3 + name.len() + password.len());
        login.extend([VERSION, name_len]);
        login.extend(name);
        login.push(password_len);
        login.extend(password);
        Ok(Self { name: name.into(), login: Zeroizing::new(login.into()) })
    }
}

fn octet_len(octets: &[u8]) -> Option<u8> {
    u8::try_from(octets.len()).ok().filter(|len| *len > 0)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password")
            .field("name", &self.name.escape_ascii().to_string())
            .finish_non_exhaustive()
    }
}

/// A name or a password that RFC 1929 cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is empty or longer than 255 octets")]
pub struct LoginError(&'static str);

#[async_trait]
impl ClientAuth for Password {
    fn method(&self) -> Method {
        Method::USERNAME_PASSWORD
    }

    async fn authenticate(&self, exchange: &mut Exchange<'_>) -> Result<Option<Protection>, Fault> {
        exchange.write_all(&self.login).await?;
        match exchange.receive().await? {
            // RFC 1929 section 2: anything but 0 is a failure.
            Status(0x00) => Ok(None),
            Status(_) => Err(Fault::Rejected("gateway refuses the user name or the password".into())),
        }
    }
}

/// The server's answer.
struct Status(u8);

impl Decode for Status {
    const MAX_LEN: usize = 2;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        match src.as_ref() {
            [] | [VERSION] => Ok(None),
            &[VERSION, status, ..] => {
                src.advance(Self::MAX_LEN);
                Ok(Some(Self(status)))
            }
            &[found, ..] => Err(DecodeError::Version { found, expected: VERSION }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_that_of_the_rfc() {
        let password = Password::new(b"alice", b"secret").unwrap();
        assert_eq!(&**password.login, b"\x01\x05alice\x06secret");
    }

    #[test]
    fn what_the_message_cannot_carry_is_refused() {
        let long = [b'a'; 256];
        for (name, password, what) in [
            (&b""[..], &b"x"[..], "user name"),
            (&long, b"x", "user name"),
            (b"x", b"", "password"),
            (b"x", &long, "password"),
        ] {
            assert_eq!(Password::new(name, password).unwrap_err(), LoginError(what));
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", Password::new(b"alice", b"secret").unwrap());
        assert!(shown.contains("alice") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
