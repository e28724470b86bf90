//! `limits.logins`: what failed logins bring.

use std::time::Duration;

use socks_config::{Findings, Node, value};

/// The longest that failures are counted, and that a lock lasts.
const MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest delay that may be asked for.
const MOST_DELAY: Duration = Duration::from_secs(60);

/// How failed logins slow down, and when they lock out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginLimits {
    /// The longest that the answer to a login waits because of failures; `None`: none waits.
    pub(crate) longest_delay: Option<Duration>,
    /// How long failures count.
    pub(crate) within: Duration,
    /// When a name and a source together are locked; `None`: never.
    pub(crate) lock: Option<LoginLock>,
}

/// When a name and a source together are locked, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginLock {
    /// After so many failures.
    pub(crate) after: u32,
    pub(crate) lasts: Duration,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            longest_delay: Some(Duration::from_secs(2)),
            within: Duration::from_secs(10 * 60),
            lock: Some(LoginLock { after: 10, lasts: Duration::from_secs(15 * 60) }),
        }
    }
}

impl LoginLimits {
    pub(super) fn read(node: &Node, findings: &mut Findings) -> Self {
        let usual = Self::default();
        let Some(mut fields) = node.fields(findings) else { return usual };
        let longest_delay = match fields.take("longest-delay") {
            Some(node) if is_off(node) => None,
            Some(node) => span(node, "longest-delay", MOST_DELAY, findings).or(usual.longest_delay),
            None => usual.longest_delay,
        };
        let [within, lock_for] = ["within", "lock-for"]
            .map(|key| fields.take(key).and_then(|node| span(node, key, MOST, findings)));
        let usual_lock = usual.lock.unwrap_or(LoginLock { after: 1, lasts: MOST });
        let lasts = lock_for.unwrap_or(usual_lock.lasts);
        let lock = match fields.take("lock-after") {
            Some(node) if is_off(node) => None,
            Some(node) => {
                Some(LoginLock { after: failures(node, findings).unwrap_or(usual_lock.after), lasts })
            }
            None => Some(LoginLock { lasts, ..usual_lock }),
        };
        fields.finish(findings);
        Self { longest_delay, within: within.unwrap_or(usual.within), lock }
    }
}

fn is_off(node: &Node) -> bool {
    node.text().is_ok_and(|text| text == "off")
}

/// A time that is neither zero nor longer than `most`.
fn span(node: &Node, key: &str, most: Duration, findings: &mut Findings) -> Option<Duration> {
    let time = findings.note(value::duration(node))?;
    if time.is_zero() || time > most {
        findings.mistake(
            &node.place,
            format!("`{key}` must be more than zero, and at most {} s", most.as_secs()),
        );
        return None;
    }
    Some(time)
}

fn failures(node: &Node, findings: &mut Findings) -> Option<u32> {
    let count = findings.note(node.parse::<u32>())?;
    if count == 0 {
        findings.mistake(&node.place, "`lock-after` must be at least 1; `off` locks nobody out");
        return None;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use socks_config::Document;

    use super::*;

    fn read(text: &str) -> (LoginLimits, Findings) {
        let document = Document::parse("socksd.yaml", text.to_owned()).unwrap();
        let mut findings = Findings::default();
        let limits = LoginLimits::read(&document.root, &mut findings);
        (limits, findings)
    }

    #[test]
    fn what_is_left_out_stays_on() {
        let usual = LoginLimits::default();
        let minute = Duration::from_secs(60);
        let table = [
            ("{}", usual),
            ("{ longest-delay: off }", LoginLimits { longest_delay: None, ..usual }),
            ("{ lock-after: off, lock-for: 1m }", LoginLimits { lock: None, ..usual }),
            (
                "{ longest-delay: 1m, within: 1m, lock-after: 3, lock-for: 1m }",
                LoginLimits {
                    longest_delay: Some(minute),
                    within: minute,
                    lock: Some(LoginLock { after: 3, lasts: minute }),
                },
            ),
            ("{ lock-for: 1m }", LoginLimits { lock: Some(LoginLock { after: 10, lasts: minute }), ..usual }),
        ];
        for (text, expected) in table {
            let (limits, findings) = read(text);
            assert!(findings.is_empty(), "{text}: {findings}");
            assert_eq!(limits, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_a_mistake() {
        for text in [
            "off",
            "{ longest-delay: 0s }",
            "{ longest-delay: 2m }",
            "{ within: off }",
            "{ within: 8d }",
            "{ lock-after: 0 }",
            "{ lock-after: -1 }",
            "{ lock-for: 0s }",
            "{ lock-four: 1s }",
        ] {
            assert!(read(text).1.has_mistakes(), "{text}");
        }
    }
}
