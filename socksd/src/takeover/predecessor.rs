//! The old process, as long as it has sessions: asked over its admin socket.

use std::path::PathBuf;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use tokio::time::timeout;
use tracing::warn;

use crate::ask::{self, Failure};

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// For a reload, which waits for the end of the [trial](super::giving::TRIAL) and then reads files as long as it takes.
const RELOAD_PATIENCE: Duration = Duration::from_secs(40);
/// What asks for one.
const RELOAD: &str = "/api/reload";
const _: () = assert!(RELOAD_PATIENCE.as_secs() > 2 * super::giving::TRIAL.as_secs());

/// A process that has handed over.
#[derive(Debug, Clone)]
pub(crate) struct Predecessor {
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// Where it is asked, if it has an admin socket.
    pub(super) admin: Option<PathBuf>,
}

impl Predecessor {
    /// Asks it something for somebody; `None`: it gives no answer.
    pub(crate) async fn ask(&self, method: Method, path: &str, who: &str) -> Option<(StatusCode, Bytes)> {
        let admin = self.admin.as_deref()?;
        let patience = if path == RELOAD { RELOAD_PATIENCE } else { PATIENCE };
        let answered = timeout(patience, ask::exchange(admin, method, path, Some(who))).await;
        let answered: Result<_, Failure> = answered.unwrap_or_else(|_| Err("no answer in time".into()));
        answered
            .inspect_err(|error| warn!(process = self.pid, %error, "the old process cannot be asked"))
            .ok()
    }

    /// Lets it read its files anew, so that it judges its sessions by them; what it says if it does not.
    pub(crate) async fn reload(&self, who: &str) -> Option<String> {
        let answered = self.ask(Method::POST, RELOAD, who).await;
        let pid = self.pid;
        let text = match answered {
            Some((status, _)) if status.is_success() => return None,
            Some((_, body)) => {
                let why = String::from_utf8_lossy(&body);
                format!("process {pid} goes on under the policy that it has: {why}")
            }
            None if self.admin.is_none() => {
                format!(
                    "process {pid} goes on under the policy that it has: it has no admin socket to be asked by"
                )
            }
            None => format!("it is not known by which policy process {pid} goes on: it does not answer"),
        };
        warn!("{text}");
        Some(text)
    }
}
