//! UDP ASSOCIATE without protection: where datagrams go, whose are taken, what is dropped, and what is recorded.

mod carrying;
mod fragments;
mod limits;
mod networks;
mod origins;
mod policy;
mod programs;

use std::net::SocketAddr;

use socks_core::wire::{Host, Target};
use tests::{Gateway, Setup};

/// A gateway whose one rule permits everything, with these keys in addition.
fn gateway(keys: &str) -> Gateway {
    Setup::new().policy(&permitting(keys)).start()
}

/// A policy whose one rule permits everything, with these keys in addition.
fn permitting(keys: &str) -> String {
    format!("version: 1\nrules:\n  - {{ name: everything, action: permit, special-use: permit{keys} }}\n")
}

/// A target by its name.
fn named(name: &str, port: u16) -> Target {
    Target { host: Host::Name(name.parse().expect("a host name")), port }
}

fn at(address: SocketAddr) -> Target {
    address.into()
}
