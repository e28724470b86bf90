//! A client's octets in the negotiation of RFC 1961, and protected frames behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    socks_gssapi::property::negotiation(octets);
    socks_gssapi::property::frames(octets);
});
