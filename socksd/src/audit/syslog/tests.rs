use std::io::Read;
use std::net::TcpListener;

use crate::config::SyslogMessage;

use super::*;

fn syslog(address: SyslogAddress) -> Syslog {
    Syslog::new(&SyslogConfig { address, facility: 16, message: SyslogMessage::Json })
}

/// One frame of RFC 6587 section 3.4.1.
fn frame(stream: &mut TcpStream) -> String {
    let mut length = String::new();
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet).unwrap();
        match octet[0] {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut message = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8(message).unwrap()
}

#[test]
fn datagrams_of_a_local_socket_are_one_record_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let mut syslog = syslog(SyslogAddress::Unix(path));
    syslog.append(&mut &b"{\"event\":\"a\"}\n{\"event\":\"b\"}\n"[..]).unwrap();
    for event in ["a", "b"] {
        let mut octets = [0; 1000];
        let length = server.recv(&mut octets).unwrap();
        let text = String::from_utf8_lossy(&octets[..length]);
        assert!(
            text.starts_with("<134>1 ") && text.ends_with(&format!(" - {{\"event\":\"{event}\"}}")),
            "{text}"
        );
    }
}

#[test]
fn datagrams_over_udp_are_one_record_each() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut syslog = syslog(SyslogAddress::Udp(server.local_addr().unwrap().to_string()));
    syslog.append(&mut &b"{\"event\":\"a\"}\n"[..]).unwrap();
    let mut octets = [0; 1000];
    let length = server.recv(&mut octets).unwrap();
    assert!(octets[..length].ends_with(b"{\"event\":\"a\"}"));
}

#[test]
fn a_server_that_has_restarted_gets_each_record_over_a_new_connection() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut syslog = syslog(SyslogAddress::Tcp(server.local_addr().unwrap().to_string()));
    syslog.append(&mut &b"{\"event\":\"a\"}\n{\"event\":\"b\"}\n"[..]).unwrap();
    let (mut first, _) = server.accept().unwrap();
    assert!(frame(&mut first).ends_with("{\"event\":\"a\"}"));
    assert!(frame(&mut first).ends_with("{\"event\":\"b\"}"));
    drop(first);
    // The end of the connection has come before anything is written, as on any machine over loopback.
    while !syslog.link.as_ref().unwrap().was_closed() {
        std::thread::yield_now();
    }
    syslog.append(&mut &b"{\"event\":\"c\"}\n"[..]).unwrap();
    let (mut second, _) = server.accept().unwrap();
    assert!(frame(&mut second).ends_with("{\"event\":\"c\"}"));
}

#[test]
fn a_server_that_is_away_leaves_the_record_to_be_tried_again() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    drop(server);
    let mut syslog = syslog(SyslogAddress::Tcp(address.to_string()));
    let mut rest = &b"{\"event\":\"a\"}\n"[..];
    assert!(syslog.append(&mut rest).is_err());
    assert_eq!(rest, b"{\"event\":\"a\"}\n");
}
