//! Kerberos contexts, and the threads on which their calls may block.

use std::sync::Arc;

use socks_gssapi::{ClientRules, Diagnosis, Halves, Initiated, Initiator, TargetName};
use tokio::sync::Semaphore;
use tracing::debug;

use super::ServiceName;

/// Calls of Kerberos at a time; each may wait for a key distribution centre.
const THREADS: usize = 16;

/// Where contexts come from. Its calls may read files.
pub(super) trait Contexts: Send + Sync {
    /// Begins a context with a service.
    fn begin(&self, service: &ServiceName, tickets: &Tickets) -> Result<Box<dyn Context>, Box<str>>;
}

/// Where tickets come from; `None`: from where they usually do.
#[derive(Debug, Clone, Default)]
pub(super) struct Tickets {
    /// The cache that holds them.
    pub(super) ccache: Option<Box<str>>,
    /// The keytab with which they are taken.
    pub(super) keytab: Option<Box<str>>,
}

/// One context on its way. Its calls may read files and ask a key distribution centre.
pub(super) trait Context: Send {
    /// Takes the gateway's token, which is empty at first, and gives what comes of it.
    fn step(self: Box<Self>, token: &[u8]) -> Result<Stage, Box<str>>;
}

/// How far a context has come.
pub(super) enum Stage {
    /// It wants another token; this one is for the gateway.
    Continue { token: Vec<u8>, context: Box<dyn Context> },
    /// It is established; the token may be empty.
    Complete { token: Vec<u8>, halves: Halves },
}

/// The contexts of MIT's library.
pub(super) struct Kerberos;

impl Contexts for Kerberos {
    fn begin(&self, service: &ServiceName, tickets: &Tickets) -> Result<Box<dyn Context>, Box<str>> {
        let Tickets { ccache, keytab } = tickets.clone();
        let target = match service {
            ServiceName::HostBased(name) => TargetName::HostBased(name.clone()),
            ServiceName::Principal(name) => TargetName::Principal(name.clone()),
        };
        let rules = ClientRules { ccache, client_keytab: keytab, ..ClientRules::default() };
        match Initiator::new(&target, &rules) {
            Ok(initiator) => Ok(Box::new(initiator)),
            Err(diagnosis) => Err(text(&diagnosis)),
        }
    }
}

impl Context for Initiator {
    fn step(self: Box<Self>, token: &[u8]) -> Result<Stage, Box<str>> {
        match Initiator::step(*self, token) {
            Ok(Initiated::Continue { token, initiator }) => Ok(Stage::Continue { token, context: initiator }),
            Ok(Initiated::Complete { token, halves, service }) => {
                debug!(%service, "gateway has proven who it is");
                Ok(Stage::Complete { token, halves })
            }
            Err(diagnosis) => Err(text(&diagnosis)),
        }
    }
}

/// What went wrong, and what to do about it.
fn text(diagnosis: &Diagnosis) -> Box<str> {
    match diagnosis.remedy() {
        "" => diagnosis.to_string(),
        remedy => format!("{diagnosis}: {remedy}"),
    }
    .into()
}

/// Bounds how many calls block at a time.
#[derive(Debug, Clone)]
pub(super) struct Threads(Arc<Semaphore>);

impl Default for Threads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS)))
    }
}

impl Threads {
    /// Runs a call where it may block. When nobody waits for it any more it still keeps its place to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Box<str>> + Send + 'static,
    ) -> Result<T, Box<str>> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|_| "closed")?;
        let running = tokio::task::spawn_blocking(move || {
            let done = call();
            drop(permit);
            done
        });
        running.await.unwrap_or_else(|_| Err("a call of Kerberos has panicked".into()))
    }
}
