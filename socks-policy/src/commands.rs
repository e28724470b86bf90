//! The commands that a rule is for.

use std::fmt;

use socks_core::wire::Command;

/// A set of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commands(u8);

impl Commands {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(0x0E);

    /// The set with that command too.
    pub(crate) fn with(self, command: Command) -> Self {
        Self(self.0 | 1 << command as u8)
    }

    /// Tells whether the command is in the set.
    pub(crate) fn contains(self, command: Command) -> bool {
        self.0 & 1 << command as u8 != 0
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [Command::Connect, Command::Bind, Command::UdpAssociate];
        for (at, command) in all.into_iter().filter(|command| self.contains(*command)).enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{command}")?;
        }
        Ok(())
    }
}
