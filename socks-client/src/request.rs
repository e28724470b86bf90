//! From an open socket to a granted request: method choice, authentication, request, reply.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socks_core::wire::{Encode, Greeting, Host, Method, MethodChoice, Request, Target};
use socks_core::{ClientIo, ClientStream};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::outcome::Outcome;
use crate::{ClientAuth, ConnectError, Exchange, Fault, Step};

/// A stream on which the gateway has accepted who we are.
pub(crate) struct LoggedIn {
    pub(crate) stream: ClientStream,
    pub(crate) method: Method,
}

/// Agrees on one of `methods`, in the order of our preference, and runs it.
pub(crate) async fn log_in(
    mut io: ClientIo,
    methods: &[Arc<dyn ClientAuth>],
    gateway: &Target,
    within: Duration,
) -> Result<LoggedIn, ConnectError> {
    let until = Instant::now() + within;
    let late = |step| Fault::TimedOut(within).at(step);
    let choosing = timeout_at(until, choose(&mut io, methods)).await;
    let chosen = choosing.map_err(|_| late(Step::MethodChoice))?;
    let chosen = chosen.map_err(|fault| fault.at(Step::MethodChoice))?;
    let protection = {
        let ClientIo { socket, received } = &mut io;
        let mut exchange = Exchange::new(socket, received, gateway);
        let authenticated = timeout_at(until, chosen.authenticate(&mut exchange)).await;
        let step = exchange.step();
        authenticated.map_err(|_| late(step))?.map_err(|fault| fault.at(step))?
    };
    if protection.is_none() && !io.received.is_empty() {
        let early = Fault::Malformed("it answers before it was asked".into());
        return Err(early.at(Step::Authentication));
    }
    Ok(LoggedIn { stream: ClientStream::new(io, protection), method: chosen.method() })
}

/// Sends the greeting and finds the method that the gateway chose.
async fn choose<'a>(
    io: &mut ClientIo,
    methods: &'a [Arc<dyn ClientAuth>],
) -> Result<&'a dyn ClientAuth, Fault> {
    let offered: Vec<_> = methods.iter().map(|method| method.method()).collect();
    let greeting = Greeting::new(offered.clone());
    let greeting = greeting.ok_or_else(|| Fault::Unavailable("there are more than 255 methods".into()))?;
    let mut octets = BytesMut::new();
    greeting.encode(&mut octets);
    io.socket.write_all(&octets).await?;
    let MethodChoice(chosen) = io.receive().await?;
    if chosen == Method::NO_ACCEPTABLE {
        return Err(Fault::NoAcceptableMethod(offered));
    }
    let method = methods.iter().find(|method| method.method() == chosen);
    method.map(AsRef::as_ref).ok_or(Fault::MethodNotOffered(chosen))
}

/// Asks for a command and reads the reply; gives the gateway's own end as it names it.
pub(crate) async fn ask(
    stream: &mut ClientStream,
    request: Request,
    within: Duration,
) -> Result<Target, ConnectError> {
    let asking = async {
        stream.send(&request).await?;
        granted(stream).await
    };
    let asked = timeout(within, asking).await.map_err(|_| Fault::TimedOut(within).at(Step::Request))?;
    asked.map_err(|fault: Fault| fault.at(Step::Request))
}

/// Reads the second reply to a BIND: who has connected (RFC 1928 section 4).
pub(crate) async fn arrival(stream: &mut ClientStream, within: Duration) -> Result<Target, ConnectError> {
    let late = |_| Fault::TimedOut(within).at(Step::Arrival);
    let arrived = timeout(within, granted(stream)).await.map_err(late)?;
    arrived.map_err(|fault| fault.at(Step::Arrival))
}

async fn granted(stream: &mut ClientStream) -> Result<Target, Fault> {
    match stream.receive::<Outcome>().await? {
        Outcome::Granted(bound) => Ok(bound),
        Outcome::Refused(code) => Err(Fault::Refused(code)),
    }
}

/// The address of a reply as others can use it: all zero stands for the gateway's own.
pub(crate) fn reachable(mut bound: Target, gateway: IpAddr) -> Target {
    if matches!(bound.host, Host::Ip(ip) if ip.to_canonical().is_unspecified()) {
        bound.host = Host::Ip(gateway.to_canonical());
    }
    bound
}
