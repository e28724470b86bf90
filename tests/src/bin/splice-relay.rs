//! The least that a relay can be: a baseline for benchmarks, and nothing to put on a network.
//!
//! `splice-relay ADDRESS` answers a greeting and a CONNECT to an IPv4 address without looking further, opens the
//! connection, and has two threads call splice(2) until both ways have ended. It has no policy, no limits, no
//! timeouts and no event loop: what it costs is what the kernel costs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

use rustix::pipe::{SpliceFlags, pipe, splice};

/// The most that one call moves: all that a pipe holds.
const MOST: usize = 64 * 1024;
/// Enough for two calls one after the other.
const STACK: usize = 32 * 1024;

fn main() -> ExitCode {
    let address = std::env::args().nth(1);
    let Some(Ok(listener)) = address.map(TcpListener::bind) else {
        eprintln!("usage: splice-relay ADDRESS");
        return ExitCode::from(2);
    };
    for client in listener.incoming().flatten() {
        // Who does not speak as expected is left alone.
        let relay = move || drop(serve(client));
        drop(thread::Builder::new().stack_size(STACK).spawn(relay));
    }
    ExitCode::SUCCESS
}

fn serve(mut client: TcpStream) -> io::Result<()> {
    client.read_exact(&mut [0; 3])?;
    client.write_all(&[0x05, 0x00])?;
    let mut request = [0; 10];
    client.read_exact(&mut request)?;
    let [0x05, 0x01, 0x00, 0x01, a, b, c, d, high, low] = request else { return Ok(()) };
    let target = SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])));
    let server = TcpStream::connect(target)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    client.write_all(&[0x05, 0x00, 0x00, 0x01, 0, 0, 0, 0, 0, 0])?;
    thread::scope(|scope| {
        thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || pass(&client, &server))?;
        pass(&server, &client);
        Ok(())
    })
}

/// Moves octets until the end, which it passes on, too.
fn pass(from: &TcpStream, to: &TcpStream) {
    // A way that breaks ends, and the other one with it.
    let end = if splice_all(from, to).is_ok() { Shutdown::Write } else { Shutdown::Both };
    drop(to.shutdown(end));
}

fn splice_all(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (output, input) = pipe()?;
    loop {
        let mut held = splice(from, None, &input, None, MOST, SpliceFlags::MOVE)?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            held -= splice(&output, None, to, None, held, SpliceFlags::MOVE)?;
        }
    }
}
