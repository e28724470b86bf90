//! As much of `krb5.conf` as a check-up needs: its relations, without those of files that it includes.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::finding::Report;

/// The most octets of a file that are read.
const MOST: u64 = 1024 * 1024;
/// The most files that `KRB5_CONFIG` may name.
const MOST_FILES: usize = 8;
/// Where it is unless the environment says otherwise.
const DEFAULT: &str = "/etc/krb5.conf";

/// What stands in the configuration files of the Kerberos library, first things first.
#[derive(Debug, Default)]
pub(super) struct Profile {
    relations: Vec<Relation>,
    read: Vec<PathBuf>,
    unread: Vec<String>,
    includes: usize,
}

/// A line `key = value`, and in which braces of which section it stands.
#[derive(Debug, PartialEq, Eq)]
struct Relation {
    path: Vec<String>,
    key: String,
    value: String,
}

impl Profile {
    /// Reads what `KRB5_CONFIG` names, or the usual file.
    pub(super) fn from_system() -> Self {
        let named = env::var_os("KRB5_CONFIG").unwrap_or_else(|| DEFAULT.into());
        let mut profile = Self::default();
        for path in env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).take(MOST_FILES) {
            match read(&path) {
                Ok(text) => {
                    profile.parse(&text);
                    profile.read.push(path);
                }
                Err(error) => profile.unread.push(format!("`{}`: {error}", path.display())),
            }
        }
        profile
    }

    /// Says what was read, and what was not.
    pub(super) fn examine(&self, report: &mut Report<'_>) {
        for unread in &self.unread {
            let remedy = "without it the library finds realms by DNS, and uses its own defaults";
            report.note("krb5-conf", format!("cannot read {unread}"), remedy);
        }
        for path in &self.read {
            report.ok("krb5-conf", format!("`{}` is read", path.display()));
        }
        if self.includes > 0 {
            let text = format!("{} lines include other files, which this check does not read", self.includes);
            report.note("krb5-conf-includes", text, "");
        }
        self.canonicalization(report);
    }

    /// Clients ask for the name that they make of the gateway's.
    fn canonicalization(&self, report: &mut Report<'_>) {
        let id = "client-canonicalization";
        let forward = self.library_default("dns_canonicalize_hostname").unwrap_or("true");
        if is_false(forward) {
            report.ok(id, "`dns_canonicalize_hostname` is off: a client set up like this one asks for the name it is given");
        } else if self.library_default("rdns").is_some_and(is_false) {
            report.ok(
                id,
                "`rdns` is off: a client set up like this one asks for the canonical name that DNS gives",
            );
        } else {
            let text = "clients that keep the default `rdns = true` ask for the name to which the gateway's address leads back in DNS";
            report.note(
                id,
                text,
                "see that this name is the one in the keytab, or set `rdns = false` in the clients' krb5.conf",
            );
        }
    }

    /// The first value of a key in `[libdefaults]`.
    pub(super) fn library_default(&self, key: &str) -> Option<&str> {
        self.relations
            .iter()
            .find(|relation| relation.key == key && relation.is_in(&["libdefaults"]))
            .map(|relation| relation.value.as_str())
    }

    /// The centres that `[realms]` names for a realm, as they are written.
    pub(super) fn centres(&self, realm: &str) -> Vec<&str> {
        self.relations
            .iter()
            .filter(|relation| relation.key == "kdc" && relation.is_in(&["realms", realm]))
            .flat_map(|relation| relation.value.split_whitespace())
            .collect()
    }

    fn parse(&mut self, text: &str) {
        let mut path: Vec<String> = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let first = line.split_whitespace().next();
            if matches!(first, Some("include" | "includedir" | "module")) {
                self.includes += 1;
            } else if let Some(section) = line.strip_prefix('[') {
                path = vec![section.split(']').next().unwrap_or_default().to_owned()];
            } else if line.starts_with('}') {
                path.truncate(path.len().saturating_sub(1).max(1));
            } else if let Some((key, value)) = line.split_once('=') {
                let (key, value) = (key.trim().trim_end_matches('*').trim(), value.trim());
                if value == "{" {
                    path.push(key.to_owned());
                } else {
                    let value = unquoted(value).to_owned();
                    self.relations.push(Relation { path: path.clone(), key: key.to_owned(), value });
                }
            }
        }
    }
}

impl Relation {
    fn is_in(&self, path: &[&str]) -> bool {
        self.path.iter().map(String::as_str).eq(path.iter().copied())
    }
}

/// The words that the library takes for no.
pub(super) fn is_false(value: &str) -> bool {
    ["n", "no", "false", "nil", "f", "0", "off"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut octets = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
includedir /etc/krb5.conf.d/
# kdc = comment
[libdefaults]
 default_realm = A.TEST
 rdns = \"no\"
 default_realm = B.TEST
[realms]
 A.TEST = {
  kdc = one.a.test:88 two.a.test
  sub = {
   kdc = wrong.test
  }
  kdc = three.a.test
 }
 B.TEST = {
  kdc = [::1]:88
 }
}
[domain_realm]
 kdc = D.TEST
";

    #[test]
    fn relations_are_found_in_their_section() {
        let mut profile = Profile::default();
        profile.parse(TEXT);
        assert_eq!(profile.library_default("default_realm"), Some("A.TEST"));
        assert!(profile.library_default("rdns").is_some_and(is_false));
        assert_eq!(profile.centres("A.TEST"), ["one.a.test:88", "two.a.test", "three.a.test"]);
        assert_eq!(profile.centres("B.TEST"), ["[::1]:88"]);
        assert_eq!(profile.centres("C.TEST").len(), 0);
        assert_eq!(profile.includes, 1);
    }

    #[test]
    fn odd_braces_do_no_harm() {
        let mut profile = Profile::default();
        profile.parse("}\n}\n[x\na = {\n[libdefaults]\n}\n= {\nkey =\n");
        assert_eq!(profile.library_default("nonesuch"), None);
    }
}
