//! A policy as large as asked for, for requests to loopback that only its last rule permits.

use std::fmt::Write;

/// So many rules of the kinds that large sites have, before one that permits everything.
///
/// Each names what no session of the benchmark has; the gateway must find out for itself.
pub fn rules(count: usize) -> String {
    let mut text = String::from("version: 1\nrules:\n");
    for at in 1..count {
        let (high, low) = (at / 250 % 250, at % 250);
        let keys = match at % 6 {
            0 => format!("action: deny, destination: 100.{high}.{low}.0/24"),
            1 => format!("action: deny, destination: '*.tracker-{at}.example'"),
            2 => format!(
                "action: permit, source: 10.{low}.0.0/16, destination: 172.{high}.{low}.0/24, port: [443, 8000-8999]"
            ),
            3 => {
                format!("action: permit, identity: 'user-{at}@CORP.EXAMPLE', destination: host-{at}.example")
            }
            4 => format!("action: permit, identity: 'group:team-{low}', destination: '*.team-{at}.example'"),
            _ => format!("action: permit, source: 'fd12:{high:x}:{low:x}::/48', port: 1024-65535"),
        };
        writeln!(text, "  - {{ name: rule-{at}, {keys} }}").expect("text grows");
    }
    text.push_str("  - { name: everything, action: permit, special-use: permit }\n");
    text
}

#[cfg(test)]
mod tests {
    use super::rules;

    #[test]
    fn there_are_as_many_as_asked_for_and_the_last_one_permits() {
        let text = rules(10);
        assert_eq!(text.lines().filter(|line| line.contains("name:")).count(), 10);
        assert!(text.trim_end().ends_with("special-use: permit }"));
    }
}
