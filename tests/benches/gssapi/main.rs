//! Kerberos in figures, all in one run: streams protected by our engine, by MIT's library and by Dante's server,
//! sessions with their logins, contexts accepted by one thread and by two, and a tunnel in a flood of bad logins.
//!
//! `cargo bench -p tests --bench gssapi [-- --check] [--rounds N] [--only NAME]`; with `--check` it fails when a
//! bound is missed. A NAME is that of a part or within one: `streams: upload at integrity`, `sessions`, `accepts`, `flood`.
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

use std::process::ExitCode;

use tests::measure::{Bounds, Options};

use self::site::Site;

/// What is measured beside the streams, of which each is a part of its own.
const PARTS: [(&str, Part); 3] =
    [("sessions", sessions::measure), ("accepts", accepts::measure), ("flood", flood::measure)];

type Part = fn(&Site, Options, &mut Bounds);

fn main() -> ExitCode {
    let Some(site) = Site::around() else { return site::run_in_realm() };
    let (options, mut bounds) = (Options::from_arguments(), Bounds::new());
    streams::measure(&site, options, &mut bounds);
    for (name, measure) in PARTS {
        if options.want(name) {
            measure(&site, options, &mut bounds);
        }
    }
    bounds.verdict(options)
}
