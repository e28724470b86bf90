//! Plays a client against an authenticator, in every way a network can.

use std::time::Duration;

use socks_core::{Identity, Level};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::client::Step;
use super::{Client, End, FakeSession};
use crate::Authenticator;

/// How long one play may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Octets behind the method's last message: the start of a request.
const TRAILING: &[u8] = &[0x05, 0x01, 0x00, 0x03, 0xFF];

/// A check that an authenticator did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{play}: {what}")]
pub struct CheckFailure {
    play: String,
    what: String,
}

/// Checks an authenticator with a client whose authentication ends in `end`.
///
/// * Whole messages and octets one by one end alike, and give the same identity and level (its end may differ).
/// * What the client hears is exactly what its script says; so a refusal is sent before the error returns.
/// * A client that hangs up after any octet is never let in and never waited for.
/// * Octets behind a granted authentication's last message are left for the request.
///
/// It wants a runtime with its timer enabled.
///
/// # Errors
/// [`CheckFailure`] says which play went wrong, and how.
pub async fn check(authenticator: &dyn Authenticator, client: &Client, end: End) -> Result<(), CheckFailure> {
    let whole = Play::new("whole messages", client, Arrival::Whole).run(authenticator).await?;
    whole.expect(end)?;
    let single = Play::new("octet by octet", client, Arrival::Octets).run(authenticator).await?;
    single.expect(end)?;
    if !are_alike(&whole.granted, &single.granted) {
        let what = format!("{:?} becomes {:?}", whole.granted, single.granted);
        return Err(CheckFailure { play: single.play, what });
    }
    if end == End::Granted {
        let more = client.with_more(TRAILING);
        for arrival in [Arrival::Whole, Arrival::Octets] {
            let outcome = Play::new("trailing octets", &more, arrival).run(authenticator).await?;
            outcome.expect(end)?;
            outcome.expect_left_over(TRAILING)?;
        }
    }
    for octets in 0..client.sent() {
        for arrival in [Arrival::Ended(octets), Arrival::Cut(octets)] {
            Play::new("hang-up", client, arrival).run(authenticator).await?.expect_gone(end)?;
        }
    }
    Ok(())
}

/// Tells whether two logins gave the same; when each proof ends may differ, for it often counts from now.
fn are_alike(one: &Option<(Identity, Level)>, other: &Option<(Identity, Level)>) -> bool {
    let timeless = |(identity, level): &(Identity, Level)| {
        let mut identity = identity.clone();
        let expires = identity.valid_until.take().is_some();
        (identity, *level, expires)
    };
    one.as_ref().map(timeless) == other.as_ref().map(timeless)
}

#[derive(Debug, Clone, Copy)]
enum Arrival {
    Whole,
    Octets,
    /// The client ends its stream after that many octets, and still listens.
    Ended(usize),
    /// The client is gone after that many octets.
    Cut(usize),
}

struct Play<'a> {
    name: String,
    client: &'a Client,
    arrival: Arrival,
}

struct Outcome {
    play: String,
    end: End,
    error: String,
    granted: Option<(Identity, Level)>,
    left_over: Vec<u8>,
}

impl<'a> Play<'a> {
    fn new(name: &str, client: &'a Client, arrival: Arrival) -> Self {
        let name = match arrival {
            Arrival::Whole => name.to_owned(),
            Arrival::Octets => format!("{name}, one at a time"),
            Arrival::Ended(octets) => format!("{name} after {octets} octets"),
            Arrival::Cut(octets) => format!("{name} in both directions after {octets} octets"),
        };
        Self { name, client, arrival }
    }

    async fn run(self, authenticator: &dyn Authenticator) -> Result<Outcome, CheckFailure> {
        let (mut fake, pipe) = FakeSession::new(self.client.levels.clone());
        if let Arrival::Octets = self.arrival {
            fake = fake.octet_by_octet();
        }
        let both = async { tokio::join!(serve(authenticator, fake), self.speak(pipe)) };
        let Ok(((result, left_over), heard)) = tokio::time::timeout(PATIENCE, both).await else {
            return Err(self.failure(format!("still not ended after {} s", PATIENCE.as_secs())));
        };
        let error = result.as_ref().err().map(|error| format!(" ({error})")).unwrap_or_default();
        let end = End::of(&result);
        if let Err(what) = heard {
            return Err(self.failure(format!("{what}; it ended as {end}{error}")));
        }
        let granted =
            result.ok().map(|it| (it.level(), it.identity)).map(|(level, identity)| (identity, level));
        Ok(Outcome { play: self.name, end, error, granted, left_over })
    }

    /// The client's part; an error is something it must not hear.
    async fn speak(&self, mut pipe: DuplexStream) -> Result<(), String> {
        let mut room = match self.arrival {
            Arrival::Ended(octets) | Arrival::Cut(octets) => octets,
            _ => usize::MAX,
        };
        for step in &self.client.steps {
            match step {
                Step::Send(octets) => {
                    let now = octets.get(..room).unwrap_or(octets);
                    room -= now.len();
                    // An authenticator may have refused already; what it says is heard all the same.
                    let _ = pipe.write_all(now).await;
                    if now.len() < octets.len() {
                        return self.hang_up(pipe).await;
                    }
                }
                Step::Hear(octets) => {
                    let heard = hear(&mut pipe, octets.len()).await;
                    if heard != *octets {
                        return Err(format!("the client hears {heard:02X?} instead of {octets:02X?}"));
                    }
                }
                Step::HearAny(count) => {
                    let heard = hear(&mut pipe, *count).await;
                    if heard.len() < *count {
                        return Err(format!("the client hears {heard:02X?} instead of {count} octets"));
                    }
                }
            }
        }
        let _ = pipe.shutdown().await;
        let more = hear(&mut pipe, usize::MAX).await;
        if more.is_empty() { Ok(()) } else { Err(format!("the client hears {more:02X?} at the end")) }
    }

    async fn hang_up(&self, mut pipe: DuplexStream) -> Result<(), String> {
        if let Arrival::Ended(_) = self.arrival {
            let _ = pipe.shutdown().await;
            hear(&mut pipe, usize::MAX).await;
        }
        Ok(())
    }

    fn failure(self, what: String) -> CheckFailure {
        CheckFailure { play: self.name, what }
    }
}

/// The gateway's part: authenticates, ends its side, and gives what the method left over.
async fn serve(
    authenticator: &dyn Authenticator,
    mut fake: FakeSession,
) -> (Result<crate::Authenticated, crate::AuthError>, Vec<u8>) {
    let result = authenticator.authenticate(&mut fake.session()).await;
    let mut left_over = fake.received.to_vec();
    let _ = fake.pipe.shutdown().await;
    let _ = fake.pipe.read_to_end(&mut left_over).await;
    (result, left_over)
}

/// Reads until so many octets came, or the end.
async fn hear(pipe: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = pipe.take(count as u64).read_to_end(&mut heard).await;
    heard
}

impl Outcome {
    fn expect(&self, end: End) -> Result<(), CheckFailure> {
        if self.end == end {
            return Ok(());
        }
        Err(self.failure(format!("ends as {}{} instead of {end}", self.end, self.error)))
    }

    /// A client that went away was not let in; a method may have seen before that it is wrong.
    fn expect_gone(&self, end: End) -> Result<(), CheckFailure> {
        if self.end == End::Gone || (self.end == end && end != End::Granted) {
            return Ok(());
        }
        Err(self.failure(format!("ends as {}{} instead of {}", self.end, self.error, End::Gone)))
    }

    fn expect_left_over(&self, octets: &[u8]) -> Result<(), CheckFailure> {
        if self.left_over == octets {
            return Ok(());
        }
        Err(self.failure(format!("leaves {:02X?} of {octets:02X?} for the request", self.left_over)))
    }

    fn failure(&self, what: String) -> CheckFailure {
        CheckFailure { play: self.play.clone(), what }
    }
}

#[cfg(test)]
mod tests;
