//! Groups that an authenticator does not learn from its own proof, and where they come from.
//!
//! A [`GroupSource`] tells the groups of an identity that is proven already; [`GroupSources`] asks several, within
//! one deadline, and puts their [`Answers`] together. What fails is never taken for "no groups": the identity has
//! unknown ones then ([`Identity::without_groups`]), and a rule that denies a group denies.
//!
//! Two sources ship: [`GroupFile`], a file of groups with their members, and [`LocalGroups`], the system's group
//! database. A method that wants groups asks between the proof of the name and
//! [`AuthSession::levels`](crate::AuthSession::levels), because rows of the policy may be about groups:
//!
//! ```
//! use std::sync::Arc;
//! use socks_auth::async_trait;
//! use socks_auth::groups::{GroupError, GroupSource, GroupSources, Groups};
//! use socks_core::{Identity, Timestamp};
//!
//! /// Asks a directory of its own.
//! struct Directory;
//!
//! #[async_trait]
//! impl GroupSource for Directory {
//!     fn name(&self) -> &str {
//!         "acme-directory"
//!     }
//!
//!     async fn groups(&self, identity: &Identity) -> Result<Groups, GroupError> {
//!         match identity.to_string().as_str() {
//!             "alice@CORP.EXAMPLE" => Ok(Groups::new(["staff"], Timestamp::now())),
//!             other => Err(GroupError::new(format!("`{other}` is not in the directory: add it"))),
//!         }
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(async {
//! let sources = GroupSources::new().with(Arc::new(Directory));
//! let alice = Identity::principal("alice@CORP.EXAMPLE".parse().expect("a principal"));
//! assert_eq!(sources.learn(alice).await.groups, ["staff".into()]);
//! # });
//! ```

mod answers;
mod cache;
mod file;
mod local;
mod members;
mod pool;
mod sources;

use async_trait::async_trait;
use socks_core::{Identity, Timestamp};

pub use answers::Answers;
pub use file::GroupFile;
pub use local::LocalGroups;
pub use members::Members;
pub use pool::LookupPool;
pub use sources::GroupSources;

/// The attribute of an identity that names its user of the local system, as [`LocalGroups`] looks it up.
pub const LOCAL_NAME: &str = "local-name";
/// The most groups that an identity may have; with more, they count as unknown.
pub const MOST_GROUPS: usize = 16_384;

/// Tells which groups somebody belongs to.
#[async_trait]
pub trait GroupSource: Send + Sync {
    /// The word that stands for it in records and reasons, in kebab-case: `file`, `local`.
    fn name(&self) -> &str;

    /// The groups of an identity whose name is proven; its attributes hold what else the method has learned.
    ///
    /// It is asked for each login and may be asked many times at once: it bounds what it has under way, keeps
    /// answers for a while where asking is dear, and does not block the thread. The future is dropped when the
    /// deadline of [`GroupSources`] is over.
    ///
    /// # Errors
    /// [`GroupError`] whenever the list may not be whole. An identity that is known to have no group is no error.
    async fn groups(&self, identity: &Identity) -> Result<Groups, GroupError>;
}

/// The whole list of somebody's groups, and from when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Groups {
    /// The names, as `group:NAME` in the policy matches them.
    pub names: Vec<Box<str>>,
    /// When the facts were read; for a cached answer, when it was new. The record tells their age.
    pub read_at: Timestamp,
}

impl Groups {
    /// Groups as they were at `read_at`.
    pub fn new<T: Into<Box<str>>>(names: impl IntoIterator<Item = T>, read_at: Timestamp) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), read_at }
    }
}

/// Why a source does not tell somebody's groups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GroupError(Box<str>);

impl GroupError {
    /// A text for the operator that says what to do: lower case, without a full stop, values in backticks.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }
}
