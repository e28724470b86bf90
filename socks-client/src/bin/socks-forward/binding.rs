//! A port of the gateway's that a local program lets listen (RFC 1928 section 4, BIND).

use socks_client::{Listening, Target};
use socks_core::ClientIo;
use socks_core::wire::Host;
use tracing::{debug, info};

use crate::answer::Via;
use crate::entrance;
use crate::forwarder::{Arrival, Forwarder, Relayed, say, say_last};
use crate::names::Meant;

/// What programs use for this.
const VIA: Via = Via::Socks5;

impl Forwarder {
    /// Lets the gateway listen, and joins the program with whom the gateway lets in.
    pub(crate) async fn bind(&self, mut io: ClientIo, meant: Meant, arrival: Arrival) {
        let Meant { target, fake } = meant;
        let program = arrival.program;
        let failed = |end: &dyn std::fmt::Display| {
            let seconds = arrival.seconds();
            info!(%program, via = %VIA, command = "bind", %target, %end, seconds, "failed");
        };
        let listening = match self.client.bind(target.clone()).await {
            Ok(listening) => listening,
            Err(error) => {
                failed(&error);
                return say_last(io.socket, &VIA.failed(&error)).await;
            }
        };
        let (address, level) = (listening.address().clone(), listening.level());
        debug!(%program, via = %VIA, %target, %level, %address, "gateway listens");
        if let Err(error) = say(&mut io.socket, &VIA.granted(&address)).await {
            return failed(&error);
        }
        let (connection, peer) = match wait(listening, &mut io).await {
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                failed(&error);
                return say_last(io.socket, &VIA.failed(&error)).await;
            }
            None => return failed(&"program hung up before its peer came"),
        };
        // A program compares this with the address that it knows its peer by.
        let shown = fake.map_or_else(|| peer.clone(), |ip| Target { host: Host::Ip(ip), port: peer.port });
        let Relayed { up, down, end } = self.join(io, connection, &VIA.granted(&shown)).await;
        let seconds = arrival.seconds();
        info!(%program, via = %VIA, command = "bind", %target, %peer, %level, up, down, end, seconds, "closed");
    }
}

type Accepted = Result<(socks_client::Connection, Target), socks_client::ConnectError>;

/// Waits for the peer, as long as the program does; `None`: it has gone.
async fn wait(listening: Listening, io: &mut ClientIo) -> Option<Accepted> {
    tokio::select! {
        accepted = listening.accept() => Some(accepted),
        () = entrance::gone(io) => None,
    }
}

#[cfg(test)]
mod tests;
