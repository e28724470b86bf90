//! The clock here against that of a key distribution centre, if one answers.
//!
//! Nothing of the gateway's needs the centre; but tickets carry its clock.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use jiff::Timestamp;
use socks_core::wire::DomainName;
use socks_gssapi::{CentreAnswer, clock_answer, clock_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::finding::Report;
use super::keytab::Keys;
use super::profile::{Profile, is_false};
use crate::resolve::Resolver;

const ID: &str = "clock";
/// How long one centre may take, by UDP and then by TCP.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long UDP is given of that.
const BY_UDP: Duration = Duration::from_millis(800);
/// The most octets of an answer.
const MOST_ANSWER: usize = 4096;
/// The most realms, and the most centres of each, that are asked.
const MOST_REALMS: usize = 4;
const MOST_CENTRES: usize = 4;
/// Kerberos' port (RFC 4120 section 7.2).
const PORT: u16 = 88;
/// From so many milliseconds on a difference is worth a warning; the library allows 300 s unless told otherwise.
const WARNING: i128 = 60_000;
const MISTAKE: i128 = 300_000;

/// One centre, as it is written down somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Centre {
    host: String,
    port: u16,
}

/// Asks a centre of each realm for its time.
pub(super) async fn examine(keys: &Keys, profile: &Profile, resolver: &Resolver, report: &mut Report<'_>) {
    for realm in keys.realms().into_iter().take(MOST_REALMS) {
        realm_clock(realm, profile, resolver, report).await;
    }
}

async fn realm_clock(realm: &str, profile: &Profile, resolver: &Resolver, report: &mut Report<'_>) {
    let written = profile.centres(realm);
    let mut centres: Vec<Centre> = written.iter().filter_map(|text| Centre::parse(text)).collect();
    if written.is_empty() && !profile.library_default("dns_lookup_kdc").is_some_and(is_false) {
        centres = by_dns(realm).await;
    }
    let Some(request) = clock_request(realm, Timestamp::now().subsec_nanosecond().unsigned_abs()) else {
        return report.note(ID, format!("`{realm}` is no name of a realm that could be asked"), "");
    };
    let mut failures = Vec::new();
    for centre in centres.iter().take(MOST_CENTRES) {
        match timeout(DEADLINE, centre.ask(&request, resolver)).await {
            Ok(Ok(reply)) => match reply.answer {
                Some(CentreAnswer::Clock { time, .. }) => {
                    return judge(realm, centre, reply.ahead(time), report);
                }
                Some(_) => failures.push(format!("`{}` gives a ticket instead of its time", centre.host)),
                None => failures.push(format!("`{}` answers something else", centre.host)),
            },
            Ok(Err(error)) => failures.push(format!("`{}`: {error}", centre.host)),
            Err(_) => failures.push(format!("`{}`: no answer within {} s", centre.host, DEADLINE.as_secs())),
        }
    }
    let why = match failures.is_empty() {
        true => "none is named in krb5.conf or found by DNS".to_owned(),
        false => failures.join(", "),
    };
    let text = format!("clock could not be compared with a key distribution centre of `{realm}`: {why}");
    report.note(ID, text, "the gateway does not need one; compare the clocks by hand");
}

/// Judges how many milliseconds the centre is ahead.
fn judge(realm: &str, centre: &Centre, ahead: i128, report: &mut Report<'_>) {
    let seconds = ahead.unsigned_abs() / 1000;
    let which = if ahead < 0 { "ahead of" } else { "behind" };
    let place = format!("that of `{realm}`'s key distribution centre `{}`", centre.host);
    let remedy = "synchronise both by NTP, for example with chrony or systemd-timesyncd";
    match ahead.abs() {
        millis if millis <= WARNING => {
            report.ok(ID, format!("this clock agrees with {place} ({millis} ms apart)"));
        }
        millis if millis <= MISTAKE => {
            report.warning(ID, format!("this clock is {seconds} s {which} {place}"), remedy);
        }
        _ => {
            let text = format!("this clock is {seconds} s {which} {place}: tickets are refused");
            report.mistake(ID, text, remedy);
        }
    }
}

/// What came back, and when.
struct Reply {
    answer: Option<CentreAnswer>,
    sent: Timestamp,
    received: Timestamp,
}

impl Reply {
    /// How many milliseconds `time` is ahead of the middle between question and answer.
    fn ahead(&self, time: Timestamp) -> i128 {
        let middle = (self.sent.as_nanosecond() + self.received.as_nanosecond()) / 2;
        (time.as_nanosecond() - middle) / 1_000_000
    }
}

impl Centre {
    /// Reads `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`, with `tcp/` or `udp/` before; nothing else (a proxy of HTTPS).
    fn parse(text: &str) -> Option<Self> {
        let text = ["tcp/", "udp/"].iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text);
        if text.contains('/') {
            return None;
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self { host: ip.to_string(), port: PORT });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && (!host.contains(':') || host.ends_with(']')) => {
                (host, port.parse().ok()?)
            }
            _ => (text, PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self { host: host.to_owned(), port })
    }

    async fn ask(&self, request: &[u8], resolver: &Resolver) -> io::Result<Reply> {
        let address = SocketAddr::new(self.resolve(resolver).await?, self.port);
        let sent = Timestamp::now();
        let received =
            |octets: &[u8], sent| Reply { answer: clock_answer(octets), sent, received: Timestamp::now() };
        if let Ok(Ok(octets)) = timeout(BY_UDP, by_udp(address, request)).await {
            return Ok(received(&octets, sent));
        }
        let sent = Timestamp::now();
        Ok(received(&by_tcp(address, request).await?, sent))
    }

    async fn resolve(&self, resolver: &Resolver) -> io::Result<IpAddr> {
        if let Ok(ip) = self.host.parse() {
            return Ok(ip);
        }
        let name = self.host.parse::<DomainName>().map_err(io::Error::other)?;
        let addresses = resolver.lookup(&name, DEADLINE).await.map_err(io::Error::other)?;
        addresses.first().copied().ok_or_else(|| io::Error::other("name has no address"))
    }
}

async fn by_udp(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(address).await?;
    socket.send(request).await?;
    let mut octets = vec![0; MOST_ANSWER];
    let len = socket.recv(&mut octets).await?;
    octets.truncate(len);
    Ok(octets)
}

/// RFC 4120 section 7.2.2: four octets of length stand before a message.
async fn by_tcp(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let len = u32::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), request].concat()).await?;
    let len = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if len > MOST_ANSWER {
        return Err(io::Error::other("answer is too long"));
    }
    let mut octets = vec![0; len];
    stream.read_exact(&mut octets).await?;
    Ok(octets)
}

/// RFC 4120 section 7.2.3.2: the centres that DNS names, the preferred ones first.
async fn by_dns(realm: &str) -> Vec<Centre> {
    let Some(resolver) = TokioResolver::builder_tokio().ok().and_then(|builder| builder.build().ok()) else {
        return Vec::new();
    };
    let found = timeout(DEADLINE, resolver.srv_lookup(format!("_kerberos._udp.{realm}."))).await;
    let Ok(Ok(lookup)) = found else { return Vec::new() };
    let mut centres: Vec<(u16, Centre)> = lookup
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => {
                let host = srv.target.to_string().trim_end_matches('.').to_owned();
                Some((srv.priority, Centre { host, port: srv.port }))
            }
            _ => None,
        })
        .collect();
    centres.sort_by_key(|(priority, _)| *priority);
    centres.into_iter().map(|(_, centre)| centre).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_are_read_as_krb5_conf_writes_them() {
        let centre = |host: &str, port| Some(Centre { host: host.to_owned(), port });
        let table = [
            ("kdc.example", centre("kdc.example", 88)),
            ("kdc.example:8888", centre("kdc.example", 8888)),
            ("tcp/kdc.example", centre("kdc.example", 88)),
            ("127.0.0.1:1", centre("127.0.0.1", 1)),
            ("[::1]:1", centre("::1", 1)),
            ("[::1]", centre("::1", 88)),
            ("::1", centre("::1", 88)),
            ("https://proxy.example/KdcProxy", None),
            ("kdc.example:port", None),
        ];
        for (text, expected) in table {
            assert_eq!(Centre::parse(text), expected, "{text}");
        }
    }
}
