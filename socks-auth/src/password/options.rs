//! The options of an entry of the kind `password`.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::pool::PoolSize;
use crate::{BuildError, Span};

/// For how long a verified login is remembered where nothing is said.
const DEFAULT_LIFETIME: Span = Span(Duration::from_secs(30));
/// The longest that a login may be remembered.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How many logins may wait for hashing where nothing is said.
const DEFAULT_QUEUE: u16 = 64;

/// The options of an entry of the kind `password`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Options {
    /// The users file; a relative path is relative to the configuration file.
    pub users: PathBuf,
    /// How many passwords are hashed at a time.
    #[serde(default)]
    pub hashing: Hashing,
    /// For how long a verified login is remembered.
    #[serde(default)]
    pub cache: CacheOption,
}

/// How many passwords are hashed at a time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Hashing {
    /// Threads that hash; by default half of the processors, at least one.
    pub threads: Option<NonZeroU16>,
    /// Logins that may wait for a thread, by default 64; one more is refused.
    pub queue: Option<u16>,
}

impl Hashing {
    pub(super) fn size(&self) -> PoolSize {
        let half =
            || std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1));
        PoolSize {
            threads: self.threads.map_or_else(half, |threads| threads.get().into()),
            queue: self.queue.unwrap_or(DEFAULT_QUEUE).into(),
        }
    }
}

/// For how long a verified login is remembered: `{ for: 60s }`, or `off`; by default 30 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheOption {
    /// Not at all: every login is hashed.
    Off,
    /// That long, at most a day.
    For(Span),
}

impl Default for CacheOption {
    fn default() -> Self {
        Self::For(DEFAULT_LIFETIME)
    }
}

impl CacheOption {
    pub(super) fn lifetime(self) -> Result<Option<Duration>, BuildError> {
        match self {
            Self::Off => Ok(None),
            Self::For(Span(lifetime)) if lifetime > MAX_LIFETIME => {
                Err(BuildError::new("`cache` remembers logins for more than a day"))
            }
            Self::For(Span(lifetime)) => Ok(Some(lifetime)),
        }
    }
}
