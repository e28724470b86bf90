//! Username and password (RFC 1929, method 0x02) against a users file with argon2id hashes.
//!
//! A name that does not exist, a wrong password, a disabled and an expired account are told apart in the record
//! and nowhere else: the client hears one status, after the same computation. Hashes are computed by a bounded
//! pool of threads with a bounded queue, of which one source holds a quarter at most; a login that was verified a
//! moment ago is remembered for a while, so that a browser with a hundred connections costs one hash. The
//! method protects nothing: RFC 1929 sends the password in the clear.

mod cache;
mod edit;
mod hash;
mod layout;
mod message;
mod options;
mod pool;
mod replace;
mod secret;
mod share;
mod users;

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use socks_core::wire::Method;
use socks_core::{Identity, IdentityName};

use crate::{
    Account, Attempt, AuthError, AuthSession, Authenticated, Authenticator, AuthenticatorFactory,
    BuildContext, BuildError, Lockout,
};
use cache::Cache;
pub use edit::{EditError, UsersFile};
pub use hash::{Cost, HashError, StoredHash};
pub use message::{Login, Status, VERSION};
pub use options::{CacheOption, Hashing, Options};
use pool::Pool;
pub use secret::Secret;
use share::Source;
pub use users::{User, Users, Verdict, parse_expiry};

/// Makes [`Password`] of an entry of the kind `password`.
#[derive(Debug, Clone, Copy)]
pub struct Factory;

impl AuthenticatorFactory for Factory {
    type Options = Options;

    fn kind(&self) -> &'static str {
        "password"
    }

    fn build(&self, options: Options, context: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
        let path = context.path(&options.users);
        let users = Users::read(&path)?;
        warn_of_access(&path, context);
        warn_of_hashes(&users, context);
        let previous = context.previous::<Password>();
        let size = options.hashing.size();
        let pool = match &previous {
            // Two pools at a time would be twice the threads that the operator allows.
            Some(previous) if previous.pool.size() == size => Arc::clone(&previous.pool),
            _ => Arc::new(Pool::new(size)),
        };
        let memory = options.cache.lifetime()?.map(|lifetime| {
            // A login's key holds its stored hash: what the new file changed is no longer found.
            let kept = previous.as_ref().and_then(|previous| previous.memory.as_ref());
            let cache = kept.map_or_else(|| Cache::new().map(Arc::new), |kept| Ok(Arc::clone(&kept.cache)));
            cache.map(|cache| Memory { cache, lifetime })
        });
        let memory =
            memory.transpose().map_err(|error| BuildError::new(format!("no random octets: {error}")))?;
        Ok(Arc::new(Password { users: Arc::new(users), pool, memory }))
    }
}

/// A file that others may read gives them hashes to guess at; one that they may write gives them accounts.
fn warn_of_access(path: &Path, context: &BuildContext) {
    let Ok(metadata) = path.metadata() else { return };
    let mode = metadata.permissions().mode();
    let what = match (mode & 0o004 != 0, mode & 0o022 != 0) {
        (_, true) => "can be changed by others than its owner",
        (true, false) => "can be read by everyone",
        (false, false) => return,
    };
    context.warn(format!("users file `{}` {what}: run `chmod 640` on it", path.display()));
}

fn warn_of_hashes(users: &Users, context: &BuildContext) {
    if users.costs_differ() {
        context.warn("password hashes differ in cost: the time a login takes tells whether some users exist");
    }
    let weak = users.weak();
    if let [first, rest @ ..] = weak.as_slice() {
        let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        context.warn(format!("password hash of `{first}`{others} is cheap to guess: set a new password"));
    }
}

/// Lets in users of a users file who know their password.
pub struct Password {
    users: Arc<Users>,
    pool: Arc<Pool>,
    memory: Option<Memory>,
}

/// The cache, and for how long a login stays in it.
struct Memory {
    cache: Arc<Cache>,
    lifetime: Duration,
}

#[async_trait]
impl Authenticator for Password {
    fn method(&self) -> Method {
        Method::USERNAME_PASSWORD
    }

    fn still_knows(&self, identity: &Identity) -> bool {
        let IdentityName::User(name) = &identity.name else { return false };
        self.users.find(name.as_bytes()).is_some_and(|user| !user.disabled)
    }

    fn accounts(&self) -> Vec<Account> {
        self.users.iter().map(User::account).collect()
    }

    async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        let source = Source::from(session.client().address.ip());
        let granted = match session.receive::<Login>().await {
            Ok(login) => {
                let attempt = session.attempt(login.name(), login.shown_name());
                self.judge(&login, source, attempt).await
            }
            Err(error) => Err(error),
        };
        let granted = granted.and_then(|identity| {
            session.require_unprotected(&identity)?;
            Ok(identity)
        });
        match granted {
            Ok(identity) => {
                session.send(&Status::SUCCESS).await?;
                Ok(Authenticated::new(identity))
            }
            Err(error @ (AuthError::HungUp | AuthError::Io(_))) => Err(error),
            Err(error) => {
                // Why it was refused matters more than that the client did not wait to hear so.
                let _ = session.send(&Status::FAILURE).await;
                Err(error)
            }
        }
    }
}

impl Password {
    /// The identity that a login proves.
    async fn judge(
        &self,
        login: &Login,
        source: Source,
        attempt: Result<Attempt<'_>, Lockout>,
    ) -> Result<Identity, AuthError> {
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(lockout) => return Err(lockout.refuse(self.pool.usual()).await),
        };
        let right = self.verify(login, source).await?;
        match self.users.verdict(login.name(), right, Timestamp::now()) {
            Verdict::Granted(user) => {
                attempt.passed().await?;
                let mut identity = Identity::user(user.name.clone());
                identity.groups.clone_from(&user.groups);
                identity.valid_until = user.expires;
                Ok(identity)
            }
            refused => {
                attempt.failed().await;
                Err(AuthError::refused_for(login.shown_name(), refused.as_str()))
            }
        }
    }

    /// Tells whether the password fits the stored hash, or for an unknown name computes as long.
    async fn verify(&self, login: &Login, source: Source) -> Result<bool, AuthError> {
        let hash = self.users.hash_for(login.name());
        let key = self.memory.as_ref().map(|memory| memory.cache.key(login.name(), login.password(), hash));
        if let (Some(memory), Some(key)) = (&self.memory, &key)
            && memory.cache.holds(key, Instant::now(), memory.lifetime)
        {
            return Ok(true);
        }
        let (hash, password) = (hash.clone(), login.password().clone());
        let computed = self.pool.compute(source, move || hash.verify(password.expose())).await;
        let right = computed.map_err(|error| AuthError::Unavailable(error.to_string().into()))?;
        if let (true, Some(memory), Some(key)) = (right, &self.memory, key) {
            memory.cache.keep(key, Instant::now(), memory.lifetime);
        }
        Ok(right)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
