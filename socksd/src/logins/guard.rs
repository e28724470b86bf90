//! What the authenticator of one session asks and tells.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use socks_auth::{LoginGuard, Passage, Standing};
use tracing::info;

use crate::admission::Source;
use crate::audit::Event;
use crate::config::{Limits, LoginLimits};
use crate::gateway::Gateway;

use super::{Begun, Claim, Passed};

/// The logins of one client under one method.
pub(crate) struct Guard<'a> {
    gateway: &'a Gateway,
    limits: LoginLimits,
    method: &'a Arc<str>,
    source: Source,
}

impl<'a> Guard<'a> {
    /// No delay is longer than half of the time for a handshake: nobody is kept out by waiting.
    pub(crate) fn new(gateway: &'a Gateway, limits: &Limits, method: &'a Arc<str>, source: Source) -> Self {
        let mut own = limits.logins;
        own.longest_delay = own.longest_delay.map(|delay| delay.min(limits.handshake_timeout / 2));
        Self { gateway, limits: own, method, source }
    }

    fn claim(&self, name: &[u8]) -> Claim {
        self.gateway.logins.claim(self.method, name, self.source)
    }
}

impl LoginGuard for Guard<'_> {
    fn standing(&self, name: &[u8]) -> Standing {
        let found = self.gateway.logins.find(&self.claim(name), &self.limits);
        if found.is_locked { Standing::Locked(found.delay) } else { Standing::Judged(found.delay) }
    }

    fn failed(&self, name: &[u8]) {
        if let Some(begun) = self.gateway.logins.fail(&self.claim(name), &self.limits) {
            tell(self.gateway, &begun);
        }
    }

    fn passed(&self, name: &[u8]) -> Passage {
        match self.gateway.logins.pass(&self.claim(name)) {
            Passed::Locked => Passage::Locked,
            Passed::New => Passage::Delayed,
            // Others' failures are no reason to let somebody wait who has come in from there before.
            Passed::Known => Passage::AtOnce,
        }
    }
}

/// Leaves the record of a lock that has begun.
fn tell(gateway: &Gateway, begun: &Begun) {
    let Some(unrecorded) = begun.unrecorded else { return };
    let Begun { pair, lasts, .. } = begun;
    let source = begun.source.to_string();
    info!(name = %pair.shown, method = %pair.method, source, failures = pair.failures, seconds = lasts.as_secs(), "login locked");
    gateway.audit.tell(&Event::LoginLock {
        method: &pair.method,
        claimed_identity: &pair.shown,
        source: &source,
        failures: pair.failures,
        until: until(*lasts),
        unrecorded,
    });
}

fn until(lasts: Duration) -> Timestamp {
    Timestamp::now().checked_add(lasts).unwrap_or(Timestamp::MAX)
}
