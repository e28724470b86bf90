//! The second step: what the client asks for.

use socks_core::wire::{DecodeError, Request};
use socks_core::{ClientStream, ReceiveError};

use crate::outcome::End;
use crate::roster::Asked;

use super::requested::Requested;
use super::{Ended, Session};

/// A client whose identity is proven.
pub(super) struct Authenticated {
    stream: ClientStream,
}

impl Authenticated {
    pub(super) fn new(stream: ClientStream) -> Self {
        Self { stream }
    }

    pub(super) async fn request(mut self, session: &mut Session) -> Result<Requested, Ended> {
        let received = session.in_time(self.stream.receive::<Request>()).await.map_err(Ended::silently)?;
        match received {
            Ok(request) => {
                session.gateway.metrics.handshake(session.record.live().clock.elapsed());
                session.record.learn(|facts| {
                    facts.command = Some(request.command);
                    facts.asked = Some(Asked::For(request.target.clone()));
                });
                Ok(Requested::new(self.stream, request))
            }
            Err(error) => {
                if let ReceiveError::Decode(DecodeError::Name { name, .. }) = &error {
                    session.record.facts().asked = Some(Asked::Odd(name.clone()));
                }
                Err(Ended::with_reply(self.stream, End::Request(error)))
            }
        }
    }
}
