//! Random octets in front of encrypted plaintexts.

use socks_core::SealError;

use super::token::CONFOUNDER;

/// How many are fetched from the system at once.
const STOCK: usize = 8;

/// A small stock of confounders, so that not each message needs a call of the system.
#[derive(Default)]
pub(super) struct Confounders {
    octets: [[u8; CONFOUNDER]; STOCK],
    left: usize,
}

impl Confounders {
    /// One that was never given before.
    pub(super) fn next(&mut self) -> Result<[u8; CONFOUNDER], SealError> {
        if self.left == 0 {
            getrandom::fill(self.octets.as_flattened_mut())
                .map_err(|_| SealError::Engine("the system gives no random octets"))?;
            self.left = STOCK;
        }
        self.left -= 1;
        self.octets.get(self.left).copied().ok_or(SealError::Engine("stock of confounders is out of step"))
    }
}
