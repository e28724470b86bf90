//! How a user logs in.

use std::path::PathBuf;
use std::time::Duration;

/// What is asked for at a login; everything left out is the realm's own choice.
///
/// ```
/// use std::time::Duration;
/// use krb_testenv::Kinit;
///
/// let login = Kinit::new().password("a guess").lifetime(Duration::from_secs(60)).forwardable();
/// # drop(login);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Kinit {
    pub(crate) password: Option<String>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) renewable: Option<Duration>,
    pub(crate) forwardable: bool,
    pub(crate) addresses: bool,
    pub(crate) conf: Option<PathBuf>,
}

impl Kinit {
    /// A login with what the realm knows of the user: the password it was made with, or its key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses this password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Asks for a ticket that is valid so long, in whole seconds.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Asks for a ticket that can be renewed so long, in whole seconds.
    #[must_use]
    pub fn renewable(mut self, span: Duration) -> Self {
        self.renewable = Some(span);
        self
    }

    /// Asks for a ticket that can be handed on.
    #[must_use]
    pub fn forwardable(mut self) -> Self {
        self.forwardable = true;
        self
    }

    /// Asks for a ticket bound to this machine's addresses and to those of `extra_addresses` in the `krb5.conf`.
    ///
    /// They stand in every ticket that follows, which is a way to make tickets large.
    #[must_use]
    pub fn addresses(mut self) -> Self {
        self.addresses = true;
        self
    }

    /// Uses another `krb5.conf` than the realm's own, now and in the cache's environment.
    #[must_use]
    pub fn conf(mut self, file: impl Into<PathBuf>) -> Self {
        self.conf = Some(file.into());
        self
    }
}
