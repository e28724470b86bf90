//! A KDC whose clock is wrong, through libfaketime.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};

/// How far a KDC's clock is from this machine's.
///
/// A client believes the KDC: `kinit` notes the difference in the cache, and each client that uses the cache
/// afterwards lives in the KDC's time. One who accepts the ticket on this machine's clock sees it as it is:
/// expired, from the future, or from somebody whose clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// It shows a time that has passed.
    Behind(Duration),
    /// It shows a time to come.
    Ahead(Duration),
}

impl Clock {
    /// The variables that make a program believe in this clock.
    pub(crate) fn variables(self) -> Result<Vec<OsString>> {
        let mut preload = OsString::from("LD_PRELOAD=");
        preload.push(library()?);
        let (sign, span) = match self {
            Self::Behind(span) => ('-', span),
            Self::Ahead(span) => ('+', span),
        };
        Ok(vec![
            preload,
            format!("FAKETIME={sign}{}s", span.as_secs()).into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        ])
    }
}

/// libfaketime's file, where distributions put it.
fn library() -> Result<PathBuf> {
    let multiarch = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
        .map(PathBuf::from)
        .into_iter()
        .chain(multiarch)
        .map(|folder| folder.join("faketime/libfaketime.so.1"))
        .find(|file| file.is_file())
        .ok_or(Error::Missing { program: "libfaketime.so.1", package: "libfaketime" })
}
