//! Local names of principals, kept for a minute: the library reads krb5.conf's rules anew for each question.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long a name counts: who changes krb5.conf waits no longer than this.
const LIFETIME: Duration = Duration::from_secs(60);
/// The most principals that are kept.
const MOST: usize = 1024;

/// What the library has said of principals, by their full printed form with the realm.
#[derive(Debug, Default)]
pub(crate) struct LocalNames {
    known: HashMap<Box<str>, Known>,
}

#[derive(Debug)]
struct Known {
    /// `None`: krb5.conf maps it to nobody.
    local: Option<Box<str>>,
    until: Instant,
}

/// That the library could not tell.
pub(crate) struct Unknown;

impl LocalNames {
    /// The local name of a principal at a time, from `ask` where it is not known. What `ask` could not tell is
    /// none, and asked again the next time.
    pub(crate) fn local(
        &mut self,
        principal: &str,
        now: Instant,
        ask: impl FnOnce() -> Result<Option<Box<str>>, Unknown>,
    ) -> Option<Box<str>> {
        if let Some(known) = self.known.get(principal).filter(|known| now < known.until) {
            return known.local.clone();
        }
        let Ok(local) = ask() else {
            self.known.remove(principal);
            return None;
        };
        self.make_room(now);
        self.known.insert(principal.into(), Known { local: local.clone(), until: now + LIFETIME });
        local
    }

    /// Forgets what is over, and everything if nothing is.
    fn make_room(&mut self, now: Instant) {
        if self.known.len() >= MOST {
            self.known.retain(|_, known| now < known.until);
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &mut LocalNames, principal: &str, now: Instant) -> bool {
        let mut asked = false;
        names.local(principal, now, || {
            asked = true;
            Ok(Some("local".into()))
        });
        asked
    }

    #[test]
    fn a_name_is_asked_for_once_a_minute_and_for_each_realm() {
        let (mut names, start) = (LocalNames::default(), Instant::now());
        let table =
            [("alice@A", 0, true), ("alice@A", 59, false), ("alice@B", 59, true), ("alice@A", 60, true)];
        for (principal, seconds, expected) in table {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(asked(&mut names, principal, now), expected, "{principal} after {seconds} s");
        }
    }

    #[test]
    fn that_there_is_none_is_kept_too_and_a_failure_is_not() {
        let (mut names, now) = (LocalNames::default(), Instant::now());
        assert_eq!(names.local("svc@A", now, || Ok(None)), None);
        assert!(!asked(&mut names, "svc@A", now));
        assert_eq!(names.local("bob@A", now, || Err(Unknown)), None);
        assert!(asked(&mut names, "bob@A", now));
    }

    #[test]
    fn what_is_over_does_not_come_back_when_the_library_fails() {
        let (mut names, now) = (LocalNames::default(), Instant::now());
        assert!(asked(&mut names, "alice@A", now));
        assert_eq!(names.local("alice@A", now + LIFETIME, || Err(Unknown)), None);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let (mut names, now) = (LocalNames::default(), Instant::now());
        for number in 0..3 * MOST {
            assert!(asked(&mut names, &format!("user{number}@A"), now));
            assert!(names.known.len() <= MOST);
        }
    }
}
