//! A gateway that plays a script, and a protection that protects nothing: for tests of clients.

mod gateway;
mod toy;

pub use gateway::{FakeGateway, Line};
pub use toy::{ToyAuth, toy_frame, toy_protection};

use bytes::BytesMut;
use socks_core::wire::{Command, Encode, Reply, Request, Target, UdpHeader};

/// The greeting that offers these methods.
pub fn greeting(methods: &[u8]) -> Vec<u8> {
    let count = u8::try_from(methods.len()).unwrap_or(u8::MAX);
    [&[0x05, count], methods].concat()
}

/// The request for a connection to a target.
pub fn request(target: &Target) -> Vec<u8> {
    request_of(Command::Connect, target)
}

/// The request of any command.
pub fn request_of(command: Command, target: &Target) -> Vec<u8> {
    encoded(&Request { command, target: target.clone() })
}

/// A datagram between client and relay, with its header (RFC 1928 section 7).
pub fn datagram(target: &Target, octets: &[u8]) -> Vec<u8> {
    [encoded(&UdpHeader { fragment: 0, target: target.clone() }), octets.to_vec()].concat()
}

/// The reply that grants a request.
pub fn granted(bound: &str) -> Vec<u8> {
    bound.parse().map(|bound| encoded(&Reply::succeeded(bound))).unwrap_or_default()
}

/// The reply that refuses a request with that code.
pub fn refused(code: u8) -> Vec<u8> {
    vec![0x05, code, 0x00, 0x01, 0, 0, 0, 0, 0, 0]
}

fn encoded(message: &impl Encode) -> Vec<u8> {
    let mut octets = BytesMut::new();
    message.encode(&mut octets);
    octets.to_vec()
}
