//! A client's request (RFC 1928 section 4).
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| socks_core::wire::property::request(octets));
