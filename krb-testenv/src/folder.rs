//! The folder that holds everything a realm writes, and is gone with it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::process::{Watcher, Words};

/// Removes the folder when this process lets go of it or dies. A process of the realm that is ended at the same
/// moment may still write, hence the second try.
const REMOVE: &str = r#"read -r line; rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }"#;

/// Memory rather than a disk: the database is synced after every change, and on a busy disk that takes longest.
const MEMORY: &str = "/dev/shm";

/// A folder of one realm, removed when dropped and also when this process is killed.
#[derive(Debug)]
pub(crate) struct Folder {
    // Order matters: the watcher removes the folder, the second only makes sure.
    _watcher: Watcher,
    folder: TempDir,
}

impl Folder {
    /// Makes a folder that only its owner can enter.
    pub(crate) fn create() -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("krb-testenv-");
        let folder = builder
            .tempdir_in(MEMORY)
            .or_else(|_| builder.tempdir())
            .map_err(Error::io("make a folder in", std::env::temp_dir()))?;
        let watcher =
            Watcher::start(REMOVE, &[folder.path().as_os_str()], &Environment::default(), Words::Dropped)?;
        for name in ["caches", "keytabs", "conf"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).map_err(Error::io("make", path))?;
        }
        Ok(Self { _watcher: watcher, folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_gone_after_drop_with_all_it_holds() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        fs::write(folder.join("keytabs/a"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
