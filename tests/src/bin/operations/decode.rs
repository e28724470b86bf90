//! Messages of clients, as they come over the wire.

use std::hint::black_box;

use bytes::BytesMut;
use socks_auth::password::Login;
use socks_core::Open;
use socks_core::wire::{Decode, Greeting, ProxyHeader, Request, UdpHeader};
use socks_gssapi::cfx::{self, ContextKeys, KeyOrigin, Role};
use socks_gssapi::{MessageError, Start, TokenKind};

use super::Operation;

/// Three methods.
const GREETING: &[u8] = &[0x05, 0x03, 0x00, 0x01, 0x02];
const CONNECT_IPV4: &[u8] = &[0x05, 0x01, 0x00, 0x01, 192, 0, 2, 10, 0x01, 0xBB];
const CONNECT_IPV6: &[u8] =
    &[0x05, 0x01, 0x00, 0x04, 0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0x01, 0xBB];
const CONNECT_NAME: &[u8] = b"\x05\x01\x00\x03\x0Fwww.example.org\x01\xBB";
const LOGIN: &[u8] = b"\x01\x05alice\x0Ecorrect horse ";
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C\xC0\x00\x02\x01\xCB\x00\x71\x09\xC3\x50\x04\x38";
const DATAGRAM_IPV4: &[u8] = &[0, 0, 0, 0x01, 192, 0, 2, 10, 0, 53, b'?'];
const DATAGRAM_NAME: &[u8] = b"\x00\x00\x00\x03\x0Fwww.example.org\x00\x35?";
const AUTHENTICATION_HEAD: [u8; 4] = [0x01, 0x01, 0x03, 0x20];
const DATA_HEAD: [u8; 4] = [0x01, 0x03, 0x40, 0x3C];
/// The most octets of a token that the gateway takes.
const MOST_TOKEN: usize = 0xFFFF;

pub(super) fn operations() -> Vec<Operation<'static>> {
    vec![
        decode::<Greeting>("greeting", GREETING),
        decode::<Request>("request by IPv4 address", CONNECT_IPV4),
        decode::<Request>("request by IPv6 address", CONNECT_IPV6),
        decode::<Request>("request by name", CONNECT_NAME),
        decode::<Login>("login of RFC 1929", LOGIN),
        decode::<ProxyHeader>("PROXY header", PROXY),
        datagram("datagram to an IPv4 address", DATAGRAM_IPV4),
        datagram("datagram to a name", DATAGRAM_NAME),
        Operation::new("decode, GSSAPI message's head".into(), || {
            authentication_len(black_box(AUTHENTICATION_HEAD))
        }),
        frame_head("GSSAPI frame's head", DATA_HEAD),
    ]
}

/// Decoding a message from a buffer that begins with it.
fn decode<M: Decode + 'static>(name: &str, message: &'static [u8]) -> Operation<'static> {
    let decode = |buffer: &mut BytesMut| M::decode(black_box(buffer)).expect("octets are a message");
    let prepare = move |times| -> Box<dyn FnMut()> {
        let mut buffer = BytesMut::from(&*message.repeat(times));
        Box::new(move || {
            black_box(decode(&mut buffer).expect("the message is whole"));
        })
    };
    Operation { name: format!("decode, {name}"), prepare: Box::new(prepare) }
}

fn datagram(name: &str, datagram: &'static [u8]) -> Operation<'static> {
    let split = move || {
        let (header, payload) =
            UdpHeader::split(black_box(datagram)).expect("a header").expect("the header is whole");
        assert_eq!(payload.len(), 1, "the payload is what is behind the header");
        header
    };
    Operation::new(format!("decode, {name}"), split)
}

fn authentication_len([version, kind, high, low]: [u8; 4]) -> Result<usize, MessageError> {
    match Start::read([version, kind])? {
        Start::Token(_) => TokenKind::token_len([high, low], MOST_TOKEN),
        Start::Abort => Ok(0),
    }
}

fn frame_head(name: &str, head: [u8; 4]) -> Operation<'static> {
    let keys = ContextKeys {
        role: Role::Acceptor,
        enctype: 18,
        protocol_key: vec![7; 32].into(),
        origin: KeyOrigin::AcceptorSubkey,
        send_sequence: 0,
        receive_sequence: 0,
    };
    let (_, open) = cfx::halves(&keys).expect("the key fits");
    // The relay knows the engine as a trait only.
    let open: &'static dyn Open = Box::leak(Box::new(open));
    Operation::new(format!("decode, {name}"), move || open.frame_len(black_box(&head)))
}
