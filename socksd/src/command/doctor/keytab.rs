//! The keytab: the file, who may read it, and which keys are in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;
use socks_gssapi::{EnctypeInfo, KeytabEntry, KeytabError, Strength};

use super::Entry;
use super::finding::Report;
use super::profile::Profile;

/// From how many keys on a keytab slows each handshake down.
const MANY_KEYS: usize = 100;
/// The most principals that are looked at one by one.
const MOST_PRINCIPALS: usize = 64;
/// The services that clients ask for unless they are told otherwise.
const USUAL: [&str; 2] = ["socks", "rcmd"];

/// The keys of a keytab by principal.
pub(super) struct Keys(BTreeMap<String, Vec<KeytabEntry>>);

impl Keys {
    /// The realms of the principals.
    pub(super) fn realms(&self) -> BTreeSet<&str> {
        self.0.keys().filter_map(|principal| principal.rsplit_once('@')).map(|(_, realm)| realm).collect()
    }

    /// The hosts of the principals that have one, as `host` of `service/host@REALM`.
    pub(super) fn hosts(&self) -> BTreeSet<&str> {
        self.0.keys().filter_map(|principal| Some(split(principal)?.1)).collect()
    }

    fn services(&self) -> BTreeSet<&str> {
        self.0.keys().filter_map(|principal| principal.split(['/', '@']).next()).collect()
    }

    fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

/// Service and host of `service/host@REALM`.
fn split(principal: &str) -> Option<(&str, &str)> {
    principal.rsplit_once('@')?.0.split_once('/')
}

/// Looks at all of it; gives the keys when there are any.
pub(super) fn examine(entry: &Entry, profile: &Profile, report: &mut Report<'_>) -> Option<Keys> {
    let path = &entry.rules.keytab;
    let keys = file(path, report)?;
    if let Ok(metadata) = path.metadata() {
        access(path, &metadata, report);
    }
    services(entry, &keys, report);
    let permitted = profile.library_default("permitted_enctypes").map(EnctypeInfo::permitted);
    for (principal, own) in keys.0.iter().take(MOST_PRINCIPALS) {
        enctypes(principal, own, entry.options.allow_weak_enctypes, report);
        versions(principal, own, report);
        if let Some(permitted) = &permitted {
            permits(principal, own, permitted, report);
        }
    }
    Some(keys)
}

fn file(path: &Path, report: &mut Report<'_>) -> Option<Keys> {
    let (id, shown) = ("keytab-file", path.display());
    let mut keys: BTreeMap<String, Vec<KeytabEntry>> = BTreeMap::new();
    let remedy = match KeytabEntry::read(path) {
        Ok(entries) if entries.is_empty() => {
            report.mistake(id, format!("keytab `{shown}` holds no key"), "export the service's keys into it");
            return None;
        }
        Ok(entries) => {
            for entry in entries {
                keys.entry(entry.principal.clone()).or_default().push(entry);
            }
            let keys = Keys(keys);
            let (count, principals) = (keys.count(), keys.0.len());
            let text = format!("keytab `{shown}` is readable: {count} keys of {principals} principals");
            report.ok(id, text);
            if count > MANY_KEYS {
                let text = format!("keytab `{shown}` has {count} keys, and handshakes try many of them");
                report.warning("keytab-size", text, "keep a keytab with the gateway's own keys only");
            }
            return Some(keys);
        }
        Err(KeytabError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            report.mistake(
                id,
                format!("keytab `{shown}` is not there"),
                "see the path in the configuration; export the key of `socks/HOST` into it",
            );
            return None;
        }
        Err(KeytabError::Io(error)) => (error.to_string(), "make it readable for the gateway's user"),
        Err(error) => (error.to_string(), "export the keytab anew, and see with `klist -k` that it is whole"),
    };
    report.mistake(id, format!("keytab `{shown}` cannot be read: {}", remedy.0), remedy.1);
    None
}

/// Whoever reads a keytab can be anybody towards the gateway; whoever writes it can, too.
fn access(path: &Path, metadata: &Metadata, report: &mut Report<'_>) {
    let (mode, shown) = (metadata.mode() & 0o7777, path.display());
    let remedy = format!("`chmod 600 {shown}`; if others had time to read it, change the service's key");
    match mode {
        _ if mode & 0o022 != 0 || mode & 0o007 != 0 => {
            let who = if mode & 0o007 != 0 { "everybody" } else { "a group that may write it" };
            report.mistake("keytab-mode", format!("keytab is open to {who}: its mode is {mode:04o}"), remedy);
        }
        _ if mode & 0o040 != 0 => {
            let text = format!("keytab can be read by group {}: its mode is {mode:04o}", metadata.gid());
            report.warning("keytab-mode", text, remedy);
        }
        _ => report.ok("keytab-mode", format!("keytab is its owner's alone: its mode is {mode:04o}")),
    }
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    if owner == user || owner == 0 {
        report.ok("keytab-owner", format!("keytab belongs to user {owner}"));
    } else {
        let text =
            format!("keytab belongs to user {owner}, who may replace it, and not to root or user {user}");
        report.warning(
            "keytab-owner",
            text,
            format!("let it belong to the gateway's user: `chown USER {shown}`"),
        );
    }
}

fn services(entry: &Entry, keys: &Keys, report: &mut Report<'_>) {
    let (id, there) = ("service-names", keys.services());
    let allowed = entry.options.services.as_deref();
    for service in allowed.unwrap_or_default() {
        if !there.contains(&**service) {
            let text = format!("`services` allows `{service}`, of which the keytab has no key");
            report.mistake(
                id,
                text,
                format!("export the key of `{service}/HOST`, or take it out of `services`"),
            );
        }
    }
    let is_allowed =
        |service: &str| allowed.is_none_or(|allowed| allowed.iter().any(|own| **own == *service));
    let usual: Vec<&str> =
        USUAL.into_iter().filter(|service| there.contains(service) && is_allowed(service)).collect();
    if usual.is_empty() {
        let text = "no key is for `socks/HOST` or `rcmd/HOST`, which clients ask for by themselves";
        report.warning(
            id,
            text,
            "register and export `socks/HOST` or `rcmd/HOST`, or tell each client the service's name",
        );
    } else {
        report.ok(id, format!("keytab serves clients that ask for `{}`", usual.join("` or `")));
    }
}

fn name(enctype: u32) -> String {
    EnctypeInfo::of(enctype).map_or_else(|| format!("type {enctype}"), |info| info.name.to_owned())
}

fn names(enctypes: impl IntoIterator<Item = u32>) -> String {
    let names: Vec<String> = enctypes.into_iter().map(name).collect();
    names.join(", ")
}

fn numbers(keys: &[KeytabEntry]) -> BTreeSet<u32> {
    keys.iter().map(|key| key.enctype).collect()
}

fn enctypes(principal: &str, keys: &[KeytabEntry], weak_are_allowed: bool, report: &mut Report<'_>) {
    let id = "keytab-enctypes";
    let remedy =
        "give the service a key of type aes256-cts-hmac-sha1-96 or newer, and export the keytab anew";
    let types = numbers(keys);
    let is = |strength| {
        let types = types.iter().copied();
        types.filter(move |number| {
            EnctypeInfo::of(*number).map_or(Strength::Weak, |info| info.strength) == strength
        })
    };
    let (fast, sound, weak) = (is(Strength::Fast), is(Strength::Sound), is(Strength::Weak));
    let weak = names(weak);
    if fast.clone().next().is_some() {
        report.ok(id, format!("`{principal}` has keys of type {}", names(fast.chain(sound))));
        if !weak.is_empty() {
            let text = format!("`{principal}` also has weak keys: {weak}");
            report.warning(id, text, "take these types from the account, and export the keytab anew");
        }
    } else if sound.clone().next().is_some() {
        let text = format!("`{principal}` has no AES key but {}, which is slower here", names(sound));
        report.warning(id, text, remedy);
    } else if weak_are_allowed {
        let text =
            format!("`{principal}` has weak keys only ({weak}), and `allow-weak-enctypes` lets them pass");
        report.warning(id, text, remedy);
    } else {
        report.mistake(id, format!("`{principal}` has no AES key, only {weak}"), remedy);
    }
}

fn versions(principal: &str, keys: &[KeytabEntry], report: &mut Report<'_>) {
    let versions: BTreeSet<u32> = keys.iter().map(|key| key.version).collect();
    let shown: Vec<String> = versions.iter().map(u32::to_string).collect();
    if versions.len() > 1 {
        let text = format!("`{principal}` has key versions {}: tickets of each are taken", shown.join(", "));
        let remedy =
            "when tickets from before the change have expired, take the older ones out with `ktutil`";
        report.note("key-versions", text, remedy);
    } else {
        report.ok("key-versions", format!("`{principal}` has key version {}", shown.join(", ")));
    }
}

fn permits(principal: &str, keys: &[KeytabEntry], permitted: &[u32], report: &mut Report<'_>) {
    let id = "permitted-enctypes";
    let (in_use, idle): (Vec<u32>, Vec<u32>) =
        numbers(keys).into_iter().partition(|number| permitted.contains(number));
    let remedy = "add the type to `permitted_enctypes` in krb5.conf, or take that line out";
    if in_use.is_empty() {
        let text =
            format!("`permitted_enctypes` in krb5.conf excludes all keys of `{principal}`: {}", names(idle));
        report.mistake(id, text, remedy);
    } else if idle.is_empty() {
        report.ok(id, format!("`permitted_enctypes` in krb5.conf permits all keys of `{principal}`"));
    } else {
        let text =
            format!("`permitted_enctypes` in krb5.conf excludes some keys of `{principal}`: {}", names(idle));
        report.warning(id, text, format!("{remedy}; tickets of these types are refused"));
    }
}
