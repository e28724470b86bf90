//! The server's side of a context: one credential, and the steps of establishment with it.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use socks_core::Timestamp;

use crate::diagnosis::{Cause, Diagnosis, Fault};
use crate::established::{Established, NotUsed};
use crate::gss::{FailedStep, Progress, Usage};
use crate::keytab::{KeytabEntry, KeytabError};
use crate::rules::{Rules, Unfit};
use crate::skew;
use crate::sys::{Context, Credential, keep_configuration};
use crate::tickets::Tickets;

/// A credential that accepts contexts, one step at a time.
///
/// Its steps read the keytab and write the replay cache: they belong on a thread that may wait. Each such thread
/// wants its own acceptor, because the library locks a credential for the whole of a step.
pub struct Acceptor {
    credential: Credential,
    rules: Arc<Rules>,
    tickets: Tickets,
}

/// A context on the way.
pub struct Pending(Context);

/// What a step gave.
#[derive(Debug)]
pub enum Accepted {
    /// The client must send another token.
    Continue {
        /// For the client.
        token: Vec<u8>,
        /// Goes into the next step.
        pending: Pending,
    },
    /// The context is established.
    Complete {
        /// For the client; may be empty.
        token: Vec<u8>,
        /// What came of it.
        established: Box<Established>,
    },
}

/// Why a step has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The library refuses.
    #[error(transparent)]
    Refused(#[from] Diagnosis),
    /// The library accepts, but our rules do not.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl Acceptor {
    /// Acquires a credential; the keytab must be there.
    ///
    /// # Errors
    /// [`Diagnosis`], of a fault that the operator can mend.
    pub fn acquire(rules: Arc<Rules>) -> Result<Self, Diagnosis> {
        keep_configuration();
        let credential = rules
            .store()
            .and_then(|store| Credential::acquire(Usage::Accept, rules.mechanisms(), &store))
            .map_err(Diagnosis::of)?;
        Ok(Self { credential, rules, tickets: Tickets::default() })
    }

    /// Gives the client's token to a context: a new one, or the one that the step before has left.
    ///
    /// # Errors
    /// [`AcceptError`]; the context is gone then.
    pub fn step(&mut self, pending: Option<Pending>, token: &[u8]) -> Result<Accepted, AcceptError> {
        // A context of several tokens has its ticket in one that is gone.
        let first = pending.is_none().then_some(token);
        let mut context = pending.map_or_else(Context::new, |Pending(context)| context);
        let stepped = context.accept(&mut self.credential, token);
        let (progress, answer) = stepped.map_err(|failed| self.diagnose(failed, token))?;
        match progress {
            Progress::Continue => Ok(Accepted::Continue { token: answer, pending: Pending(context) }),
            Progress::Complete => {
                let established = Established::examine(context, &self.rules, &mut self.tickets, first)?;
                Ok(Accepted::Complete { token: answer, established: Box::new(established) })
            }
        }
    }
}

impl Acceptor {
    /// Explains a failed step. The library calls a keytab that is gone or spoiled one without the right key.
    fn diagnose(&self, failed: FailedStep, token: &[u8]) -> Diagnosis {
        let diagnosis = Diagnosis::of_step(failed);
        if diagnosis.cause() == Cause::ClockSkew {
            let ahead = skew::client_ahead(token, &self.rules.keytab, Timestamp::now());
            return diagnosis.with_client_ahead(ahead);
        }
        if diagnosis.cause().fault() != Fault::Either {
            return diagnosis;
        }
        match KeytabEntry::read(&self.rules.keytab) {
            Ok(entries) if entries.is_empty() => diagnosis.because(Cause::KeytabMissing),
            Err(KeytabError::Io(error)) if error.kind() == ErrorKind::NotFound => {
                diagnosis.because(Cause::KeytabMissing)
            }
            Err(KeytabError::Io(_) | KeytabError::Malformed) => diagnosis.because(Cause::KeytabUnreadable),
            // One that is too large for us is the library's to judge.
            Ok(_) | Err(KeytabError::TooLarge) => diagnosis,
        }
    }
}

impl From<NotUsed> for AcceptError {
    fn from(not_used: NotUsed) -> Self {
        match not_used {
            NotUsed::Failed(failure) => Self::Refused(Diagnosis::of(failure)),
            NotUsed::Unfit(unfit) => Self::Unfit(unfit),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
