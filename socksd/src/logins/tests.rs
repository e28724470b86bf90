use super::*;
use crate::config::LoginLock;

fn source(text: &str) -> Source {
    Source::of(text.parse().unwrap())
}

fn limits() -> LoginLimits {
    LoginLimits {
        lock: Some(LoginLock { after: 3, lasts: Duration::from_secs(60) }),
        ..LoginLimits::default()
    }
}

struct Stage(Logins, Arc<str>);

impl Stage {
    fn new() -> Self {
        Self(Logins::new(), "password".into())
    }

    fn fail(&self, name: &str, from: &str, times: usize) -> Vec<Option<Begun>> {
        let claim = self.0.claim(&self.1, name.as_bytes(), source(from));
        (0..times).map(|_| self.0.fail(&claim, &limits())).collect()
    }

    fn is_locked(&self, name: &str, from: &str) -> bool {
        self.0.find(&self.0.claim(&self.1, name.as_bytes(), source(from)), &limits()).is_locked
    }
}

#[test]
fn an_operator_sees_locks_and_lifts_them_by_name_or_source() {
    let stage = Stage::new();
    for (name, from) in [("alice", "192.0.2.1"), ("alice", "2001:db8::1"), ("bob", "192.0.2.1")] {
        stage.fail(name, from, 3);
    }
    stage.fail("carol", "192.0.2.1", 1);
    let shown = stage.0.locks().into_iter().map(|row| (row.name, row.source, row.failures));
    let mut shown: Vec<_> = shown.collect();
    shown.sort_unstable();
    let expected = [("alice", "192.0.2.1"), ("alice", "2001:db8::/64"), ("bob", "192.0.2.1")];
    assert_eq!(shown, expected.map(|(name, from)| (name.to_owned(), from.to_owned(), 3)));
    assert_eq!(stage.0.lift(Some("alice"), Some(source("2001:db8::77"))), 1);
    assert!(stage.is_locked("alice", "192.0.2.1") && !stage.is_locked("alice", "2001:db8::1"));
    assert_eq!(stage.0.lift(None, Some(source("192.0.2.1"))), 3, "carol's failure is forgotten as well");
    assert_eq!((stage.0.locked(), stage.0.lift(Some("alice"), None)), (0, 0));
}

#[test]
fn a_flood_of_locks_makes_few_events_and_loses_no_count() {
    let stage = Stage::new();
    let begun: Vec<Begun> =
        (0..500).flat_map(|number| stage.fail(&format!("user-{number}"), "192.0.2.1", 3)).flatten().collect();
    assert_eq!(begun.len(), 500);
    assert_eq!(begun.iter().filter(|begun| begun.unrecorded.is_some()).count(), MOST_EVENTS as usize);
    lock(&stage.0.events).since -= EVENTS_EVERY;
    let next = stage.fail("one-more", "192.0.2.1", 3).into_iter().flatten().next().unwrap();
    assert_eq!(next.unrecorded, Some(400));
    assert_eq!(stage.0.counts().0, 501);
}

#[test]
fn methods_do_not_share_their_names() {
    let stage = Stage::new();
    stage.fail("alice", "192.0.2.1", 3);
    let other = stage.0.claim(&"acme-token".into(), b"alice", source("192.0.2.1"));
    assert!(!stage.0.find(&other, &limits()).is_locked);
}

#[test]
fn names_are_shown_escaped_and_cut() {
    let table: [(&[u8], &str); 4] =
        [(b"alice", "alice"), ("zoë".as_bytes(), "zoë"), (b"a\x1b[1m", r"a\x1b[1m"), (b"\xff", r"\xff")];
    for (name, expected) in table {
        assert_eq!(&*shown(name), expected);
    }
    assert_eq!(shown(&[b'x'; 255]).chars().count(), MOST_SHOWN + 1);
    assert_eq!(shown(&[0; 255]).chars().count(), MOST_SHOWN + 1);
}
