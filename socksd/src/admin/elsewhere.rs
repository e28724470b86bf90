//! What concerns the sessions of a process that this one has taken over from: it is asked in its turn.

use axum::http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Desk;
use super::access::Caller;
use super::status::{Earlier, Status};

impl Desk {
    /// The answer of the process before this one; `None`: there is none, or it has nothing to say.
    pub(super) async fn ask_predecessor<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        caller: &Caller,
    ) -> Option<T> {
        let predecessor = self.gateway.predecessor()?;
        let (status, body) = predecessor.ask(method, path, &caller.name).await?;
        status.is_success().then(|| serde_json::from_slice(&body).ok())?
    }

    /// All processes that still have sessions from before.
    pub(super) async fn predecessors(&self, caller: &Caller) -> Vec<Earlier> {
        let Some(predecessor) = self.gateway.predecessor() else { return Vec::new() };
        let status: Option<Status> = self.ask_predecessor(Method::GET, "/api/status", caller).await;
        let all = self.gateway.admission.elsewhere();
        let (sessions, before) = match status {
            Some(status) => (status.sessions, status.predecessors),
            None => (all, Vec::new()),
        };
        let first = Earlier { pid: predecessor.pid, version: predecessor.version, sessions };
        std::iter::once(first).chain(before).collect()
    }

    /// Ends a session of an earlier process; `false`: none has it.
    pub(super) async fn end_elsewhere(&self, session: &str, caller: &Caller) -> bool {
        let path = format!("/api/sessions/{session}/end");
        self.ask_predecessor::<Value>(Method::POST, &path, caller).await.is_some()
    }

    /// Ends those that are meant, and tells how many there were.
    pub(super) async fn end_all_elsewhere(&self, query: &str, caller: &Caller) -> usize {
        let path = format!("/api/sessions/end?{query}");
        let answer: Option<Value> = self.ask_predecessor(Method::POST, &path, caller).await;
        let ended = answer.and_then(|answer| answer.get("ended")?.as_u64()).unwrap_or_default();
        usize::try_from(ended).unwrap_or(usize::MAX)
    }
}
