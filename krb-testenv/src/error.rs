//! What can go wrong while a realm is brought up or used.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a realm could not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program of MIT Kerberos (or libfaketime) is not installed.
    #[error("`{program}` is missing: install Debian's package `{package}` or its like")]
    Missing {
        /// The program or library that was looked for.
        program: &'static str,
        /// Debian's package that brings it.
        package: &'static str,
    },
    /// A program ended and said why.
    #[error("`{program}` failed: {text}")]
    Failed {
        /// The program's name.
        program: &'static str,
        /// What it wrote to its error output, without the last line end.
        text: String,
    },
    /// A program did not end in time and was killed.
    #[error("`{program}` was not ready within {limit:?}")]
    Late {
        /// The program's name.
        program: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A file or process could not be worked with.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `write`, `start`.
        action: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No port was free for both UDP and TCP.
    #[error("no port on loopback is free for both UDP and TCP")]
    NoPort,
    /// A name or password holds what MIT's tools cannot be given.
    #[error(
        "`{0}` cannot be used here: it is empty, too long, starts with a dash or holds a control character"
    )]
    Text(String),
    /// A realm's name has characters outside `A-Z a-z 0-9 . - _`, or is empty.
    #[error("`{0}` is not a realm's name")]
    RealmName(String),
    /// The realm has no user of this name that it knows a password or key of.
    #[error("the realm has no user `{0}`")]
    UnknownUser(String),
    /// Two realms that are to trust each other share no enctype.
    #[error("the realms `{0}` and `{1}` have no enctype in common")]
    NoCommonEnctype(String, String),
    /// A credential cache is not a file in format 4.
    #[error("`{}` is not a credential cache in format 4", .0.display())]
    NotACache(PathBuf),
    /// The program's answer is not what this crate expects from MIT Kerberos.
    #[error("`{program}` answered what MIT Kerberos would not: {text}")]
    Strange {
        /// The program's name.
        program: &'static str,
        /// What it wrote.
        text: String,
    },
}

impl Error {
    /// Makes the function that turns the system's error into ours, for `map_err`.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What this crate's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
