//! Datagrams that wait until the names of their targets are known.

use std::collections::VecDeque;

use super::gate::{Gate, Verdict};
use crate::wire::Target;

/// The most datagrams that wait in one association.
pub(super) const MOST_DATAGRAMS: usize = 16;
/// The most octets of user data that wait in one association.
pub(super) const MOST_OCTETS: usize = 64 * 1024;

/// The bounded queue of one association.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    datagrams: VecDeque<Datagram>,
    octets: usize,
}

/// A datagram with the target that the client has named.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) target: Target,
    pub(super) octets: Box<[u8]>,
}

impl Waiting {
    /// Keeps a copy of a datagram; false: there is no room for it.
    pub(super) fn push(&mut self, target: &Target, octets: &[u8]) -> bool {
        if self.datagrams.len() >= MOST_DATAGRAMS || self.octets + octets.len() > MOST_OCTETS {
            return false;
        }
        self.octets += octets.len();
        self.datagrams.push_back(Datagram { target: target.clone(), octets: octets.into() });
        true
    }

    /// Judges all datagrams again, in their order, and gives those whose name is known now to `settled`.
    pub(super) fn judge<G: Gate>(
        &mut self,
        gate: &mut G,
        mut settled: impl FnMut(&mut G, &Datagram, Verdict),
    ) {
        self.datagrams.retain(|datagram| match gate.judge(&datagram.target) {
            Verdict::Resolve => true,
            verdict => {
                self.octets -= datagram.octets.len();
                settled(gate, datagram, verdict);
                false
            }
        });
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.datagrams.len()
    }
}
