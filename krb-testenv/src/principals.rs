//! The realm's users and services while it runs: added, given new keys, written to keytabs.

use std::fs;
use std::path::Path;

use crate::builder::Login;
use crate::error::{Error, Result};
use crate::kadmin::{Script, word};
use crate::keytab::Keytab;
use crate::process::{KADMIN_LOCAL, write_file};
use crate::realm::{Realm, lock};

/// What becomes of a principal's keys when it gets new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKeys {
    /// They stay, so that tickets issued before can still be read with a keytab written afterwards.
    Keep,
    /// They are forgotten.
    Drop,
}

impl Realm {
    /// Adds a user with a password.
    ///
    /// # Errors
    /// When the realm has a principal of that name or the name or password cannot be used.
    pub fn add_user(&self, name: &str, password: &str) -> Result<()> {
        self.add(name, Some(word(password)?))?;
        lock(&self.users).insert(name.to_owned(), Login::Password(password.to_owned()));
        Ok(())
    }

    /// Adds a service with random keys.
    ///
    /// # Errors
    /// When the realm has a principal of that name or the name cannot be used.
    pub fn add_service(&self, name: &str) -> Result<()> {
        self.add(name, None)
    }

    /// Takes a user or service out of the realm.
    ///
    /// # Errors
    /// When the realm has no such principal.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut script = Script::default();
        script.command(["delete_principal", "-force", word(name)?]);
        self.administer(&script, self.deadline())?;
        lock(&self.users).remove(name);
        Ok(())
    }

    /// Gives a service new random keys and returns their version.
    ///
    /// # Errors
    /// When the realm has no such principal.
    pub fn rotate(&self, name: &str, old: OldKeys) -> Result<u32> {
        let mut script = Script::default();
        let keep = match old {
            OldKeys::Keep => Some("-keepold"),
            OldKeys::Drop => None,
        };
        script.command(["change_password", "-randkey"].into_iter().chain(keep).chain([word(name)?]));
        script.command(["get_principal", name]);
        let output = self.administer(&script, self.deadline())?;
        newest_version(&output).ok_or(Error::Strange { program: KADMIN_LOCAL.name, text: output })
    }

    /// Writes a keytab with all key versions that the realm has of these principals.
    ///
    /// The file is replaced in whole: whoever reads it sees the old one or the new one. Only its owner can read it.
    ///
    /// # Errors
    /// When the realm has no such principal or the file cannot be written.
    pub fn keytab(&self, principals: &[&str], path: impl AsRef<Path>) -> Result<()> {
        self.write_keytab(&Keytab::of(principals), path)
    }

    /// Writes a keytab by a plan, which may hold keys that open nothing.
    ///
    /// # Errors
    /// As [`keytab`](Self::keytab).
    pub fn write_keytab(&self, plan: &Keytab, path: impl AsRef<Path>) -> Result<()> {
        let beside = self.folder.join(format!("keytabs/{}", self.number()));
        write_file(&beside, &plan.made_up(self.name(), &self.settings.enctypes)?)?;
        let mut script = Script::default();
        let name = format!("FILE:{}", beside.display());
        for principal in &plan.principals {
            script.command(["ktadd", "-norandkey", "-k", &name, word(principal)?]);
        }
        self.administer(&script, self.deadline())?;
        let octets = fs::read(&beside).map_err(Error::io("read", &beside))?;
        fs::remove_file(&beside).map_err(Error::io("remove", &beside))?;
        write_file(path.as_ref(), &octets)
    }

    fn add(&self, name: &str, password: Option<&str>) -> Result<()> {
        let mut script = Script::default();
        script.add(word(name)?, password);
        self.administer(&script, self.deadline()).map(drop)
    }
}

/// The highest of the lines `Key: vno 2, aes256-cts-hmac-sha1-96`.
fn newest_version(text: &str) -> Option<u32> {
    let versions = text.lines().filter_map(|line| line.strip_prefix("Key: vno "));
    versions.filter_map(|rest| rest.split(',').next()?.parse().ok()).max()
}
