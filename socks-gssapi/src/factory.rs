//! The method's configuration, and how it comes to be.

use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use socks_auth::{Authenticator, AuthenticatorFactory, BuildContext, BuildError, Size, Span};

use crate::authenticator::Gssapi;
use crate::diagnosis::Diagnosis;
use crate::frame::MOST_TOKEN;
use crate::groups::{GroupRules, GroupsFrom};
use crate::keytab::KeytabEntry;
use crate::negotiation::Limits;
use crate::negotiation::server::BareLevels;
use crate::pool::{Pool, PoolSize};
use crate::rules::{Engine, ReplayCache, Rules, Spnego, WeakEnctypes};

/// How many steps may wait where nothing is said.
const DEFAULT_QUEUE: u16 = 256;
/// From how many keys on a keytab is worth a warning: the library tries each key that could fit.
const MANY_KEYS: usize = 100;

/// Makes [`Gssapi`] of an entry of the kind `gssapi`.
#[derive(Debug, Clone, Copy)]
pub struct GssapiFactory;

/// The options of an entry of the kind `gssapi`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Options {
    /// The keytab file; a relative path is relative to the configuration file. It is read for each handshake, so
    /// a new one that is renamed to this name counts at once.
    pub keytab: PathBuf,
    /// Where requests are remembered that were seen: `default`, the place that krb5.conf names; `none`; or a
    /// file.
    #[serde(default, deserialize_with = "replay_cache")]
    pub replay_cache: ReplayCache,
    /// The services that clients may ask for (`socks` of `socks/host@REALM`); by default any in the keytab.
    pub services: Option<Vec<Box<str>>>,
    /// Who protects messages: `own`, the default, or `mit`.
    #[serde(default)]
    pub engine: EngineOption,
    /// Whether a level of protection may come unsealed, as NEC's and curl's NEC mode send it; by default not.
    #[serde(default)]
    pub nec: bool,
    /// Whether clients may wrap Kerberos into SPNEGO; by default not.
    #[serde(default)]
    pub spnego: bool,
    /// Contexts that are accepted at a time, by default one for each processor.
    pub threads: Option<NonZeroU16>,
    /// Handshakes that may wait for their turn, by default 256; one more is refused.
    pub queue: Option<u16>,
    /// The largest of all a client's tokens together, by default 128 KiB.
    pub max_token: Option<Size>,
    /// Whether session keys of DES and RC4 are accepted; by default not.
    #[serde(default)]
    pub allow_weak_enctypes: bool,
    /// Where the groups of a client come from, all put together; by default its ticket: one
    /// that tells none leaves them unknown.
    pub groups: Option<Vec<GroupsFrom>>,
    /// For how long what the local group database says is kept, by default 60 seconds, at most an hour.
    pub group_cache: Option<Span>,
}

/// Who protects messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineOption {
    /// Our own engine, and the library where it does not know the encryption type.
    #[default]
    Own,
    /// The library, always.
    Mit,
}

impl AuthenticatorFactory for GssapiFactory {
    type Options = Options;

    fn kind(&self) -> &'static str {
        "gssapi"
    }

    fn build(&self, options: Options, context: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
        Ok(Arc::new(self.method(&options, context)?))
    }
}

impl GssapiFactory {
    /// Makes the method itself, for a factory that adds something of its own, such as a
    /// [source of groups](Gssapi::group_source).
    ///
    /// # Errors
    /// As [`AuthenticatorFactory::build`].
    pub fn method(&self, options: &Options, context: &BuildContext) -> Result<Gssapi, BuildError> {
        let rules = options.rules(context)?;
        let limits = options.limits()?;
        let size = options.pool_size();
        warn_of_keytab(&rules.keytab, context);
        let previous = context.previous::<Gssapi>();
        let groups = GroupRules::build(
            options.groups.as_deref(),
            options.group_cache,
            previous.as_deref().map(Gssapi::groups),
            context,
        )?;
        let pool = previous
            .map(|previous| Arc::clone(previous.pool()))
            .filter(|pool| *pool.rules() == rules && pool.size() == size)
            .unwrap_or_else(|| Arc::new(Pool::new(Arc::new(rules), size)));
        pool.check().map_err(|diagnosis| unbuildable(&diagnosis))?;
        let bare_levels = if options.nec { BareLevels::Accept } else { BareLevels::Refuse };
        Ok(Gssapi::new(pool, limits, bare_levels).with_groups(groups))
    }
}

impl Options {
    fn rules(&self, context: &BuildContext) -> Result<Rules, BuildError> {
        if self.services.as_ref().is_some_and(Vec::is_empty) {
            return Err(BuildError::new("`services` is empty: leave it out to allow any"));
        }
        // Without replay cache, who repeats a recorded request fails when it must seal its level: a bare one
        // is the same each time.
        if self.nec && self.replay_cache == ReplayCache::None {
            return Err(BuildError::new(
                "`nec` without a replay cache lets in whoever repeats what it has heard: \
                 leave out `replay-cache: none` or `nec`",
            ));
        }
        // Such keys are the ticket's own, the same each time: a gateway without replay cache refuses them all.
        if self.allow_weak_enctypes && self.replay_cache == ReplayCache::None {
            return Err(BuildError::new(
                "`allow-weak-enctypes` has no effect without a replay cache: leave out `replay-cache: none` or \
                 `allow-weak-enctypes`",
            ));
        }
        let replay_cache = match &self.replay_cache {
            ReplayCache::File(path) => ReplayCache::File(context.path(path)),
            other => other.clone(),
        };
        Ok(Rules {
            replay_cache,
            services: self.services.clone(),
            engine: match self.engine {
                EngineOption::Own => Engine::Own,
                EngineOption::Mit => Engine::Mit,
            },
            spnego: if self.spnego { Spnego::Accept } else { Spnego::Refuse },
            weak_enctypes: if self.allow_weak_enctypes { WeakEnctypes::Accept } else { WeakEnctypes::Refuse },
            ..Rules::new(context.path(&self.keytab))
        })
    }

    fn limits(&self) -> Result<Limits, BuildError> {
        let Some(Size(octets)) = self.max_token else { return Ok(Limits::default()) };
        let octets = usize::try_from(octets).ok().filter(|octets| (1024..=16 * MOST_TOKEN).contains(octets));
        let octets = octets.ok_or_else(|| BuildError::new("`max-token` is not between 1KiB and 1023KiB"))?;
        Ok(Limits { octets, ..Limits::default() })
    }

    fn pool_size(&self) -> PoolSize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        PoolSize {
            threads: self.threads.map_or_else(processors, |threads| threads.get().into()),
            queue: self.queue.unwrap_or(DEFAULT_QUEUE).into(),
        }
    }
}

fn unbuildable(diagnosis: &Diagnosis) -> BuildError {
    BuildError::new(format!("{diagnosis}: {}", diagnosis.remedy()))
}

/// Whoever reads a keytab can claim to be anybody; one with many keys slows each handshake down.
fn warn_of_keytab(path: &Path, context: &BuildContext) {
    let mode = path.metadata().map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let who = if mode & 0o007 != 0 { "everybody" } else { "a group" };
        context.warn(format!("keytab `{}` is open to {who}: run `chmod 600` on it", path.display()));
    }
    // A keytab that cannot be read is the library's to explain.
    let keys = KeytabEntry::read(path).map_or(0, |entries| entries.len());
    if keys > MANY_KEYS {
        context.warn(format!(
            "keytab `{}` has {keys} keys, and handshakes try many of them: keep one with the gateway's own",
            path.display()
        ));
    }
}

fn replay_cache<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReplayCache, D::Error> {
    let text = PathBuf::deserialize(deserializer)?;
    Ok(match text.to_str() {
        Some("default") => ReplayCache::Default,
        Some("none") => ReplayCache::None,
        _ => ReplayCache::File(text),
    })
}
