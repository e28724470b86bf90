//! `socksd user`: the accounts of a users file.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use socks_auth::password::{EditError, Secret, StoredHash, User, UsersFile, Verdict, parse_expiry};

use super::secret;
use super::{Exit, fail, say};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add an account; the password comes from the terminal, or from standard input
    Add(Add),
    /// Give an account another password
    Passwd(Account),
    /// Remove an account
    Remove(Account),
    /// Tell whether a name and a password would be let in; exit code 1 if not
    Verify(Account),
}

#[derive(Debug, clap::Args)]
pub(super) struct Account {
    /// The users file
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// The account's name
    name: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    #[command(flatten)]
    account: Account,
    /// A group it belongs to; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<Box<str>>,
    /// From when on it may not log in any more: a date (good to its end, in UTC), or a time
    #[arg(long, value_name = "DATE", value_parser = expiry)]
    expires: Option<Timestamp>,
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    parse_expiry(text)
        .ok_or_else(|| "neither a date (`2027-03-31`) nor a time (`2027-03-31T12:00:00Z`)".into())
}

impl UserCommand {
    pub(super) fn run(self) -> Result<Exit, Exit> {
        match self {
            Self::Add(add) => add.run(),
            Self::Passwd(account) => account.set_password(),
            Self::Remove(account) => account.remove(),
            Self::Verify(account) => account.verify(),
        }
    }
}

impl Add {
    fn run(self) -> Result<Exit, Exit> {
        let mut file = self.account.open()?;
        // Said before the password is asked for.
        if file.users().find(self.account.name.as_bytes()).is_some() {
            return Err(refuse(&EditError::Exists(self.account.name.as_str().into())));
        }
        let mut user = User::new(self.account.name.as_str(), new_hash()?);
        user.groups = self.group;
        user.expires = self.expires;
        file.add(&user).and_then(|()| file.save()).map_err(|error| refuse(&error))?;
        say(format_args!("added `{}` to {}", self.account.name, self.account.file.display()));
        Ok(Exit::Done)
    }
}

impl Account {
    fn open(&self) -> Result<UsersFile, Exit> {
        UsersFile::open(&self.file).map_err(|error| refuse(&error))
    }

    fn set_password(&self) -> Result<Exit, Exit> {
        let mut file = self.open()?;
        if file.users().find(self.name.as_bytes()).is_none() {
            return Err(refuse(&EditError::Unknown(self.name.as_str().into())));
        }
        let hash = new_hash()?;
        file.set_hash(&self.name, &hash).and_then(|()| file.save()).map_err(|error| refuse(&error))?;
        say(format_args!("changed the password of `{}` in {}", self.name, self.file.display()));
        Ok(Exit::Done)
    }

    fn remove(&self) -> Result<Exit, Exit> {
        let mut file = self.open()?;
        file.remove(&self.name).and_then(|()| file.save()).map_err(|error| refuse(&error))?;
        say(format_args!("removed `{}` from {}", self.name, self.file.display()));
        Ok(Exit::Done)
    }

    fn verify(&self) -> Result<Exit, Exit> {
        let file = self.open()?;
        let password = password("Password: ")?;
        let verdict = file.verify(&self.name, password.expose());
        say(format_args!("{}: {}", self.name, verdict.as_str()));
        Ok(if matches!(verdict, Verdict::Granted(_)) { Exit::Done } else { Exit::No })
    }
}

fn new_hash() -> Result<StoredHash, Exit> {
    let password = password("New password: ")?;
    if secret::is_terminal() && self::password("Once more: ")?.expose() != password.expose() {
        return Err(fail(Exit::No, "the two passwords differ; nothing was changed"));
    }
    StoredHash::of_password(password.expose()).map_err(|error| fail(Exit::No, error))
}

fn password(prompt: &str) -> Result<Secret, Exit> {
    secret::read(prompt).map_err(|error| fail(Exit::System, format_args!("password: {error}")))
}

fn refuse(error: &EditError) -> Exit {
    let exit = match error {
        EditError::Io { .. } | EditError::Changed => Exit::System,
        EditError::File(_) | EditError::Form => Exit::Config,
        _ => Exit::No,
    };
    fail(exit, error)
}
