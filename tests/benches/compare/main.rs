//! The gateway beside other SOCKS servers, all in one run: see `docs/performance.md`.
//!
//! `make bench`, or `compare [--check] [--quick] [--rounds N] [--time MILLISECONDS] [--only NAME,...]
//! [--with CONTENDER,...] [--report FILE] [--pictures FOLDER]`. A NAME is a scenario or how its name begins. With
//! `--check` it fails when a bound of the project is missed; with `--report` it measures nothing and judges what
//! an earlier run has written; with `--pictures docs` it makes the pictures and tables of the documentation anew.

mod bench;
mod bulk;
mod connections;
mod cores;
mod gssapi;
mod idle;
mod load;
mod rules;
mod trips;
mod udp;

use std::env;
use std::process::ExitCode;

use tests::bench::{Options, USAGE};

use self::bench::Bench;

fn main() -> ExitCode {
    let options = match Options::read(env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("compare: {mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(file) = options.report.clone() {
        return Bench::of_report(options, &file).finish();
    }
    let in_realm = gssapi::names().iter().any(|name| options.want(name));
    if let Some(code) = in_realm.then(gssapi::run_in_realm).flatten() {
        return code;
    }
    let mut bench = Bench::new(options);
    let parts = [
        bulk::measure,
        connections::measure,
        trips::measure,
        idle::measure,
        udp::measure,
        rules::measure,
        cores::measure,
        gssapi::measure,
    ];
    for measure in parts {
        measure(&mut bench);
    }
    bench.finish()
}
