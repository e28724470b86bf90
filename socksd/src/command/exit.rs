//! How a command ends.

use std::process::ExitCode;

/// How a command ended, in the numbers of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it should.
    Done = 0,
    /// It did, and the answer is no.
    No = 1,
    /// The command line is wrong.
    Usage = 64,
    /// An address cannot be opened.
    Unavailable = 69,
    /// The program itself is wrong.
    Software = 70,
    /// The system refuses something.
    System = 71,
    /// The caller may not do that.
    Denied = 77,
    /// A file has a mistake.
    Config = 78,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 8] = [
        Self::Done,
        Self::No,
        Self::Usage,
        Self::Unavailable,
        Self::Software,
        Self::System,
        Self::Denied,
        Self::Config,
    ];

    /// What it means, in the words of the manual.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => {
                "the answer is no: a password that is wrong, an account that is there already, a finding of `doctor`, no session to end, no lock to lift, no shadow policy, a request that another policy would decide otherwise, an open session that would lose its permit"
            }
            Self::Usage => "the command line is wrong",
            Self::Unavailable => "an address cannot be opened, or the running gateway cannot be asked",
            Self::Software => "a bug",
            Self::System => {
                "the system refuses something: a thread, a signal, a file that cannot be written, an audit file that cannot be read"
            }
            Self::Denied => "you may not do that: the gateway's `admin` section says who may",
            Self::Config => {
                "a file has a mistake, or a test of the policy fails, or no record could be judged"
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
