//! `socksd user`: the accounts of a users file.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use socks_auth::password::{EditError, Secret, StoredHash, User, Users, UsersFile, Verdict, parse_expiry};

use super::screen::{Mood, Screen, say_json};
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
    Verify(Verify),
    /// List the accounts with their groups, and until when they are good
    List(List),
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
pub(super) struct Verify {
    #[command(flatten)]
    account: Account,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The users file
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// An account as the list shows it: never its hash.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    /// `active`, `disabled` or `expired`.
    state: &'static str,
    groups: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
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
            Self::Verify(verify) => verify.run(),
            Self::List(list) => list.run(),
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
}

impl Verify {
    fn run(&self) -> Result<Exit, Exit> {
        let file = self.account.open()?;
        let password = password("Password: ")?;
        let (name, verdict) = (&self.account.name, file.verify(&self.account.name, password.expose()));
        let granted = matches!(verdict, Verdict::Granted(_));
        if self.json {
            say_json(&json!({ "name": name, "granted": granted, "verdict": verdict.as_str() }))?;
        } else {
            let mood = if granted { Mood::Good } else { Mood::Bad };
            say(format_args!("{name}: {}", Screen::output().paint(mood, verdict.as_str())));
        }
        Ok(if granted { Exit::Done } else { Exit::No })
    }
}

impl List {
    fn run(&self) -> Result<Exit, Exit> {
        let users = Users::read(&self.file).map_err(|findings| fail(Exit::Config, findings))?;
        let now = Timestamp::now();
        let mut listed: Vec<_> = users.iter().map(|user| Listed::new(user, now)).collect();
        listed.sort_by_key(|listed| listed.name);
        if self.json {
            say_json(&json!({ "users": listed }))?;
        } else {
            let width = listed.iter().map(|listed| listed.name.chars().count()).max().unwrap_or_default();
            listed.iter().for_each(|listed| say(listed.line(width)));
        }
        Ok(Exit::Done)
    }
}

impl<'a> Listed<'a> {
    fn new(user: &'a User, now: Timestamp) -> Self {
        let state = match user.verdict(now) {
            Verdict::Granted(_) => "active",
            Verdict::Expired => "expired",
            _ => "disabled",
        };
        let expires = user.expires.map(|end| end.to_string());
        Self { name: &user.name, state, groups: &user.groups, expires }
    }

    /// One line, with the name in a column of that width.
    fn line(&self, width: usize) -> String {
        let mood = if self.state == "active" { Mood::Good } else { Mood::Warning };
        let state = Screen::output().paint(mood, &format!("{:<8}", self.state));
        let expires = self.expires.as_deref().map_or(String::new(), |end| format!("  until {end}"));
        let groups =
            if self.groups.is_empty() { String::new() } else { format!("  {}", self.groups.join(", ")) };
        format!("{:<width$}  {state}{expires}{groups}", self.name).trim_end().to_owned()
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
