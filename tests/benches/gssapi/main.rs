//! Kerberos in figures, all in one run: streams protected by our engine, by MIT's library and by Dante's server,
//! sessions with their logins, contexts accepted by one thread and by two, and a tunnel in a flood of bad logins.
//!
//! `cargo bench -p tests --bench gssapi [-- --check] [--rounds N] [--only PART]`; with `--check` it fails when a
//! bound is missed. The parts are `streams`, `sessions`, `accepts` and `flood`; without `--only` all are measured.
//! Everything runs in a throw-away realm with session keys of aes256-cts-hmac-sha1-96. Dante comes from
//! `make dante`.

mod accepts;
mod carry;
mod copying;
mod engine;
mod flood;
mod sessions;
mod site;
mod streams;
mod tunnel;

use std::env;
use std::process::ExitCode;

use tests::measure::{Bounds, Options};

use self::site::Site;

type Part = fn(&Site, Options, &mut Bounds);

const PARTS: [(&str, Part); 4] = [
    ("streams", streams::measure),
    ("sessions", sessions::measure),
    ("accepts", accepts::measure),
    ("flood", flood::measure),
];

fn main() -> ExitCode {
    let Some(site) = Site::around() else { return site::run_in_realm() };
    let (options, mut bounds) = (Options::from_arguments(), Bounds::new());
    for measure in wanted() {
        measure(&site, options, &mut bounds);
    }
    bounds.verdict(options)
}

/// The part that `--only` names, or all of them.
fn wanted() -> Vec<Part> {
    let words: Vec<String> = env::args().skip(1).collect();
    let Some(only) = words.iter().position(|word| word == "--only") else {
        return PARTS.iter().map(|(_, measure)| *measure).collect();
    };
    let name = words.get(only + 1).map(String::as_str).unwrap_or_default();
    let part = PARTS.iter().find(|(part, _)| *part == name);
    vec![part.unwrap_or_else(|| panic!("no part `{name}`: say one of {:?}", PARTS.map(|(part, _)| part))).1]
}
