//! What a load balancer says before its client's first octet (PROXY protocol, both versions).
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| socks_core::wire::property::proxy_header(octets));
