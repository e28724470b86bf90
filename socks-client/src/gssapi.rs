//! GSSAPI (RFC 1961, method 0x01): Kerberos proves who we are, and protects what follows.
//!
//! The messages are `socks-gssapi`'s business; here they meet the connection, and failures the user.

mod context;
mod service;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use socks_core::wire::{Method, Target};
use socks_core::{Level, Levels, Protection};
use socks_gssapi::negotiation::client::Stepped;
use socks_gssapi::negotiation::{self, Action, Limits, Refusal};
use socks_gssapi::{Message, MessageError, Start, TokenKind};

pub use self::service::{ServiceName, ServiceNameError};

use self::context::{Context, Contexts, Kerberos, Stage, Threads, Tickets};
use crate::{ClientAuth, Exchange, Fault, Step};

/// Logs in with a Kerberos ticket, and agrees on protection.
///
/// The ticket cache is read anew for each connection, so a ticket that was renewed is used from then on.
#[derive(Clone)]
pub struct Gssapi {
    service: Service,
    asked: Level,
    accepted: Vec<Level>,
    tickets: Tickets,
    contexts: Arc<dyn Contexts>,
    threads: Threads,
}

/// Which service the ticket is for.
#[derive(Debug, Clone)]
enum Service {
    /// That of this name on the gateway's host.
    OfGateway(Box<str>),
    Named(ServiceName),
}

impl Gssapi {
    /// Asks for this level and goes on with no other. The service is `socks@` and the gateway's host name.
    pub fn new(level: Level) -> Self {
        Self {
            service: Service::OfGateway("socks".into()),
            asked: level,
            accepted: vec![level],
            tickets: Tickets::default(),
            contexts: Arc::new(Kerberos),
            threads: Threads::default(),
        }
    }

    /// Goes on with this level too if the gateway answers with it.
    #[must_use]
    pub fn or_level(mut self, level: Level) -> Self {
        self.accepted.push(level);
        self
    }

    /// Takes a ticket for another service of the gateway's host than `socks`, such as `rcmd`.
    #[must_use]
    pub fn service(mut self, service: impl Into<Box<str>>) -> Self {
        self.service = Service::OfGateway(service.into());
        self
    }

    /// Takes a ticket for exactly this service, whatever the gateway's name is.
    #[must_use]
    pub fn service_name(mut self, name: ServiceName) -> Self {
        self.service = Service::Named(name);
        self
    }

    /// Takes tickets from this cache, such as `FILE:/run/user/1000/krb5cc`, in place of the usual one.
    #[must_use]
    pub fn ccache(mut self, ccache: impl Into<Box<str>>) -> Self {
        self.tickets.ccache = Some(ccache.into());
        self
    }

    /// Takes tickets with the key in this keytab, such as `FILE:/etc/gateway-client.keytab`, for its first principal,
    /// as they are needed. They are kept in the [cache](Self::ccache), `MEMORY:name` for one of this process alone.
    #[must_use]
    pub fn client_keytab(mut self, keytab: impl Into<Box<str>>) -> Self {
        self.tickets.keytab = Some(keytab.into());
        self
    }

    /// The service at a gateway.
    fn service_at(&self, gateway: &Target) -> Result<ServiceName, ServiceNameError> {
        match &self.service {
            Service::OfGateway(service) => ServiceName::of_host(service, &gateway.host),
            Service::Named(name) => Ok(name.clone()),
        }
    }
}

#[async_trait]
impl ClientAuth for Gssapi {
    fn method(&self) -> Method {
        Method::GSSAPI
    }

    fn check(&self, gateway: &Target) -> Result<(), Box<str>> {
        self.service_at(gateway).map(|_| ()).map_err(|error| error.to_string().into())
    }

    async fn authenticate(&self, exchange: &mut Exchange<'_>) -> Result<Option<Protection>, Fault> {
        let service = self.service_at(exchange.gateway());
        let service = service.map_err(|error| Fault::Unavailable(error.to_string().into()))?;
        let (contexts, tickets) = (Arc::clone(&self.contexts), self.tickets.clone());
        let beginning = self.threads.run(move || contexts.begin(&service, &tickets));
        let context = beginning.await.map_err(Fault::Unavailable)?;
        let accepted = Levels::Only(self.accepted.clone());
        let negotiation = negotiation::Client::new(Limits::default(), self.asked, accepted);
        self.negotiate(exchange, negotiation, context).await
    }
}

impl Gssapi {
    async fn negotiate(
        &self,
        exchange: &mut Exchange<'_>,
        mut negotiation: negotiation::Client,
        context: Box<dyn Context>,
    ) -> Result<Option<Protection>, Fault> {
        let (mut context, mut token) = (Some(context), Vec::new());
        loop {
            let stepped;
            (context, stepped) = self.step(context, token).await?;
            if context.is_none() {
                exchange.enter(Step::ProtectionLevel);
            }
            let mut action = self.explained(exchange.step(), negotiation.stepped(stepped))?;
            token = loop {
                match action {
                    Action::Step { token } => break token,
                    Action::Finish { send, protection } => {
                        exchange.write_all(&send).await?;
                        return Ok(protection);
                    }
                    Action::Receive { send } => {
                        exchange.write_all(&send).await?;
                        let message = receive(exchange, negotiation.most_token()).await;
                        let message = message.map_err(|fault| self.at_hang_up(exchange.step(), fault))?;
                        action = self.explained(exchange.step(), negotiation.receive(message))?;
                    }
                }
            };
        }
    }

    /// Gives a token to the context, where it may block, and takes the context back unless it is established.
    async fn step(
        &self,
        context: Option<Box<dyn Context>>,
        token: Vec<u8>,
    ) -> Result<(Option<Box<dyn Context>>, Stepped), Fault> {
        let context = context.ok_or_else(|| Fault::Malformed("a token for an established context".into()))?;
        let stage = self.threads.run(move || context.step(&token)).await;
        Ok(match stage.map_err(Fault::Unavailable)? {
            Stage::Continue { token, context } => (Some(context), Stepped::Continue { token }),
            Stage::Complete { token, halves } => (None, Stepped::Complete { token, halves }),
        })
    }

    /// What it means for the user that a gateway says nothing where it should answer.
    fn at_hang_up(&self, step: Step, fault: Fault) -> Fault {
        match fault {
            // Differs from RFC 1961 section 3.8: Dante's server hangs up where it should abort.
            Fault::HungUp if step == Step::ProtectionLevel => Fault::Rejected(
                format!("gateway hung up: it may not allow the level `{}`, or not this user", self.asked)
                    .into(),
            ),
            other => other,
        }
    }

    /// What a failed negotiation means for the user.
    fn explained(&self, step: Step, action: Result<Action, Refusal>) -> Result<Action, Fault> {
        action.map_err(|refusal| match refusal {
            Refusal::Aborted if step == Step::ProtectionLevel => {
                let asked = self.asked;
                Fault::Rejected(
                    format!("gateway does not allow the level `{asked}`, or not this user").into(),
                )
            }
            Refusal::Aborted => Fault::Rejected("gateway refuses the ticket; its log says why".into()),
            Refusal::LevelImposed(level) => {
                let text = format!("gateway insists on the level `{level}`, which is not accepted here");
                Fault::Rejected(text.into())
            }
            Refusal::Seal(error) => Fault::Unavailable(error.to_string().into()),
            Refusal::LevelSealed(error) => Fault::Frame(error),
            other => Fault::Malformed(other.to_string().into()),
        })
    }
}

/// Receives one message whose token has at most `most` octets.
async fn receive(exchange: &mut Exchange<'_>, most: usize) -> Result<Message, Fault> {
    let malformed = |error: MessageError| Fault::Malformed(error.to_string().into());
    let kind = match Start::read(exchange.take_array().await?).map_err(malformed)? {
        Start::Abort => return Ok(Message::Abort),
        Start::Token(kind) => kind,
    };
    let len = TokenKind::token_len(exchange.take_array().await?, most).map_err(malformed)?;
    Ok(kind.message(exchange.take(len).await?.to_vec()))
}

impl fmt::Debug for Gssapi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gssapi")
            .field("service", &self.service)
            .field("asked", &self.asked)
            .field("accepted", &self.accepted)
            .field("tickets", &self.tickets)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
