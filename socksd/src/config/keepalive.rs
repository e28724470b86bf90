//! The `keepalive` of a listener: how long a client may be silent before the kernel asks whether it is still there.

use std::time::Duration;

use socket2::TcpKeepalive;
use socks_config::{Findings, Node};

use super::time;

/// What the kernel can count to.
const LONGEST: Duration = Duration::from_secs(32_767);
const MOST_PROBES: u32 = 127;

/// When the kernel asks, how often, and when it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keepalive {
    /// Never.
    Off,
    On {
        /// Silence before the first question.
        after: Duration,
        /// Between two questions; `None`: as the system does.
        every: Option<Duration>,
        /// Questions without an answer before the connection counts as lost; `None`: as the system does.
        probes: Option<u32>,
    },
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::On { after: Duration::from_secs(120), every: None, probes: None }
    }
}

impl Keepalive {
    /// Reads `off`, or a mapping.
    pub(super) fn read(node: &Node, findings: &mut Findings) -> Self {
        if node.text().is_ok_and(|text| text == "off") {
            return Self::Off;
        }
        let Some(mut fields) = node.fields(findings) else { return Self::default() };
        let [after, every] = ["after", "every"].map(|key| {
            let time = time(&mut fields, key, findings)?;
            if time.subsec_nanos() == 0 && time <= LONGEST {
                return Some(time);
            }
            let place = fields.key(key).map_or(&node.place, |key| &key.place);
            findings.mistake(place, format!("`{key}` must be whole seconds, 1 to {}", LONGEST.as_secs()));
            None
        });
        let probes = fields.take("probes").and_then(|node| {
            let probes = findings.note(node.parse::<u32>())?;
            if !(1..=MOST_PROBES).contains(&probes) {
                findings.mistake(&node.place, format!("`probes` must be 1 to {MOST_PROBES}"));
            }
            Some(probes)
        });
        fields.finish(findings);
        let Self::On { after: usual, .. } = Self::default() else { return Self::Off };
        Self::On { after: after.unwrap_or(usual), every, probes }
    }

    /// The same for a socket; `None`: it is not to ask.
    pub(crate) fn options(self) -> Option<TcpKeepalive> {
        let Self::On { after, every, probes } = self else { return None };
        let mut options = TcpKeepalive::new().with_time(after);
        if let Some(every) = every {
            options = options.with_interval(every);
        }
        if let Some(probes) = probes {
            options = options.with_retries(probes);
        }
        Some(options)
    }
}

#[cfg(test)]
mod tests {
    use socks_config::Document;

    use super::*;

    fn read(text: &str) -> (Keepalive, Findings) {
        let document = Document::parse("socksd.yaml", text.to_owned()).unwrap();
        let mut findings = Findings::default();
        let keepalive = Keepalive::read(&document.root, &mut findings);
        (keepalive, findings)
    }

    #[test]
    fn what_is_left_out_is_the_systems_and_off_is_never() {
        let seconds = Duration::from_secs;
        let table = [
            ("off", Keepalive::Off),
            ("{}", Keepalive::default()),
            ("{ after: 5s }", Keepalive::On { after: seconds(5), every: None, probes: None }),
            (
                "{ after: 1s, every: 3s, probes: 2 }",
                Keepalive::On { after: seconds(1), every: Some(seconds(3)), probes: Some(2) },
            ),
        ];
        for (text, expected) in table {
            let (keepalive, findings) = read(text);
            assert!(findings.is_empty(), "{text}: {findings}");
            assert_eq!(keepalive, expected, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_cannot_count_to_is_a_mistake() {
        for text in [
            "on",
            "{ after: 500ms }",
            "{ after: 0s }",
            "{ every: 10h }",
            "{ probes: 0 }",
            "{ probes: 128 }",
            "{ proves: 1 }",
        ] {
            let (_, findings) = read(text);
            assert!(findings.has_mistakes(), "{text}");
        }
    }
}
