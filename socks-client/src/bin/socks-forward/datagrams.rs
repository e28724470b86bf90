//! A local program's datagrams (RFC 1928 section 7, UDP ASSOCIATE).

mod carrier;
mod outlets;
mod pause;

use std::io;
use std::net::{IpAddr, SocketAddr};

use socks_client::{ReplyCode, Target};
use socks_core::ClientIo;
use socks_core::wire::Host;
use tokio::net::UdpSocket;
use tracing::{debug, info};

use self::carrier::{Carrier, Program, Tally};
use self::outlets::Outlets;
use crate::answer::{Via, refusal};
use crate::forwarder::{Arrival, Forwarder, say, say_last};

/// What programs use for this.
const VIA: Via = Via::Socks5;
const COMMAND: &str = "udp-associate";

impl Forwarder {
    /// Carries a program's datagrams until its connection, or the gateway's, has ended.
    pub(crate) async fn associate(&self, mut io: ClientIo, expected: &Target, arrival: Arrival) {
        let program = arrival.program;
        let failed = |end: &dyn std::fmt::Display| {
            info!(%program, via = %VIA, command = COMMAND, %end, seconds = arrival.seconds(), "failed");
        };
        let main = match self.client.associate().await {
            Ok(association) => association,
            Err(error) => {
                failed(&error);
                return say_last(io.socket, &VIA.failed(&error)).await;
            }
        };
        let (socket, address) = match beside(&io).await {
            Ok(opened) => opened,
            Err(error) => {
                failed(&error);
                return say_last(io.socket, &refusal(ReplyCode::GENERAL_FAILURE)).await;
            }
        };
        let level = main.level();
        debug!(%program, via = %VIA, %level, relay = %main.relay(), %address, "associated");
        if let Err(error) = say(&mut io.socket, &VIA.granted(&address.into())).await {
            return failed(&error);
        }
        let source = Source::new(program.ip(), expected);
        let near = Program { control: io.socket, socket, source };
        let mut carrier = Carrier::new(self, near, Outlets::new(&self.client, main));
        let end = carrier.run().await.to_string();
        let Tally { up, down, datagrams_up, datagrams_down, dropped } = carrier.tally();
        let seconds = arrival.seconds();
        info!(
            %program, via = %VIA, command = COMMAND, %level, up, down, datagrams_up, datagrams_down, dropped,
            end, seconds, "closed"
        );
    }
}

/// A socket for datagrams at the address that the program has connected to.
async fn beside(io: &ClientIo) -> io::Result<(UdpSocket, SocketAddr)> {
    let own = io.socket.local_addr()?.ip();
    let socket = UdpSocket::bind((own, 0)).await?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Where a program's datagrams come from: from nowhere else they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    ip: IpAddr,
    port: Option<u16>,
}

impl Source {
    /// The program's own address, with the port that its request named, if it did (RFC 1928 section 4).
    fn new(ip: IpAddr, expected: &Target) -> Self {
        let is_program = |named: IpAddr| named.is_unspecified() || named.to_canonical() == ip.to_canonical();
        let named = matches!(expected.host, Host::Ip(named) if is_program(named));
        Self { ip, port: Some(expected.port).filter(|port| named && *port != 0) }
    }

    fn admits(self, from: SocketAddr) -> bool {
        from.ip().to_canonical() == self.ip.to_canonical() && self.port.is_none_or(|port| port == from.port())
    }

    /// The port of the first datagram that is one is the program's from then on.
    fn settle(&mut self, port: u16) {
        self.port.get_or_insert(port);
    }

    /// Where datagrams to the program go; nowhere before it has sent any.
    fn address(self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::new(self.ip, port))
    }
}

#[cfg(test)]
mod tests;
