//! Carries datagrams between a program and the gateway, and watches the connection that they depend on.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use socks_client::{DatagramError, Target};
use socks_core::wire::{Encode, UdpHeader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::Source;
use super::outlets::{Brought, Outlets};
use crate::forwarder::Forwarder;

/// The room that one datagram of any size finds, in octets.
const DATAGRAM: usize = 64 * 1024;

/// Both sides of a program's association.
pub(super) struct Carrier<'a> {
    forwarder: &'a Forwarder,
    program: Program,
    outlets: Outlets,
    tally: Tally,
    /// Whose turn it is to be looked at first: neither side must keep the other waiting for ever.
    is_gateways_turn: bool,
}

/// What belongs to the program.
#[derive(Debug)]
pub(super) struct Program {
    /// The connection that its association came by.
    pub(super) control: TcpStream,
    /// Our socket for its datagrams.
    pub(super) socket: UdpSocket,
    pub(super) source: Source,
}

/// What was carried, in datagrams and octets of user data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) datagrams_up: u64,
    pub(super) datagrams_down: u64,
    /// Datagrams that were not carried, of either direction.
    pub(super) dropped: u64,
}

/// Why it is over.
#[derive(Debug)]
pub(super) enum End {
    Program,
    Idle,
    Gateway(DatagramError),
    Socket(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("program has ended its connection"),
            Self::Idle => f.write_str("nothing has moved for the idle timeout"),
            Self::Gateway(error) => write!(f, "gateway: {error}"),
            Self::Socket(error) => write!(f, "program: {error}"),
        }
    }
}

enum Event {
    FromProgram(SocketAddr),
    FromGateway(Brought),
    Over(End),
}

impl<'a> Carrier<'a> {
    /// A carrier between a program on one side, and the gateway on the other.
    pub(super) fn new(forwarder: &'a Forwarder, program: Program, outlets: Outlets) -> Self {
        Self { forwarder, program, outlets, tally: Tally::default(), is_gateways_turn: false }
    }

    /// Carries until one side has ended, or nothing has moved for the idle timeout.
    pub(super) async fn run(&mut self) -> End {
        let (mut buffer, mut out, mut moved) = (BytesMut::new(), BytesMut::new(), Instant::now());
        loop {
            let carried = self.tally.datagrams_up + self.tally.datagrams_down;
            let until = moved.checked_add(self.forwarder.idle_timeout);
            let event = poll_fn(|cx| self.poll_event(cx, &mut buffer));
            // Without an idle timeout the time lies beyond what can be said.
            let event = match until {
                Some(idle) => timeout_at(idle, event).await.unwrap_or(Event::Over(End::Idle)),
                None => event.await,
            };
            let done = match event {
                Event::Over(end) => return end,
                Event::FromProgram(from) => self.up(from, &buffer).await,
                Event::FromGateway(Brought::Datagram(origin)) => {
                    self.down(origin, &buffer, &mut out).await;
                    Ok(())
                }
                Event::FromGateway(Brought::Ready(fake, waiting)) => self.go_on(fake, waiting).await,
                Event::FromGateway(Brought::Lost(count)) => {
                    self.tally.dropped += count as u64;
                    Ok(())
                }
            };
            if let Err(error) = done {
                return End::Gateway(error);
            }
            if self.tally.datagrams_up + self.tally.datagrams_down > carried {
                moved = Instant::now();
            }
        }
    }

    /// What was carried so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Event> {
        // RFC 1928 section 7: the association ends with the TCP connection that it came by.
        if self.poll_hung_up(cx).is_ready() {
            return Poll::Ready(Event::Over(End::Program));
        }
        self.is_gateways_turn = !self.is_gateways_turn;
        if self.is_gateways_turn {
            if let Poll::Ready(event) = self.poll_gateway(cx, buffer) {
                return Poll::Ready(event);
            }
            return self.poll_program(cx, buffer);
        }
        if let Poll::Ready(event) = self.poll_program(cx, buffer) {
            return Poll::Ready(event);
        }
        self.poll_gateway(cx, buffer)
    }

    /// Waits for the end of the program's connection; what it says there means nothing.
    fn poll_hung_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if ready!(self.program.control.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match self.program.control.try_read(&mut [0; 512]) {
                Ok(0) => return Poll::Ready(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(()),
                _ => {}
            }
        }
    }

    fn poll_gateway(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Event> {
        self.outlets.poll(cx, buffer).map(|brought| match brought {
            Ok(brought) => Event::FromGateway(brought),
            Err(error) => Event::Over(End::Gateway(error)),
        })
    }

    fn poll_program(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Event> {
        loop {
            if let Err(error) = ready!(self.program.socket.poll_recv_ready(cx)) {
                return Poll::Ready(Event::Over(End::Socket(error)));
            }
            buffer.clear();
            buffer.reserve(DATAGRAM);
            match self.program.socket.try_recv_buf_from(buffer) {
                Ok((_, from)) => return Poll::Ready(Event::FromProgram(from)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Event::Over(End::Socket(error))),
            }
        }
    }

    /// Carries a datagram that came to our socket, if it is the program's.
    async fn up(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<(), DatagramError> {
        let carried = match self.accept(from, datagram) {
            Some((fake, target, octets)) => {
                let len = octets.len() as u64;
                self.outlets.send(fake, target, octets).await?.then_some(len)
            }
            None => None,
        };
        match carried {
            Some(len) => {
                self.tally.datagrams_up += 1;
                self.tally.up += len;
            }
            None => self.tally.dropped += 1,
        }
        Ok(())
    }

    /// What a datagram is about; `None`: it is to be dropped.
    fn accept<'d>(
        &mut self,
        from: SocketAddr,
        datagram: &'d [u8],
    ) -> Option<(Option<IpAddr>, Target, &'d [u8])> {
        if !self.program.source.admits(from) {
            return None;
        }
        let (header, octets) = UdpHeader::split(datagram).ok()??;
        // RFC 1928 section 7: who does not put fragments together must drop them.
        if header.fragment != 0x00 {
            return None;
        }
        self.program.source.settle(from.port());
        let meant = self.forwarder.meant(header.target).ok()?;
        Some((meant.fake, meant.target, octets))
    }

    /// Sends on what has waited for an association.
    async fn go_on(&mut self, fake: IpAddr, waiting: Vec<(Target, Box<[u8]>)>) -> Result<(), DatagramError> {
        for (target, octets) in waiting {
            // It was counted when it came.
            if !self.outlets.send(Some(fake), target, &octets).await? {
                self.tally.dropped += 1;
            }
        }
        Ok(())
    }

    /// Gives the program a datagram.
    async fn down(&mut self, origin: Target, octets: &[u8], out: &mut BytesMut) {
        out.clear();
        UdpHeader { fragment: 0x00, target: origin }.encode(out);
        out.put_slice(octets);
        let sent = match self.program.source.address() {
            Some(program) => self.program.socket.send_to(out, program).await.is_ok(),
            None => false,
        };
        if sent {
            self.tally.datagrams_down += 1;
            self.tally.down += octets.len() as u64;
        } else {
            self.tally.dropped += 1;
        }
    }
}
