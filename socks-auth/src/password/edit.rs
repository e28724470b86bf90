//! Edits a users file as a text: what is not edited stays octet by octet as it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use socks_config::{Document, Findings, Node, Value};

use super::layout::{
    Style, block_entry, block_range, emptied, flow_entry, flow_range, line_break, line_end, list_style,
    splice,
};
use super::replace::replace;
use super::users::{self, User, Users};
use super::{StoredHash, Verdict};

/// A users file that is being edited; nothing is written before [`save`](Self::save).
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    /// The file as it was read; `None`: there was none.
    before: Option<String>,
    text: String,
    users: Users,
}

/// Why a users file was not edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is such an account already.
    #[error("user `{0}` is there already")]
    Exists(Box<str>),
    /// There is no such account.
    #[error("there is no user `{0}`")]
    Unknown(Box<str>),
    /// The account cannot be written.
    #[error("{0}")]
    Account(Box<str>),
    /// The file is valid YAML in a form that is not edited: somebody has to do it by hand.
    #[error("the file's form is not one that can be edited; edit it by hand")]
    Form,
    /// Somebody else changed the file meanwhile.
    #[error("the file was changed meanwhile; try again")]
    Changed,
    /// The file has mistakes.
    #[error(transparent)]
    File(#[from] Findings),
    /// The file cannot be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl UsersFile {
    /// Opens a users file; one that is not there is one without accounts.
    ///
    /// # Errors
    /// [`EditError::File`] with all mistakes of the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, EditError> {
        let path = path.into();
        let before = read(&path)?;
        let text = before.clone().unwrap_or_default();
        let (_, users) = parse(&path, &text)?;
        Ok(Self { path, before, text, users })
    }

    /// Adds an account behind all others.
    ///
    /// # Errors
    /// [`EditError::Exists`], [`EditError::Account`] for a name that no account can have, [`EditError::Form`].
    pub fn add(&mut self, user: &User) -> Result<(), EditError> {
        users::check_name(&user.name).map_err(|why| EditError::Account(why.into()))?;
        if self.users.find(user.name.as_bytes()).is_some() {
            return Err(EditError::Exists(user.name.clone()));
        }
        let text = self.appended(user)?;
        self.take(text, |accounts| accounts.insert(user.name.clone(), user.clone()))
    }

    /// Removes an account.
    ///
    /// # Errors
    /// [`EditError::Unknown`], [`EditError::Form`].
    pub fn remove(&mut self, name: &str) -> Result<(), EditError> {
        let (document, _) = parse(&self.path, &self.text)?;
        let accounts = users::entries(&document, &mut Findings::default());
        let at = accounts.iter().position(|account| is_of(account, name));
        let at = at.ok_or_else(|| EditError::Unknown(name.into()))?;
        let range = match list_style(accounts, &self.text) {
            Style::Block { .. } => block_range(accounts, at, &self.text),
            Style::Flow => flow_range(accounts, at),
            Style::Other => None,
        };
        let text = splice(&self.text, range.ok_or(EditError::Form)?, "").ok_or(EditError::Form)?;
        self.take(text, |accounts| accounts.remove(name))
    }

    /// Gives an account another password.
    ///
    /// # Errors
    /// [`EditError::Unknown`], [`EditError::Form`].
    pub fn set_hash(&mut self, name: &str, hash: &StoredHash) -> Result<(), EditError> {
        let (document, _) = parse(&self.path, &self.text)?;
        let accounts = users::entries(&document, &mut Findings::default());
        let account = accounts.iter().find(|account| is_of(account, name));
        let account = account.ok_or_else(|| EditError::Unknown(name.into()))?;
        let place = field(account, "hash").map(|hash| hash.place.offsets()).ok_or(EditError::Form)?;
        let text = splice(&self.text, place, &format!("\"{}\"", hash.as_str())).ok_or(EditError::Form)?;
        self.take(text, |accounts| {
            if let Some(account) = accounts.get_mut(name) {
                account.hash = hash.clone();
            }
        })
    }

    /// Writes the file in one step. Owner and mode stay; a new file can be read by its owner alone.
    ///
    /// # Errors
    /// [`EditError::Changed`] when the file is no longer what was opened, [`EditError::Io`].
    pub fn save(&mut self) -> Result<(), EditError> {
        if read(&self.path)? != self.before {
            return Err(EditError::Changed);
        }
        let written = replace(&self.path, self.text.as_bytes());
        written.map_err(|error| EditError::Io { path: self.path.clone(), error })?;
        self.before = Some(self.text.clone());
        Ok(())
    }

    /// The accounts as they are after the edits.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// The text as it is after the edits.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Decides about a login as the method would now.
    pub fn verify(&self, name: &str, password: &[u8]) -> Verdict<'_> {
        self.users.verify(name.as_bytes(), password, jiff::Timestamp::now())
    }

    /// Takes a new text if it says exactly what was meant.
    fn take<T>(
        &mut self,
        text: String,
        edit: impl FnOnce(&mut HashMap<Box<str>, User>) -> T,
    ) -> Result<(), EditError> {
        let mut meant: HashMap<_, _> =
            self.users.iter().map(|user| (user.name.clone(), user.clone())).collect();
        edit(&mut meant);
        let (_, users) = parse(&self.path, &text).map_err(|_| EditError::Form)?;
        if users.len() != meant.len() || users.iter().any(|user| meant.get(&user.name) != Some(user)) {
            return Err(EditError::Form);
        }
        self.text = text;
        self.users = users;
        Ok(())
    }

    fn appended(&self, user: &User) -> Result<String, EditError> {
        let end = line_break(&self.text);
        let document = Document::parse_secret("", self.text.clone())?;
        let Value::Map(pairs) = &document.root.value else {
            let gap = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { end };
            return Ok(format!("{}{gap}users:{end}{}", self.text, block_entry(user, "  ", end)));
        };
        let (key, list) =
            pairs.iter().find(|(key, _)| key.text().is_ok_and(|it| it == "users")).ok_or(EditError::Form)?;
        let accounts = match &list.value {
            Value::List(accounts) => accounts.as_slice(),
            _ => &[],
        };
        let (range, entry) = match (accounts.last(), list_style(accounts, &self.text)) {
            (None, _) => return emptied(&self.text, key, list, user).ok_or(EditError::Form),
            (Some(_), Style::Other) => return Err(EditError::Form),
            (Some(last), Style::Flow) => {
                let at = last.place.offsets().end;
                (at..at, format!(", {}", flow_entry(user)))
            }
            (Some(last), Style::Block { indent }) => {
                let at = line_end(&self.text, last.place.offsets().end);
                let gap = if self.text.get(..at).is_some_and(|text| text.ends_with('\n')) { "" } else { end };
                (at..at, format!("{gap}{}", block_entry(user, indent, end)))
            }
        };
        splice(&self.text, range, &entry).ok_or(EditError::Form)
    }
}

/// The file's text, `None` if it is not there.
fn read(path: &Path) -> Result<Option<String>, EditError> {
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => Ok(Some(Document::read_secret(path)?.root.place.source().text().to_owned())),
    }
}

/// Reads a text; one without anything but comments is one without accounts.
fn parse(path: &Path, text: &str) -> Result<(Document, Users), Findings> {
    let mut document = Document::parse_secret(&path.display().to_string(), text.to_owned())?;
    if document.root.is_null() {
        document = Document::parse_secret("", "users: []".to_owned())?;
    }
    let users = Users::of(&document)?;
    Ok((document, users))
}

/// Tells whether an entry is the account of that name.
fn is_of(account: &Node, name: &str) -> bool {
    field(account, "name").and_then(|node| node.text().ok()) == Some(name)
}

/// The value of a key, if there is one.
fn field<'a>(node: &'a Node, key: &'static str) -> Option<&'a Node> {
    node.fields(&mut Findings::default())?.take(key)
}

#[cfg(test)]
mod tests;
