//! How a configured method comes to be: its factory, what that is told, and what it can answer.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use socks_config::Findings;

use crate::Authenticator;

/// Makes authenticators of one kind from their configuration.
///
/// ```
/// use std::sync::Arc;
/// use socks_auth::{Authenticator, AuthenticatorFactory, BuildContext, BuildError, none};
///
/// /// Its own options; unknown keys and wrong values are shown with line and column.
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, rename_all = "kebab-case")]
/// struct Options {
///     valid_for: socks_auth::Span,
/// }
///
/// struct Factory;
///
/// impl AuthenticatorFactory for Factory {
///     type Options = Options;
///
///     fn kind(&self) -> &'static str {
///         "acme-token"
///     }
///
///     fn build(&self, options: Options, context: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
///         if options.valid_for.0.is_zero() {
///             return Err(BuildError::new("`valid-for` is zero"));
///         }
///         Ok(Arc::new(none::NoAuthentication))
///     }
/// }
///
/// let mut registry = socks_auth::Registry::shipped();
/// registry.register(Factory).expect("no other method is of that kind");
/// assert_eq!(registry.kinds(), ["none", "password", "acme-token"]);
/// ```
pub trait AuthenticatorFactory: Send + Sync + 'static {
    /// The method's own options, read from the entry's `options`. [`NoOptions`] if there are none.
    type Options: DeserializeOwned;

    /// The word that an `auth` entry has as its `kind`: in kebab-case, and nobody else's.
    fn kind(&self) -> &'static str;

    /// Makes an authenticator. It is called before a port is opened, at each reload, and by checks that open
    /// nothing; it starts no task and binds no address.
    ///
    /// # Errors
    /// [`BuildError`] is shown to the operator at the options' place, or at its own.
    fn build(
        &self,
        options: Self::Options,
        context: &BuildContext,
    ) -> Result<Arc<dyn Authenticator>, BuildError>;
}

/// The options of a method that has none.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// What a factory is told beside its options, and where it leaves its warnings.
#[non_exhaustive]
pub struct BuildContext {
    name: Arc<str>,
    base: PathBuf,
    previous: Option<Arc<dyn Authenticator>>,
    warnings: RefCell<Vec<String>>,
}

impl BuildContext {
    /// The context of the entry `name` of a file in the folder `base`; `previous` is the authenticator of that
    /// name before a reload.
    pub fn new(
        name: impl Into<Arc<str>>,
        base: impl Into<PathBuf>,
        previous: Option<Arc<dyn Authenticator>>,
    ) -> Self {
        Self { name: name.into(), base: base.into(), previous, warnings: RefCell::default() }
    }

    /// Tells the operator of something that is allowed and probably not meant.
    pub fn warn(&self, text: impl Into<String>) {
        self.warnings.borrow_mut().push(text.into());
    }

    /// The name of the `auth` entry, by default its kind.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The path that a configuration means: a relative one is relative to the configuration file.
    pub fn path(&self, configured: impl AsRef<Path>) -> PathBuf {
        self.base.join(configured)
    }

    /// The authenticator of this name before a reload, if it was one of type `T`: what it has learned may be
    /// taken over.
    pub fn previous<T: Authenticator>(&self) -> Option<Arc<T>> {
        let previous: Arc<dyn Any + Send + Sync> = self.previous.clone()?;
        previous.downcast().ok()
    }

    /// What [`warn`](Self::warn) was told so far.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }
}

impl fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BuildContext");
        shown.field("name", &self.name).field("base", &self.base);
        shown.field("reload", &self.previous.is_some()).finish_non_exhaustive()
    }
}

/// Why an authenticator cannot be made of its options; always the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The options cannot be used together, or not here.
    #[error("{0}")]
    Options(Box<str>),
    /// A file that the options name is wrong, each mistake with its own place.
    #[error(transparent)]
    File(#[from] Findings),
    /// A file that the options name cannot be read.
    #[error("cannot read `{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl BuildError {
    /// A mistake in the options; the text is lower case, without a full stop, with values in backticks.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self::Options(text.into())
    }

    /// A file that cannot be read.
    pub fn io(path: impl Into<PathBuf>, error: std::io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::none::NoAuthentication;
    use crate::password::Password;

    #[test]
    fn paths_are_relative_to_the_configuration_file() {
        let context = BuildContext::new("password", "/etc/socksd", None);
        assert_eq!(context.path("users.yaml"), Path::new("/etc/socksd/users.yaml"));
        assert_eq!(context.path("/var/users.yaml"), Path::new("/var/users.yaml"));
    }

    #[test]
    fn the_one_before_is_given_only_as_what_it_was() {
        let context = BuildContext::new("none", "", Some(Arc::new(NoAuthentication)));
        assert!(context.previous::<NoAuthentication>().is_some());
        assert!(context.previous::<Password>().is_none());
        assert!(BuildContext::new("none", "", None).previous::<NoAuthentication>().is_none());
    }
}
