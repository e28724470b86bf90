//! The environment variables that a Kerberos program is told its realm by.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::process::Command;

/// Environment variables for one child process.
///
/// Nothing here changes the own process's environment: that is unsafe in a threaded program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Adds a variable or replaces its value.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Makes the Kerberos library tell every step it takes, appended to that file (`KRB5_TRACE`).
    #[must_use]
    pub fn trace(self, file: impl AsRef<Path>) -> Self {
        self.with("KRB5_TRACE", file.as_ref())
    }

    /// Uses another `krb5.conf` than the realm's own (`KRB5_CONFIG`), such as one that
    /// [`Realm::conf`](crate::Realm::conf) has written.
    #[must_use]
    pub fn config(self, file: impl AsRef<Path>) -> Self {
        self.with("KRB5_CONFIG", file.as_ref())
    }

    /// Gives the variables to a command.
    ///
    /// Whatever else of Kerberos the command would inherit (names that start with `KRB5`) is taken from it,
    /// so that the machine's own realm never mixes with this one. Variables that this process was not
    /// started with and that were set on the command before stay.
    pub fn apply(&self, command: &mut Command) {
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"KRB5") {
                command.env_remove(name);
            }
        }
        command.envs(self.iter());
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The variables, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl IntoIterator for Environment {
    type Item = (OsString, OsString);
    type IntoIter = std::collections::btree_map::IntoIter<OsString, OsString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Of a name that comes twice the last value counts.
impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Lines for a shell: `export NAME='value'`.
impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            let value = value.to_string_lossy().replace('\'', r"'\''");
            writeln!(f, "export {}='{value}'", name.to_string_lossy())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_reads_back_what_was_printed() {
        let value = "it's $HOME; \"quoted\"\nand a line";
        let script = format!("{}printf %s \"$X\"", Environment::default().with("X", value));
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
    }

    #[test]
    fn last_value_of_a_variable_counts() {
        let environment = Environment::default().config("/a").config("/b");
        assert_eq!(environment.value("KRB5_CONFIG"), Some(OsStr::new("/b")));
        assert_eq!(environment.iter().count(), 1);
    }
}
