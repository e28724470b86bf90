//! Commands for `kadmin.local`, which works on the database without a server or a login.

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::process::{Deadline, KADMIN_LOCAL};

/// A line that kadmin.local reads in whole.
const LONGEST_WORD: usize = 1024;

/// Commands that one run of kadmin.local does, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Script(String);

impl Script {
    /// Adds a command. Every word is quoted.
    pub(crate) fn command<T: AsRef<str>>(&mut self, words: impl IntoIterator<Item = T>) {
        let words: Vec<String> =
            words.into_iter().map(|word| format!("\"{}\"", word.as_ref().replace('"', "\"\""))).collect();
        self.0.push_str(&words.join(" "));
        self.0.push('\n');
    }

    /// Adds a principal with a password, or with random keys, and the realm's own enctypes.
    pub(crate) fn add(&mut self, principal: &str, password: Option<&str>) {
        match password {
            Some(password) => {
                self.command(["add_principal", "-clearpolicy", "-pw", password, principal]);
            }
            None => self.command(["add_principal", "-clearpolicy", "-randkey", principal]),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does the commands and returns what was said to them.
    ///
    /// kadmin.local goes on after a mistake and ends as if nothing was: its error output has to be empty.
    pub(crate) fn run(&self, realm: &str, environment: &Environment, deadline: Deadline) -> Result<String> {
        let call = KADMIN_LOCAL.call(environment, deadline)?.args(["-r", realm, "-p", "krb-testenv/admin"]);
        let answer = call.input(&self.0).run()?;
        match answer.errors.trim() {
            "" => Ok(answer.output),
            errors => Err(Error::Failed { program: KADMIN_LOCAL.name, text: errors.to_owned() }),
        }
    }
}

/// A name or password that kadmin.local and kinit can be given.
pub(crate) fn word(text: &str) -> Result<&str> {
    let bad = text.is_empty()
        || text.len() > LONGEST_WORD
        || text.starts_with('-')
        || text.chars().any(char::is_control);
    if bad { Err(Error::Text(text.to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        let mut script = Script::default();
        script.add("alice", Some("a \"b"));
        assert_eq!(script.0, "\"add_principal\" \"-clearpolicy\" \"-pw\" \"a \"\"b\" \"alice\"\n",);
    }

    #[test]
    fn words_that_would_be_commands_or_options_are_refused() {
        for text in ["", "a\nb", "-expire", "a\0", &"x".repeat(2000)] {
            assert!(matches!(word(text), Err(Error::Text(_))), "{text:?}");
        }
        assert_eq!(word("a b \"c\" ü").unwrap(), "a b \"c\" ü");
    }
}
