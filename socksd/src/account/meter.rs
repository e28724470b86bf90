//! What the relay of a session asks, and what others may change while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socks_core::relay::Way;

use super::{Account, Drawing, Sort};

/// The terms of one session that hold while octets move. It is small, because most sessions have no limit.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// How long nothing may move, in milliseconds; 0: that is not known yet.
    idle: AtomicU64,
    is_limited: AtomicBool,
    drawing: Mutex<Option<Box<Drawing>>>,
    relay: OnceLock<Waker>,
}

impl Meter {
    /// Puts other terms in force, and lets the relay know.
    pub(crate) fn change(&self, idle: Duration, accounts: Vec<Arc<Account>>) {
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).max(1);
        self.idle.store(idle, Ordering::Relaxed);
        let mut drawing = self.drawing();
        if !drawing.as_ref().is_some_and(|drawing| drawing.is_from(&accounts)) {
            *drawing = Drawing::new(accounts).map(Box::new);
        }
        self.is_limited.store(drawing.is_some(), Ordering::Relaxed);
        drop(drawing);
        if let Some(relay) = self.relay.get() {
            relay.wake_by_ref();
        }
    }

    /// How long nothing may move.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        match self.idle.load(Ordering::Relaxed) {
            0 => None,
            milliseconds => Some(Duration::from_millis(milliseconds)),
        }
    }

    /// Notes whom to wake.
    pub(crate) fn attach(&self, relay: &Waker) {
        self.relay.get_or_init(|| relay.clone());
    }

    /// See [`socks_core::relay::Meter::poll_grant`].
    ///
    /// # Errors
    /// When a quota is used up: whose it is.
    pub(crate) fn poll_grant(
        &self,
        way: Way,
        want: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Sort>> {
        if !self.is_limited() {
            return Poll::Ready(Ok(want));
        }
        self.drawing().as_mut().map_or(Poll::Ready(Ok(want)), |drawing| drawing.poll_grant(way, want, cx))
    }

    /// See [`socks_core::relay::Meter::give_back`].
    pub(crate) fn give_back(&self, unused: usize) {
        if self.is_limited()
            && let Some(drawing) = &*self.drawing()
        {
            drawing.give_back(unused);
        }
    }

    /// See [`socks_core::relay::Meter::admits`].
    ///
    /// # Errors
    /// When a quota is used up: whose it is.
    pub(crate) fn admits(&self, octets: usize) -> Result<bool, Sort> {
        if !self.is_limited() {
            return Ok(true);
        }
        self.drawing().as_mut().map_or(Ok(true), |drawing| drawing.take(octets))
    }

    fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// Each change is one step.
    fn drawing(&self) -> MutexGuard<'_, Option<Box<Drawing>>> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
