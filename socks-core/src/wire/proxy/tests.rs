//! Headers as balancers write them, and as somebody else might.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::property;

const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x9C, 0x40, 0x04, 0x38];

fn decode(octets: &[u8]) -> Result<Option<ProxyHeader>, DecodeError> {
    ProxyHeader::decode(&mut BytesMut::from(octets))
}

fn from(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Forwarded { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [binary::SIGNATURE, &[command, family], &len, body].concat()
}

/// The same with a right checksum behind the body.
fn summed(family: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = binary(0x21, family, &[body, &[0x03, 0, 4, 0, 0, 0, 0]].concat());
    let sum = checksum::crc32c([&octets[..]]).to_be_bytes();
    let place = octets.len() - 4;
    octets[place..].copy_from_slice(&sum);
    octets
}

/// A header that is taken whole, cut at every octet, and with a greeting behind it that stays.
fn assert_is(octets: &[u8], expected: ProxyHeader) {
    for cut in 0..octets.len() {
        assert_eq!(decode(&octets[..cut]), Ok(None), "cut at {cut}");
    }
    let mut buffer = BytesMut::from(&[octets, &[5, 1, 0]].concat()[..]);
    assert_eq!(ProxyHeader::decode(&mut buffer), Ok(Some(expected)), "{}", octets.escape_ascii());
    assert_eq!(&*buffer, [5, 1, 0]);
    property::proxy_header(octets);
}

fn assert_none(octets: &[u8]) {
    let error = decode(octets);
    assert!(matches!(error, Err(DecodeError::ProxyHeader(_))), "{}: {error:?}", octets.escape_ascii());
    property::proxy_header(octets);
}

#[test]
fn version_1_is_a_line_of_text() {
    let table = [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 40000 1080\r\n", from("192.0.2.7:40000", "198.51.100.1:1080")),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n", from("192.0.2.7:0", "198.51.100.1:65535")),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", from("[2001:db8::7]:1", "[2001:db8::1]:2")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n", from("192.0.2.7:1", "198.51.100.1:2")),
        ("PROXY UNKNOWN\r\n", ProxyHeader::Own),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ProxyHeader::Own),
    ];
    for (line, expected) in table {
        assert_is(line.as_bytes(), expected);
    }
}

#[test]
fn version_1_has_at_most_107_octets() {
    let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16));
    assert_is(line(107).as_bytes(), ProxyHeader::Own);
    assert_none(line(108).as_bytes());
    let endless = "PROXY UNKNOWN ".to_owned() + &"x".repeat(200);
    assert_eq!(decode(&endless.as_bytes()[..105]), Ok(None));
    assert_none(&endless.as_bytes()[..106]);
}

#[test]
fn lines_that_are_none_are_refused() {
    let lines: [&[u8]; 24] = [
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 \r\n",
        b"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP6 fe80::7%eth0 fe80::1 1 2\r\n",
        b"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\r\n",
        b"PROXY TCP4 192.0.2.7\0 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 \xFF 198.51.100.1 1 2\r\n",
    ];
    for line in lines {
        assert_none(line);
    }
}

#[test]
fn version_2_has_its_addresses_at_fixed_places() {
    let v6: Vec<u8> = [
        "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets(),
        "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
    ]
    .concat();
    let v6 = [&v6[..], &[0, 1, 0, 2]].concat();
    assert_is(&binary(0x21, 0x11, &V4), from("192.0.2.7:40000", "198.51.100.1:1080"));
    assert_is(&binary(0x21, 0x21, &v6), from("[2001:db8::7]:1", "[2001:db8::1]:2"));
    assert_is(&binary(0x21, 0x31, &[b'/'; 216]), ProxyHeader::Own);
    assert_is(&binary(0x21, 0x00, b""), ProxyHeader::Own);
    assert_is(&binary(0x21, 0x00, b"anything"), ProxyHeader::Own);
    assert_is(&binary(0x20, 0x00, b""), ProxyHeader::Own);
}

#[test]
fn a_balancers_own_connection_has_no_address_that_counts() {
    for family in 0..=u8::MAX {
        assert_is(&binary(0x20, family, &V4), ProxyHeader::Own);
    }
}

#[test]
fn version_2_fields_are_passed_over_within_their_bounds() {
    let source = from("192.0.2.7:40000", "198.51.100.1:1080");
    let with = |fields: &[u8]| binary(0x21, 0x11, &[&V4, fields].concat());
    assert_is(&with(b"\x01\0\x02h2\x04\0\0\xEA\0\x03abc"), source);
    for cut in [&b"\x01"[..], b"\x01\0", b"\x01\0\x01", b"\x01\xFF\xFFx", b"\x04\0\0\x04\0\x01"] {
        assert_none(&with(cut));
    }
}

#[test]
fn a_checksum_is_verified_wherever_it_stands() {
    let source = from("192.0.2.7:40000", "198.51.100.1:1080");
    let right = summed(0x11, &[&V4[..], b"\x02\0\x04host"].concat());
    assert_is(&right, source);
    // Each octet behind the head, changed: another address, another sum, or fields that do not add up.
    for place in 16..right.len() {
        let mut wrong = right.clone();
        wrong[place] ^= 1;
        let taken = decode(&wrong);
        assert!(!matches!(taken, Ok(Some(_))) || wrong[place] == 2, "{place}: {taken:?}");
    }
    assert_none(&summed(0x11, &[&V4[..], b"\x03\0\x04abcd"].concat()));
    assert_none(&binary(0x21, 0x11, &[&V4[..], b"\x03\0\x03abc"].concat()));
    assert_is(&summed(0x31, &[0; 216]), ProxyHeader::Own);
}

#[test]
fn headers_of_version_2_that_are_none_are_refused() {
    for command in (0..=u8::MAX).filter(|command| !matches!(command, 0x20 | 0x21)) {
        assert_none(&binary(command, 0x11, &V4));
    }
    for family in (0..=u8::MAX).filter(|family| !matches!(family, 0x00 | 0x11 | 0x21 | 0x31)) {
        assert_none(&binary(0x21, family, &[0; 216]));
    }
    for (family, len) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        assert_none(&binary(0x21, family, &vec![1; len]));
    }
}

#[test]
fn version_2_has_at_most_4096_octets_behind_its_head() {
    assert_is_long(4096, &Ok(Some(ProxyHeader::Own)));
    for len in [4097, 65535] {
        assert_is_long(len, &Err(DecodeError::ProxyHeader("it is too long")));
        // The length alone says it.
        let octets = binary(0x20, 0x00, &vec![0; len]);
        assert_none(&octets[..16]);
    }
}

fn assert_is_long(len: usize, expected: &Result<Option<ProxyHeader>, DecodeError>) {
    assert_eq!(&decode(&binary(0x20, 0x00, &vec![0; len])), expected);
}

#[test]
fn a_source_is_the_address_of_one_host() {
    for source in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        assert_none(format!("PROXY TCP4 {source} 198.51.100.1 1 2\r\n").as_bytes());
    }
    for source in ["::", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"] {
        assert_none(format!("PROXY TCP6 {source} 2001:db8::1 1 2\r\n").as_bytes());
    }
}

#[test]
fn what_begins_otherwise_is_no_header() {
    for octets in
        [&b"\x05\x01\0"[..], b"GET / HTTP/1.1\r\n", b"PROXX", b"PROXY\t", b"\r\n\r\n\0\r\nQUIT\r", b"proxy"]
    {
        assert_eq!(decode(octets), Err(DecodeError::NoProxyHeader), "{}", octets.escape_ascii());
        assert!(!ProxyHeader::may_begin(octets));
    }
    for octets in [&b""[..], b"P", b"PROXY", b"PROXY TCP", b"\r", b"\r\n\r\n\0\r\nQUIT\n!"] {
        assert!(ProxyHeader::may_begin(octets));
    }
}

proptest! {
    #[test]
    fn any_octets_are_judged_alike_in_part_and_whole(
        beginning in prop::sample::select(vec![
            &b""[..], b"PROXY TCP4 ", b"PROXY TCP6 ::1 ::2 ", binary::SIGNATURE,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0",
        ]),
        rest in vec(any::<u8>(), 0..400),
    ) {
        property::proxy_header(&[beginning, &rest].concat());
    }

    #[test]
    fn any_addresses_are_read_as_they_were_written(
        source: SocketAddr, destination: SocketAddr, fields in vec((any::<u8>(), vec(any::<u8>(), 0..9)), 0..5)
    ) {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let expected = is_one_host(source.ip().to_canonical())
            .then_some(ProxyHeader::Forwarded { source: canonical(source), destination: canonical(destination) });
        let mapped = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let (from, to) = (mapped(source), mapped(destination));
        let line = format!("PROXY TCP6 {from} {to} {} {}\r\n", source.port(), destination.port());
        prop_assert_eq!(decode(line.as_bytes()).ok().flatten(), expected);
        let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
        let mut body = [&from.octets()[..], &to.octets(), &ports].concat();
        for (kind, value) in fields.into_iter().filter(|(kind, _)| *kind != 0x03) {
            body.extend([kind, 0, u8::try_from(value.len()).unwrap()]);
            body.extend(value);
        }
        prop_assert_eq!(decode(&summed(0x21, &body)).ok().flatten(), expected);
        prop_assert_eq!(decode(&binary(0x21, 0x21, &body)).ok().flatten(), expected);
    }
}
