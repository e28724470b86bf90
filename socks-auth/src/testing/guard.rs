//! A guard that always says the same, and remembers what it was told.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{LoginGuard, Passage, Standing};

/// A [`LoginGuard`] that always says the same, and remembers what it was told.
#[derive(Debug)]
pub struct FakeGuard {
    standing: Standing,
    passage: Passage,
    told: Mutex<Vec<String>>,
}

impl FakeGuard {
    /// A guard that says this to each login.
    pub fn new(standing: Standing, passage: Passage) -> Self {
        Self { standing, passage, told: Mutex::default() }
    }

    /// What it was told: `failed NAME` and `passed NAME`, in order.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, what: &str, name: &[u8]) {
        let line = format!("{what} {}", name.escape_ascii());
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl Default for FakeGuard {
    /// One that holds up nobody.
    fn default() -> Self {
        Self::new(Standing::Judged(Duration::ZERO), Passage::AtOnce)
    }
}

impl LoginGuard for FakeGuard {
    fn standing(&self, _: &[u8]) -> Standing {
        self.standing
    }

    fn failed(&self, name: &[u8]) {
        self.note("failed", name);
    }

    fn passed(&self, name: &[u8]) -> Passage {
        self.note("passed", name);
        self.passage
    }
}
