//! `socksd schema`: what editors want to know to complete and check our files.

use clap::ValueEnum;

use super::{Exit, say};

/// The files that have a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum File {
    /// `policy.yaml`
    Policy,
    /// `socksd.yaml`
    Config,
}

impl File {
    /// The JSON Schema (draft 2020-12) of the file.
    fn schema(self) -> &'static str {
        match self {
            Self::Policy => include_str!("../../../docs/schema/policy.schema.json"),
            Self::Config => include_str!("../../../docs/schema/socksd.schema.json"),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// The file whose schema is wanted
    #[arg(value_name = "FILE")]
    file: File,
}

impl Schema {
    pub(super) fn run(&self) -> Exit {
        say(self.file.schema().trim_end());
        Exit::Done
    }
}

#[cfg(test)]
mod tests;
