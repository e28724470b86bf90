//! The names that an association's datagrams go to: each looked up once at a time, few at once, and remembered
//! for a while.

use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socks_core::wire::DomainName;
use tokio::time::Instant;

use crate::resolve::ResolveError;

use super::recent::Recent;

/// The most names of one association that are looked up at once.
const MOST_LOOKUPS: usize = 8;
/// The most names that are remembered.
const MOST_NAMES: usize = 256;
/// How long addresses are good; the resolver itself knows how long the name's owner wants them kept.
const FRESH: Duration = Duration::from_secs(30);
/// How long a name that has no address is not asked for again.
const FAILED: Duration = Duration::from_secs(5);

/// The end of a lookup: the addresses, none if it failed.
type Lookup = Pin<Box<dyn Future<Output = (DomainName, Arc<[IpAddr]>)> + Send>>;

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its addresses; empty: it has none, or could not be looked up.
    Known(Arc<[IpAddr]>),
    /// It is being looked up.
    Asking,
    /// It is not known, and too many others are being looked up.
    Busy,
}

/// Names with their addresses.
pub(super) struct Names {
    known: Recent<DomainName, Known>,
    asking: HashSet<DomainName>,
    lookups: FuturesUnordered<Lookup>,
}

#[derive(Debug)]
struct Known {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { known: Recent::new(MOST_NAMES), asking: HashSet::new(), lookups: FuturesUnordered::new() }
    }

    /// What is known of the name; if nothing is, `lookup` is asked for it.
    pub(super) fn ask<F>(
        &mut self,
        name: &DomainName,
        now: Instant,
        lookup: impl FnOnce(DomainName) -> F,
    ) -> Answer
    where
        F: Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'static,
    {
        if let Some(known) = self.known.get(name).filter(|known| now < known.until) {
            return Answer::Known(Arc::clone(&known.addresses));
        }
        if self.asking.contains(name) {
            return Answer::Asking;
        }
        if self.lookups.len() >= MOST_LOOKUPS {
            return Answer::Busy;
        }
        let (name, asked) = (name.clone(), lookup(name.clone()));
        self.asking.insert(name.clone());
        self.lookups.push(Box::pin(async move { (name, asked.await.unwrap_or_default().into()) }));
        Answer::Asking
    }

    /// Ready when a name has become known; pending while there is nothing to wait for.
    pub(super) fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = Poll::Pending;
        while let Poll::Ready(Some((name, addresses))) = self.lookups.poll_next_unpin(cx) {
            self.asking.remove(&name);
            let good = if addresses.is_empty() { FAILED } else { FRESH };
            self.known.insert(name, Known { addresses, until: Instant::now() + good });
            any = Poll::Ready(());
        }
        any
    }

    /// Forgets all addresses; lookups that are under way go on.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use super::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    fn found() -> Result<Vec<IpAddr>, ResolveError> {
        Ok(vec!["192.0.2.1".parse().unwrap()])
    }

    fn never(_: DomainName) -> std::future::Ready<Result<Vec<IpAddr>, ResolveError>> {
        panic!("the name is known, or being looked up")
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_once_and_remembered_for_a_while() {
        let (mut names, git) = (Names::new(), name("git.example"));
        let start = Instant::now();
        assert_eq!(names.ask(&git, start, |_| ready(found())), Answer::Asking);
        assert_eq!(names.ask(&git, start, never), Answer::Asking);
        poll_fn(|cx| names.poll_known(cx)).await;
        assert!(matches!(names.ask(&git, start, never), Answer::Known(addresses) if addresses.len() == 1));
        assert_eq!(names.ask(&git, start + FRESH, |_| ready(found())), Answer::Asking);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_address_is_not_asked_for_at_once_again() {
        let (mut names, nowhere) = (Names::new(), name("nowhere.example"));
        let start = Instant::now();
        assert_eq!(names.ask(&nowhere, start, |_| ready(Err(ResolveError::NotFound))), Answer::Asking);
        poll_fn(|cx| names.poll_known(cx)).await;
        assert!(matches!(names.ask(&nowhere, start, never), Answer::Known(none) if none.is_empty()));
        assert_eq!(names.ask(&nowhere, start + FAILED, |_| ready(found())), Answer::Asking);
    }

    #[tokio::test]
    async fn many_names_are_not_looked_up_at_once() {
        let (mut names, now) = (Names::new(), Instant::now());
        for number in 0..MOST_LOOKUPS {
            let name = name(&format!("host{number}.example"));
            assert_eq!(names.ask(&name, now, |_| pending()), Answer::Asking);
        }
        assert_eq!(names.ask(&name("one-more.example"), now, never), Answer::Busy);
        assert_eq!(names.ask(&name("host0.example"), now, never), Answer::Asking);
        assert!(poll_fn(|cx| Poll::Ready(names.poll_known(cx))).await.is_pending());
    }

    #[tokio::test]
    async fn what_is_forgotten_is_looked_up_anew() {
        let (mut names, git, now) = (Names::new(), name("git.example"), Instant::now());
        assert_eq!(names.ask(&git, now, |_| ready(found())), Answer::Asking);
        poll_fn(|cx| names.poll_known(cx)).await;
        names.clear();
        assert_eq!(names.ask(&git, now, |_| ready(found())), Answer::Asking);
    }
}
