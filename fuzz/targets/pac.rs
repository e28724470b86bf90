//! Authorization data of a ticket (MS-PAC section 2.5).
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    socks_gssapi::property::pac(octets);
});
