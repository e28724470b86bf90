//! The small web server behind `make run`: `demo-web PORT` answers every visitor until it is killed.
//!
//! It takes any free port where the one asked for is taken, and prints the address it listens on.

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::thread;

const HELLO: &str = "Hello from behind the gateway: you are somebody it knows, and a rule let you in.\n";

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    match listener {
        Ok(listener) => {
            println!("{}", tests::targets::serve_http(listener, HELLO).address);
            loop {
                thread::park();
            }
        }
        Err(error) => {
            eprintln!("no port of loopback can be had: {error}");
            ExitCode::FAILURE
        }
    }
}
