//! The messages against the RFC's diagrams, against bad input, and against random octets.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Decodes from the front of `octets`, and gives what is left with it.
fn decode<M: Decode>(octets: &[u8]) -> (Result<Option<M>, DecodeError>, BytesMut) {
    let mut source = BytesMut::from(octets);
    (M::decode(&mut source), source)
}

fn encode(message: &impl Encode) -> Vec<u8> {
    let mut octets = BytesMut::new();
    message.encode(&mut octets);
    octets.to_vec()
}

fn name(text: &str) -> Host {
    Host::Name(text.parse().unwrap())
}

fn target(host: Host, port: u16) -> Target {
    Target { host, port }
}

/// A message is exactly these octets, in both directions, with and without others behind it.
fn assert_is<M: Decode + Encode + PartialEq + Debug>(message: &M, octets: &[u8]) {
    assert_eq!(encode(message), octets);
    let (decoded, left) = decode::<M>(&[octets, b"behind"].concat());
    assert_eq!(decoded.as_ref().map(Option::as_ref), Ok(Some(message)));
    assert_eq!(&left[..], b"behind");
}

fn assert_error<M: Decode + Debug>(octets: &[u8], expected: &DecodeError) {
    let (decoded, left) = decode::<M>(octets);
    assert_eq!(decoded.as_ref().err(), Some(expected), "{octets:02x?} became {decoded:?}");
    assert_eq!(&left[..], octets, "a mistake takes nothing");
}

mod diagrams {
    use super::*;

    #[test]
    fn section_3_greeting() {
        // VER 1, NMETHODS 1, METHODS 1 to 255
        let greeting = Greeting::new(vec![Method::NONE, Method::GSSAPI, Method(0x80)]).unwrap();
        assert_is(&greeting, &[0x05, 0x03, 0x00, 0x01, 0x80]);
    }

    #[test]
    fn section_3_method_choice() {
        // VER 1, METHOD 1
        assert_is(&MethodChoice(Method::GSSAPI), &[0x05, 0x01]);
        assert_is(&MethodChoice(Method::USERNAME_PASSWORD), &[0x05, 0x02]);
        assert_is(&MethodChoice(Method::NO_ACCEPTABLE), &[0x05, 0xFF]);
    }

    #[test]
    fn section_3_private_methods_are_80_to_fe() {
        for (number, private) in [(0x00, false), (0x7F, false), (0x80, true), (0xFE, true), (0xFF, false)] {
            assert_eq!(Method(number).is_private(), private, "{number:#04x}");
        }
    }

    #[test]
    fn section_4_request_for_each_command() {
        // VER 1, CMD 1, RSV X'00', ATYP 1, DST.ADDR variable, DST.PORT 2
        for (number, command) in
            [(0x01, Command::Connect), (0x02, Command::Bind), (0x03, Command::UdpAssociate)]
        {
            let target = target(Host::Ip(Ipv4Addr::new(192, 0, 2, 7).into()), 0x1F90);
            assert_is(&Request { command, target }, &[0x05, number, 0x00, 0x01, 192, 0, 2, 7, 0x1F, 0x90]);
        }
    }

    #[test]
    fn section_5_ipv4_address_has_4_octets() {
        let target = target(Host::Ip(Ipv4Addr::new(1, 2, 3, 4).into()), 80);
        let request = Request { command: Command::Connect, target };
        assert_is(&request, &[0x05, 0x01, 0x00, 0x01, 1, 2, 3, 4, 0x00, 0x50]);
    }

    #[test]
    fn section_5_domain_name_has_a_length_octet_and_no_nul() {
        let request = Request { command: Command::Connect, target: target(name("a.example"), 443) };
        let octets = [&[0x05, 0x01, 0x00, 0x03, 9][..], b"a.example", &[0x01, 0xBB]].concat();
        assert_is(&request, &octets);
    }

    #[test]
    fn section_5_ipv6_address_has_16_octets() {
        let ip: Ipv6Addr = "2001:db8::a".parse().unwrap();
        let request = Request { command: Command::Connect, target: target(Host::Ip(ip.into()), 22) };
        let octets = [&[0x05, 0x01, 0x00, 0x04][..], &ip.octets(), &[0x00, 0x16]].concat();
        assert_is(&request, &octets);
    }

    #[test]
    fn section_6_reply_for_each_code() {
        // VER 1, REP 1, RSV X'00', ATYP 1, BND.ADDR variable, BND.PORT 2
        for code in (0x00..=0x08).chain([0x09, 0xFF]) {
            let bound = target(Host::Ip(Ipv4Addr::new(203, 0, 113, 9).into()), 0xC350);
            let reply = Reply { code: ReplyCode(code), bound };
            assert_is(&reply, &[0x05, code, 0x00, 0x01, 203, 0, 113, 9, 0xC3, 0x50]);
        }
    }

    #[test]
    fn section_6_a_refusal_names_no_address() {
        assert_is(&Reply::refused(ReplyCode::NOT_ALLOWED), &[0x05, 0x02, 0x00, 0x01, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn section_6_a_grant_names_our_end_of_either_family() {
        let reply = Reply::succeeded("198.51.100.1:1025".parse().unwrap());
        assert_is(&reply, &[0x05, 0x00, 0x00, 0x01, 198, 51, 100, 1, 0x04, 0x01]);
        let reply = Reply::succeeded("[::1]:2".parse().unwrap());
        let octets = [&[0x05, 0x00, 0x00, 0x04][..], &Ipv6Addr::LOCALHOST.octets(), &[0, 2]].concat();
        assert_is(&reply, &octets);
    }

    #[test]
    fn section_7_udp_header_is_followed_by_the_data() {
        // RSV X'0000', FRAG 1, ATYP 1, DST.ADDR variable, DST.PORT 2, DATA variable
        let header =
            UdpHeader { fragment: 0x81, target: target(Host::Ip(Ipv4Addr::new(192, 0, 2, 53).into()), 53) };
        let octets = [0x00, 0x00, 0x81, 0x01, 192, 0, 2, 53, 0x00, 0x35];
        assert_is(&header, &octets);
        let datagram = [&octets[..], b"data"].concat();
        assert_eq!(UdpHeader::split(&datagram), Ok(Some((header, &b"data"[..]))));
        assert_eq!(UdpHeader::split(&octets[..9]), Ok(None));
    }
}

mod bad_input {
    use super::*;

    const CONNECT_IPV4: [u8; 10] = [0x05, 0x01, 0x00, 0x01, 1, 2, 3, 4, 0, 80];

    fn changed(position: usize, octet: u8) -> Vec<u8> {
        let mut octets = CONNECT_IPV4;
        octets[position] = octet;
        octets.to_vec()
    }

    fn request_for(name: &[u8]) -> Vec<u8> {
        let len = u8::try_from(name.len()).unwrap();
        [&[0x05, 0x01, 0x00, 0x03, len][..], name, &[0, 80]].concat()
    }

    #[test]
    fn another_version_is_a_mistake_at_its_first_octet() {
        for found in [0x00, 0x04, 0x06, 0x47, 0xFF] {
            let expected = DecodeError::Version { found, expected: 0x05 };
            for octets in [vec![found], changed(0, found)] {
                assert_error::<Greeting>(&octets, &expected);
                assert_error::<MethodChoice>(&octets, &expected);
                assert_error::<Request>(&octets, &expected);
                assert_error::<Reply>(&octets, &expected);
            }
        }
    }

    #[test]
    fn a_greeting_has_1_to_255_methods() {
        assert_error::<Greeting>(&[0x05, 0x00], &DecodeError::NoMethods);
        assert_eq!(Greeting::new(vec![]), None);
        assert_eq!(Greeting::new(vec![Method::NONE; 256]), None);
        let most = Greeting::new((0..=254).map(Method).collect()).unwrap();
        assert_eq!(encode(&most).len(), Greeting::MAX_LEN);
        assert_is(&most, &encode(&most));
    }

    #[test]
    fn the_answer_no_acceptable_method_is_never_on_offer() {
        let (greeting, _) = decode::<Greeting>(&[0x05, 0x02, 0xFF, 0x00]);
        let greeting = greeting.unwrap().unwrap();
        assert!(!greeting.offers(Method::NO_ACCEPTABLE));
        assert!(greeting.offers(Method::NONE));
        assert_eq!(greeting.methods(), [Method::NO_ACCEPTABLE, Method::NONE]);
    }

    #[test]
    fn reserved_octets_are_zero() {
        for octet in [0x01, 0x80, 0xFF] {
            assert_error::<Request>(&changed(2, octet), &DecodeError::Reserved(octet));
            assert_error::<Reply>(&changed(2, octet), &DecodeError::Reserved(octet));
            assert_error::<UdpHeader>(&[octet, 0, 0, 1], &DecodeError::Reserved(octet));
            assert_error::<UdpHeader>(&[0, octet, 0, 1], &DecodeError::Reserved(octet));
            assert_eq!(UdpHeader::split(&[0, octet, 0, 1]), Err(DecodeError::Reserved(octet)));
        }
    }

    #[test]
    fn unknown_commands_and_address_types_are_named() {
        for octet in [0x00, 0x04, 0x7F, 0xF0, 0xFF] {
            assert_error::<Request>(&changed(1, octet), &DecodeError::Command(octet));
        }
        for octet in [0x00, 0x02, 0x05, 0xFF] {
            assert_error::<Request>(&changed(3, octet), &DecodeError::AddressType(octet));
            assert_error::<Reply>(&changed(3, octet), &DecodeError::AddressType(octet));
            assert_error::<UdpHeader>(&[0, 0, 0, octet], &DecodeError::AddressType(octet));
        }
    }

    #[test]
    fn port_zero_is_legal_on_the_wire() {
        let (request, _) = decode::<Request>(&[0x05, 0x03, 0x00, 0x01, 0, 0, 0, 0, 0, 0]);
        assert_eq!(request.unwrap().unwrap().target.port, 0);
    }

    #[test]
    fn names_that_are_none_are_refused_with_the_reason() {
        let long_label = format!("{}.example", "a".repeat(64));
        let longest_field = "a.".repeat(127) + "a";
        let table: &[(&[u8], NameError)] = &[
            (b"", NameError::Empty),
            (b".", NameError::Empty),
            (longest_field.as_bytes(), NameError::TooLong),
            (long_label.as_bytes(), NameError::NotAHostName),
            (b"..", NameError::NotAHostName),
            (b"a..example", NameError::NotAHostName),
            (b".example", NameError::NotAHostName),
            (b"a.example..", NameError::NotAHostName),
            (b"-a.example", NameError::NotAHostName),
            (b"a-.example", NameError::NotAHostName),
            (b"a b.example", NameError::NotAHostName),
            (b"a.example\0", NameError::NotAHostName),
            (b"a\0.example", NameError::NotAHostName),
            (b"a/b", NameError::NotAHostName),
            (b"a.example:80", NameError::NotAHostName),
            (b"user@a.example", NameError::NotAHostName),
            (b"*.example", NameError::NotAHostName),
            (b"[2001:db8::1]", NameError::NotAHostName),
            (b"fe80::1%eth0", NameError::NotAHostName),
            (b"a\r\nb", NameError::NotAHostName),
            (b"\xFF\xFE", NameError::NotAHostName),
            (b"caf\xE9.example", NameError::NotAHostName),
        ];
        for (octets, why) in table {
            let expected = DecodeError::Name { name: octets.escape_ascii().to_string().into(), why: *why };
            assert_error::<Request>(&request_for(octets), &expected);
        }
    }

    #[test]
    fn a_name_field_of_255_octets_is_read_as_far_as_it_is_a_name() {
        let longest = [&"a.".repeat(126)[..], "b"].concat();
        assert_eq!(longest.len(), 253);
        let (request, left) = decode::<Request>(&request_for(longest.as_bytes()));
        assert_eq!(request.unwrap().unwrap().target.host, name(&longest));
        assert!(left.is_empty());
        let octets = request_for("a".repeat(255).as_bytes());
        assert_eq!(octets.len(), Request::MAX_LEN);
        assert!(decode::<Request>(&octets).0.is_err());
    }

    #[test]
    fn oddly_spelled_ipv4_addresses_are_refused() {
        let odd = [
            "127.1",
            "127.0.1",
            "0x7f000001",
            "0X7F000001",
            "0x7f.0.0.1",
            "127.0.0.0x1",
            "2130706433",
            "017700000001",
            "010.0.0.1",
            "1.2.3.4.",
            "1.2.3.256",
            "1.2.3.4.5",
            "0",
            "0x",
            "example.0x",
            "example.1",
            "１２７.0.0.1",
            "127。0。0。1",
        ];
        for text in odd {
            let expected = DecodeError::Name {
                name: text.as_bytes().escape_ascii().to_string().into(),
                why: NameError::OddAddress,
            };
            assert_error::<Request>(&request_for(text.as_bytes()), &expected);
        }
    }

    #[test]
    fn a_well_spelled_address_in_a_name_is_an_address() {
        for text in ["127.0.0.1", "192.0.2.255", "::1", "2001:DB8::1", "::ffff:10.0.0.1"] {
            let (request, _) = decode::<Request>(&request_for(text.as_bytes()));
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(request.unwrap().unwrap().target.host, Host::Ip(ip), "{text}");
        }
    }
}

mod names {
    use super::*;

    #[test]
    fn spelling_does_not_make_another_name() {
        let table = [
            ("EXAMPLE.com", "example.com"),
            ("example.com.", "example.com"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("bücher.example.", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("ｅｘａｍｐｌｅ.com", "example.com"),
            ("straße.example", "xn--strae-oqa.example"),
            ("_ldap._tcp.corp.example", "_ldap._tcp.corp.example"),
            ("localhost", "localhost"),
            ("1.example", "1.example"),
            ("0x7f.example", "0x7f.example"),
        ];
        for (text, expected) in table {
            let name: DomainName = text.parse().unwrap();
            assert_eq!(name.as_str(), expected, "{text}");
            assert_eq!(name.as_str().parse(), Ok(name.clone()), "a checked name passes its own check");
        }
    }

    #[test]
    fn labels_come_from_left_to_right() {
        let name: DomainName = "a.b.example".parse().unwrap();
        assert!(name.labels().eq(["a", "b", "example"]));
        assert!(name.labels().rev().eq(["example", "b", "a"]));
    }

    #[test]
    fn what_idna_refuses_is_no_name() {
        for text in
            ["xn--\u{00e9}.example", "a\u{200b}\u{0000}.example", "\u{0301}a.example", "ü\u{2024}.example:"]
        {
            assert!(text.parse::<DomainName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_target_is_read_as_it_is_printed() {
        for text in ["a.example:443", "192.0.2.1:80", "[2001:db8::1]:0", "[::ffff:1.2.3.4]:65535"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_target_needs_a_host_and_a_port() {
        for text in [
            "",
            ":",
            ":80",
            "a.example",
            "a.example:",
            "a.example:x",
            "a.example:65536",
            "a.example:-1",
            "a.example:+80",
            "::1",
            "2001:db8::1:80",
            "[::1]",
            "[a.example]:80",
            "127.1:80",
            "1.2.3.4",
            "1.2.3.4:99999",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }
}

fn any_host() -> impl Strategy<Value = Host> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|ip| Host::Ip(ip.into())),
        any::<Ipv6Addr>().prop_map(|ip| Host::Ip(ip.into())),
        "([a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?\\.){0,9}[a-z]([a-z0-9-]{0,40}[a-z])?"
            .prop_map(|text| name(&text)),
    ]
}

fn any_target() -> impl Strategy<Value = Target> {
    (any_host(), any::<u16>()).prop_map(|(host, port)| target(host, port))
}

fn any_greeting() -> impl Strategy<Value = Greeting> {
    vec(any::<u8>().prop_map(Method), 1..=255).prop_map(|methods| Greeting::new(methods).unwrap())
}

fn any_request() -> impl Strategy<Value = Request> {
    let command = prop_oneof![Just(Command::Connect), Just(Command::Bind), Just(Command::UdpAssociate)];
    (command, any_target()).prop_map(|(command, target)| Request { command, target })
}

fn any_reply() -> impl Strategy<Value = Reply> {
    (any::<u8>(), any_target()).prop_map(|(code, bound)| Reply { code: ReplyCode(code), bound })
}

fn any_header() -> impl Strategy<Value = UdpHeader> {
    (any::<u8>(), any_target()).prop_map(|(fragment, target)| UdpHeader { fragment, target })
}

/// Octets that look like a message for a while: random ones behind a likely beginning, and messages with
/// one octet changed.
fn nearly(message: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let begun = (
        prop_oneof![Just(vec![]), Just(vec![5]), Just(vec![5, 1, 0]), Just(vec![5, 1, 0, 3])],
        vec(any::<u8>(), 0..300),
    )
        .prop_map(|(beginning, rest)| [beginning, rest].concat());
    let changed = (message, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut octets, at, octet)| {
        let at = at.index(octets.len());
        octets[at] = octet;
        octets
    });
    prop_oneof![begun, changed]
}

/// A message survives encoding and decoding; any part of it is a request for more octets.
fn survives<M: Decode + Encode + PartialEq + Debug>(message: &M, behind: &[u8]) {
    let octets = encode(message);
    assert!(octets.len() <= M::MAX_LEN);
    let (decoded, left) = decode::<M>(&[&octets[..], behind].concat());
    assert_eq!(decoded.as_ref().map(Option::as_ref), Ok(Some(message)));
    assert_eq!(&left[..], behind);
    for cut in 0..octets.len() {
        let (decoded, left) = decode::<M>(&octets[..cut]);
        assert_eq!(decoded, Ok(None), "cut after {cut} octets");
        assert_eq!(left.len(), cut, "nothing is taken before the message is whole");
    }
}

/// Whatever octets come: a part of them is judged as the whole is, or asks for more; nothing is taken but messages.
fn is_consistent<M: Decode + PartialEq + Debug + Clone>(octets: &[u8]) {
    let (whole, left) = decode::<M>(octets);
    let taken = octets.len() - left.len();
    assert_eq!(&octets[taken..], &left[..]);
    match &whole {
        Ok(Some(_)) => assert!((1..=M::MAX_LEN).contains(&taken)),
        Ok(None) => assert!(taken == 0 && octets.len() < M::MAX_LEN, "no reader needs more than the most"),
        Err(_) => assert_eq!(taken, 0),
    }
    for cut in 0..octets.len() {
        let (part, left) = decode::<M>(&octets[..cut]);
        match &part {
            Ok(None) => assert_eq!(left.len(), cut),
            _ => assert_eq!(part, whole, "cut after {cut} octets"),
        }
        assert!(part == Ok(None) || taken <= cut);
    }
}

proptest! {
    #[test]
    fn greetings_survive(message in any_greeting(), behind: [u8; 3]) {
        survives(&message, &behind);
    }

    #[test]
    fn method_choices_survive(method: u8, behind: [u8; 3]) {
        survives(&MethodChoice(Method(method)), &behind);
    }

    #[test]
    fn requests_survive(message in any_request(), behind: [u8; 3]) {
        survives(&message, &behind);
    }

    #[test]
    fn replies_survive(message in any_reply(), behind: [u8; 3]) {
        survives(&message, &behind);
    }

    #[test]
    fn udp_headers_survive(message in any_header(), behind: [u8; 3]) {
        survives(&message, &behind);
        let datagram = [&encode(&message)[..], &behind].concat();
        prop_assert_eq!(UdpHeader::split(&datagram), Ok(Some((message, &behind[..]))));
    }

    #[test]
    fn octets_for_a_greeting_are_judged_alike_in_part_and_whole(
        octets in nearly(any_greeting().prop_map(|message| encode(&message)))
    ) {
        is_consistent::<Greeting>(&octets);
        is_consistent::<MethodChoice>(&octets);
    }

    #[test]
    fn octets_for_a_request_are_judged_alike_in_part_and_whole(
        octets in nearly(any_request().prop_map(|message| encode(&message)))
    ) {
        is_consistent::<Request>(&octets);
        is_consistent::<Reply>(&octets);
    }

    #[test]
    fn octets_for_a_datagram_are_judged_alike_in_part_and_whole(
        octets in nearly(any_header().prop_map(|message| encode(&message)))
    ) {
        is_consistent::<UdpHeader>(&octets);
        let (decoded, _) = decode::<UdpHeader>(&octets);
        let split = UdpHeader::split(&octets);
        prop_assert_eq!(split.map(|parts| parts.map(|(header, _)| header)), decoded);
    }

    #[test]
    fn any_text_is_a_normal_name_or_none(text in "\\PC{0,80}|[a-z0-9.x-]{0,20}|[a-zäöü。.-]{0,300}") {
        if let Ok(name) = text.parse::<DomainName>() {
            prop_assert!((1..=253).contains(&name.as_str().len()));
            prop_assert_eq!(name.as_str().parse(), Ok(name.clone()));
            prop_assert!(name.as_str().parse::<IpAddr>().is_err());
            prop_assert!(!name.as_str().bytes().any(|octet| octet.is_ascii_uppercase() || !octet.is_ascii()));
        }
    }

    #[test]
    fn targets_survive_printing(target in any_target()) {
        prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
    }
}

#[test]
fn a_header_written_before_its_data_is_the_one_that_encoding_makes() {
    for origin in ["192.0.2.7:53", "[2001:db8::7]:65535", "[::ffff:192.0.2.7]:1"] {
        let origin: SocketAddr = origin.parse().unwrap();
        let mut encoded = BytesMut::new();
        UdpHeader { fragment: 0, target: origin.into() }.encode(&mut encoded);
        let mut room = [0x5A; UdpHeader::MAX_ORIGIN + 3];
        let len = UdpHeader::write_before(origin, &mut room).unwrap();
        let (before, header) = room.split_at(room.len() - len);
        assert_eq!(header, &encoded[..]);
        assert!(before.iter().all(|octet| *octet == 0x5A));
        assert_eq!(UdpHeader::write_before(origin, &mut room[..len - 1]), None);
        assert_eq!(UdpHeader::write_before(origin, &mut room[..len]), Some(len));
    }
}
