//! The command's options and the realms that they describe.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use clap::{Parser, ValueEnum};
use krb_testenv::{Enctype, Realm, RealmBuilder};

/// Starts a throw-away MIT Kerberos realm on loopback.
///
/// With a command, runs it in the realm and ends with its exit code. Without one, prints the variables to set, and ends
/// the realm when its input ends or on SIGINT or SIGTERM. Nothing is left behind, however it ends.
#[derive(Debug, Parser)]
#[command(name = "krb-testenv", version)]
pub(crate) struct Options {
    /// The realm's name.
    #[arg(long, value_name = "NAME", default_value = "EXAMPLE.TEST")]
    realm: String,
    /// A user with a password; of a trusted realm when it stands behind the name: `bob@OTHER.TEST:password`.
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = pair::<':'>)]
    pub(crate) user: Vec<(String, String)>,
    /// A user without a password, whose keytab is written to the file.
    #[arg(long, value_name = "NAME=FILE", value_parser = user_keytab)]
    pub(crate) user_keytab: Vec<(String, PathBuf)>,
    /// A service with random keys: `socks/localhost`.
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Vec<String>,
    /// Writes all services' keys to the file.
    #[arg(long, value_name = "FILE", requires = "service")]
    pub(crate) keytab: Vec<PathBuf>,
    /// An enctype of all keys, best first: `aes256-sha1`, `aes256-sha2`, `rc4-hmac`, `20`, ….
    #[arg(long, value_name = "NAME", value_parser = enctype)]
    enctype: Vec<Enctype>,
    /// How long tickets are valid: `10h`, `90s`.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    ticket_life: Option<Duration>,
    /// How long tickets can be renewed: `7d`.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    renew_life: Option<Duration>,
    /// Gives tickets without proof of the password.
    #[arg(long)]
    no_preauth: bool,
    /// Puts no PAC into tickets.
    #[arg(long)]
    no_pac: bool,
    /// The authentication indicator of tickets got with a password.
    #[arg(long, value_name = "NAME")]
    indicator: Option<String>,
    /// A rule from principals to local names, `DEFAULT` for MIT's own.
    #[arg(long, value_name = "RULE")]
    auth_to_local: Vec<String>,
    /// Starts another realm beside; the two trust each other.
    #[arg(long, value_name = "NAME")]
    trusted_realm: Vec<String>,
    /// Logs the user in, so that the variables lead to its tickets.
    #[arg(long, value_name = "USER")]
    pub(crate) kinit: Option<String>,
    /// Has clients and servers write what the Kerberos library does to the file.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Writes the variables to the file, too, once the realm is ready.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// What ends the realm when there is no command.
    #[arg(long, value_name = "EVENT", value_enum, default_value_t = Until::Eof)]
    pub(crate) until: Until,
    /// The command to run and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What ends a realm that has no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// The end of standard input, SIGINT or SIGTERM.
    Eof,
    /// SIGINT or SIGTERM.
    Signal,
}

impl Options {
    /// The realm and the trusted ones, not yet started.
    pub(crate) fn builders(&self) -> (RealmBuilder, Vec<RealmBuilder>) {
        let mut realm = self.settings(&self.realm);
        for (user, _) in &self.user_keytab {
            realm = realm.user_with_key(user);
        }
        for service in &self.service {
            realm = realm.service(service);
        }
        for rule in &self.auth_to_local {
            realm = realm.auth_to_local(rule);
        }
        // `localhost` is the first realm's.
        let trusted = self.trusted_realm.iter().map(|name| self.settings(name).domains(&[])).collect();
        (realm, trusted)
    }

    /// What all realms have in common, with those users that belong to this one.
    fn settings(&self, name: &str) -> RealmBuilder {
        let mut builder = Realm::builder(name);
        for (user, password) in &self.user {
            let (user, realm) = user.rsplit_once('@').unwrap_or((user, &self.realm));
            if realm == name {
                builder = builder.user(user, password);
            }
        }
        if !self.enctype.is_empty() {
            builder = builder.enctypes(&self.enctype);
        }
        if let Some(span) = self.ticket_life {
            builder = builder.ticket_life(span);
        }
        if let Some(span) = self.renew_life {
            builder = builder.renew_life(span);
        }
        if self.no_preauth {
            builder = builder.without_preauth();
        }
        if self.no_pac {
            builder = builder.without_pac();
        }
        match &self.indicator {
            Some(indicator) => builder.indicator(indicator),
            None => builder,
        }
    }
}

/// Writes a file that is there in whole or not at all.
pub(crate) fn publish(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    fs::rename(file.path(), path)?;
    let _ = file.keep();
    Ok(())
}

fn pair<const MARK: char>(text: &str) -> Result<(String, String), String> {
    let (name, rest) = text.split_once(MARK).ok_or_else(|| format!("there is no `{MARK}` in it"))?;
    Ok((name.to_owned(), rest.to_owned()))
}

fn user_keytab(text: &str) -> Result<(String, PathBuf), String> {
    pair::<'='>(text).map(|(name, file)| (name, file.into()))
}

fn enctype(text: &str) -> Result<Enctype, String> {
    let known = || Enctype::ALL.map(|enctype| enctype.name()).join(", ");
    Enctype::from_name(text).ok_or_else(|| format!("known are: {}", known()))
}

/// Reads `90s`, `10m`, `10h` or `7d`.
fn span(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600)];
    units
        .into_iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit).map(|count| (count, seconds)))
        .and_then(|(count, seconds)| count.parse::<u32>().ok().map(|count| u64::from(count) * seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "a number and one of s, m, h, d is wanted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * 24 * 3600)));
        for text in ["", "h", "10", "-1s", "1.5h", "99999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn password_may_hold_the_mark() {
        assert_eq!(pair::<':'>("alice:a:b"), Ok(("alice".into(), "a:b".into())));
        assert!(pair::<':'>("alice").is_err());
    }

    #[test]
    fn options_are_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
