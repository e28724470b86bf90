//! What a realm shall be like, before it is started.

use std::time::Duration;

use crate::clock::Clock;
use crate::enctype::Enctype;
use crate::error::{Error, Result};
use crate::kadmin::word;
use crate::realm::Realm;

/// What a realm's configuration files are made from.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) enctypes: Vec<Enctype>,
    pub(crate) ticket_life: Duration,
    pub(crate) renew_life: Duration,
    pub(crate) preauth: bool,
    pub(crate) pac: bool,
    pub(crate) indicator: Option<String>,
    pub(crate) local_rules: Vec<String>,
    pub(crate) local_names: Vec<(String, String)>,
    pub(crate) domains: Vec<String>,
    pub(crate) clock: Option<Clock>,
    pub(crate) limit: Duration,
}

/// How a user proves who it is.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    Password(String),
    Key,
}

/// Describes a realm; made by [`Realm::builder`], ended by [`start`](Self::start).
#[derive(Clone, Debug)]
#[must_use]
pub struct RealmBuilder {
    pub(crate) settings: Settings,
    pub(crate) users: Vec<(String, Login)>,
    pub(crate) services: Vec<String>,
}

impl RealmBuilder {
    pub(crate) fn new(name: &str) -> Self {
        let settings = Settings {
            name: name.to_owned(),
            enctypes: vec![Enctype::Aes256Sha1, Enctype::Aes256Sha2],
            ticket_life: Duration::from_secs(10 * 3600),
            renew_life: Duration::from_secs(7 * 24 * 3600),
            preauth: true,
            pac: true,
            indicator: None,
            local_rules: Vec::new(),
            local_names: Vec::new(),
            domains: vec!["localhost".to_owned()],
            clock: None,
            limit: Duration::from_secs(30),
        };
        Self { settings, users: Vec::new(), services: Vec::new() }
    }

    /// Adds a user with a password.
    ///
    /// Making keys from it takes about 40 ms for each enctype of RFC 8009; random ones take no time.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), Login::Password(password.into())));
        self
    }

    /// Adds a user with random keys, who logs in with a keytab.
    pub fn user_with_key(mut self, name: impl Into<String>) -> Self {
        self.users.push((name.into(), Login::Key));
        self
    }

    /// Adds a service with random keys: `socks/localhost`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.services.push(name.into());
        self
    }

    /// The enctypes of all keys and the only ones that clients and servers permit, best first
    /// (default: [`Enctype::Aes256Sha1`], [`Enctype::Aes256Sha2`]).
    ///
    /// With [`Enctype::Rc4`] or [`Enctype::Des3`] weak ones are allowed.
    pub fn enctypes(mut self, enctypes: &[Enctype]) -> Self {
        self.settings.enctypes = enctypes.to_vec();
        self
    }

    /// How long tickets are valid, in whole seconds (default: 10 hours).
    pub fn ticket_life(mut self, span: Duration) -> Self {
        self.settings.ticket_life = span;
        self
    }

    /// How long tickets can be renewed, in whole seconds (default: 7 days).
    pub fn renew_life(mut self, span: Duration) -> Self {
        self.settings.renew_life = span;
        self
    }

    /// Gives a ticket to whoever asks, without proof that they know the key.
    pub fn without_preauth(mut self) -> Self {
        self.settings.preauth = false;
        self
    }

    /// Puts no PAC into tickets. With it MIT 1.20 and newer issue one with the client's name and signatures, no groups.
    pub fn without_pac(mut self) -> Self {
        self.settings.pac = false;
        self
    }

    /// The authentication indicator of tickets got with SPAKE, which clients then use unless
    /// [`Conf::without_indicator`](crate::Conf::without_indicator) keeps them from it.
    pub fn indicator(mut self, name: impl Into<String>) -> Self {
        self.settings.indicator = Some(name.into());
        self
    }

    /// Adds a rule from principals to local names (`auth_to_local`); the first that matches counts.
    ///
    /// Once there is a rule, MIT's own one is named `DEFAULT`.
    pub fn auth_to_local(mut self, rule: impl Into<String>) -> Self {
        self.settings.local_rules.push(rule.into());
        self
    }

    /// Gives a principal of this realm, named without it, a local name (`auth_to_local_names`).
    pub fn local_name(mut self, principal: impl Into<String>, local: impl Into<String>) -> Self {
        self.settings.local_names.push((principal.into(), local.into()));
        self
    }

    /// The hosts (`localhost`) and domains (`.a.test`) whose services are in this realm (default: `localhost`).
    pub fn domains(mut self, domains: &[&str]) -> Self {
        self.settings.domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        self
    }

    /// Runs the KDC with a clock that is wrong. Needs libfaketime.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = Some(clock);
        self
    }

    /// How long the start may take, and later each call of one of MIT's programs (default: 30 seconds).
    pub fn limit(mut self, limit: Duration) -> Self {
        self.settings.limit = limit;
        self
    }

    /// Makes the realm's database and starts its KDC.
    ///
    /// # Errors
    /// When a program of MIT Kerberos is missing, fails or is late, or a name cannot be used.
    pub fn start(self) -> Result<Realm> {
        self.check()?;
        Realm::launch(self)
    }

    fn check(&self) -> Result<()> {
        let settings = &self.settings;
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
        if settings.name.is_empty() || !settings.name.bytes().all(plain) {
            return Err(Error::RealmName(settings.name.clone()));
        }
        for (name, login) in &self.users {
            word(name)?;
            if let Login::Password(password) = login {
                word(password)?;
            }
        }
        let names = settings.local_names.iter().flat_map(|(principal, local)| [principal, local]);
        let texts = names.chain(&settings.local_rules).chain(&settings.indicator);
        for text in texts.chain(&settings.domains).chain(&self.services) {
            word(text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_write_into_configuration_are_refused() {
        let refused = [
            RealmBuilder::new("A.TEST = {\n").check(),
            RealmBuilder::new("").check(),
            RealmBuilder::new("A.TEST").user("alice\n", "x").check(),
            RealmBuilder::new("A.TEST").user("alice", "").check(),
            RealmBuilder::new("A.TEST").service("-x").check(),
            RealmBuilder::new("A.TEST").indicator("a\nb").check(),
        ];
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
    }
}
