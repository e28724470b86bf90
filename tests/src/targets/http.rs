//! A web server for curl: downloads and uploads that can be checked, over connections that stay open.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Server, listen, serve_on};
use crate::pattern::{Digest, Pattern};

/// The longest line of a request that is read, in octets.
const MAX_LINE: u64 = 8 * 1024;

/// A web server on a free port.
///
/// - `GET /` answers `hello`,
/// - `GET /octets/N` the first N octets of [`Pattern`],
/// - `PUT` or `POST` anywhere the length and checksum of the body, as [`Digest::text`] writes them.
pub fn http() -> Server {
    serve_http(listen(), "hello\n")
}

/// The same on a listener that is there already, with its own text for `GET /`.
pub fn serve_http(listener: TcpListener, hello: &'static str) -> Server {
    serve_on(listener, move |stream, received| {
        let mut reader = BufReader::with_capacity(64 * 1024, stream);
        while let Ok(Some(request)) = Request::read(&mut reader) {
            if answer(&request, &mut reader, hello, received).is_err() {
                return;
            }
        }
    })
}

struct Request {
    method: String,
    path: String,
    length: u64,
    waits: bool,
}

impl Request {
    /// Reads a request's head; `None` when the client has ended instead.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(reader)?;
        let mut words = first.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
        let mut request = Self { method: method.into(), path: path.into(), length: 0, waits: false };
        loop {
            let header = line(reader)?;
            match header.split_once(':') {
                None => return Ok(Some(request)),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    request.length = value.trim().parse().map_err(io::Error::other)?;
                }
                Some((name, _)) if name.eq_ignore_ascii_case("expect") => request.waits = true,
                Some(_) => {}
            }
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    reader.take(MAX_LINE).read_line(&mut text)?;
    Ok(text.trim_end().to_owned())
}

fn answer(
    request: &Request,
    reader: &mut BufReader<TcpStream>,
    hello: &str,
    received: &AtomicU64,
) -> io::Result<()> {
    if request.waits {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = Digest::of(reader.by_ref().take(request.length))?;
    received.fetch_add(body.len(), Ordering::SeqCst);
    let out = reader.get_mut();
    let octets = request.path.strip_prefix("/octets/").and_then(|len| len.parse().ok());
    match (request.method.as_str(), octets) {
        ("PUT" | "POST", _) => text(out, "200 OK", &body.text()),
        ("GET", Some(len)) => {
            head(out, "200 OK", len)?;
            io::copy(&mut BufReader::with_capacity(256 * 1024, Pattern::new(len)), out).map(|_| ())
        }
        ("GET", None) if request.path == "/" => text(out, "200 OK", hello),
        _ => text(out, "404 Not Found", "not found\n"),
    }
}

fn text(out: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    head(out, status, body.len() as u64)?;
    out.write_all(body.as_bytes())
}

fn head(out: &mut TcpStream, status: &str, len: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\r\n");
    out.write_all(head.as_bytes())
}
