//! The file of a Unix socket: it appears when somebody listens there, gives way to a successor's, and goes in the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A file that leads to a socket; dropping it removes it, unless somebody else has put his own in its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The name that no other process uses.
    own: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Opens the socket under the path, if nobody listens there.
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        if UnixStream::connect(path).is_ok() {
            let text = "another gateway listens there";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        let (listener, file) = Self::prepare(path, mode)?;
        file.appear()?;
        Ok((listener, file))
    }

    /// Opens the socket, which nobody finds before it [appears](Self::appear).
    pub(crate) fn prepare(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        let mut own = path.as_os_str().to_owned();
        own.push(format!(".{}", std::process::id()));
        let own = PathBuf::from(own);
        // What an earlier process of the same number left behind.
        let _ = fs::remove_file(&own);
        let listener = UnixListener::bind(&own)?;
        let mut file = Self { path: path.to_owned(), own, inode: 0 };
        file.inode = fs::symlink_metadata(&file.own)?.ino();
        fs::set_permissions(&file.own, Permissions::from_mode(mode))?;
        Ok((listener, file))
    }

    /// Takes the path, in one step, from whoever has it; also when it had [stepped aside](Self::step_aside).
    pub(crate) fn appear(&self) -> io::Result<()> {
        fs::rename(&self.own, &self.path)
    }

    /// Makes the socket reachable by a name of its own as well, because somebody else will take the path.
    pub(crate) fn step_aside(&self) -> io::Result<&Path> {
        let _ = fs::remove_file(&self.own);
        fs::hard_link(&self.path, &self.own)?;
        Ok(&self.own)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        for path in [&self.path, &self.own] {
            if fs::symlink_metadata(path).is_ok_and(|now| now.ino() == self.inode) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_that_nobody_serves_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, file) = SocketFile::open(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(SocketFile::open(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_socket_that_stepped_aside_is_reached_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (listener, file) = SocketFile::open(&path, 0o600).unwrap();
        let aside = file.step_aside().unwrap().to_owned();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&aside).unwrap();
        assert!(listener.accept().is_ok());
        drop((client, other));
        file.appear().unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        assert!(listener.accept().is_ok() && !aside.exists());
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
