//! A password in memory: never shown, wiped when it is dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A client's password.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes over a copy of a password.
    pub fn new(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.into()))
    }

    /// The password itself. Look at it, do not keep it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
