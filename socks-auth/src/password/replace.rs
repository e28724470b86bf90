//! Replaces a file in one step: whoever reads it sees the old text or the new one, never a part.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Writes `text` to the file at `path`, through a new file beside it.
///
/// Owner and mode stay as they are; a file that was not there gets the mode 0600. A symbolic link stays one.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let before = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = if before.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
    let fresh = beside(&target)?;
    let written = write(&fresh, text, before.as_ref()).and_then(|()| fs::rename(&fresh, &target));
    if written.is_err() {
        // What went wrong first is what the operator should hear.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    // The new name lasts only once the folder is on disk too.
    File::open(folder(&target))?.sync_all()
}

fn write(fresh: &Path, text: &[u8], before: Option<&Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    if let Some(before) = before {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.set_permissions(before.permissions())?;
    }
    file.write_all(text)?;
    file.sync_all()
}

/// A name in the same folder that nobody else has.
fn beside(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let random = getrandom::u64().map_err(io::Error::other)?;
    Ok(folder(target).join(format!(".{name}.{random:016x}")))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        replace(&path, b"one").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));
    }

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("real.yaml"), folder.path().join("link.yaml"));
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        replace(&link, b"two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o640));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failure_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-folder");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"two").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("none/users.yaml"), b"x").is_err());
    }
}
