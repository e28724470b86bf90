//! Records in the journal of systemd, by its native protocol: one datagram for each, with fields.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};

use super::fields::Fields;
use super::writer::{Sink, split_lines};

/// How long the journal may take for one record.
const PATIENCE: Duration = Duration::from_secs(5);
/// The journal refuses fields with longer names.
const LONGEST_NAME: usize = 64;

/// The journal behind a socket, which is found anew for each record.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Makes a socket; the journal need not be there yet.
    ///
    /// # Errors
    /// The system's, when there is no descriptor left.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self.socket.send_to(message, &self.path) {
            Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                self.send_file(message)
            }
            result => result.map(drop),
        }
    }

    /// What is too large for a datagram goes in a sealed file in memory.
    fn send_file(&self, message: &[u8]) -> io::Result<()> {
        let memory = memfd_create("audit", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memory);
        file.write_all(message)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&files));
        let journal = SocketAddrUnix::new(&self.path)?;
        sendmsg_addr(&self.socket, &journal, &[IoSlice::new(&[])], &mut control, SendFlags::empty())?;
        Ok(())
    }
}

impl Sink for Journal {
    fn append(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            let (line, later) = split_lines(rest, 1);
            self.send(&message(line.trim_ascii_end()))?;
            *rest = later;
        }
        Ok(())
    }
}

/// One record in the journal's form: the line itself as the message, and each of its fields by itself.
fn message(line: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(line.len() * 3);
    let Some(fields) = Fields::read(line) else { return message };
    add(&mut message, "MESSAGE", line);
    add(&mut message, "PRIORITY", severity(&fields).to_string().as_bytes());
    add(&mut message, "SYSLOG_IDENTIFIER", b"socksd");
    for (name, value) in fields.flat() {
        add(&mut message, &journal_name(&name), value.as_bytes());
    }
    message
}

/// How grave a record is, as syslog counts it: 4 is a warning, 6 a piece of information.
pub(super) fn severity(fields: &Fields) -> u8 {
    let is_warning = match fields.text("event") {
        "audit-lost" => true,
        "reload" => fields.text("result") == "refused",
        _ => fields.text("cause") == "internal-error",
    };
    if is_warning { 4 } else { 6 }
}

/// `valid-until` becomes `SOCKSD_VALID_UNTIL`.
fn journal_name(name: &str) -> String {
    let word = |octet: char| if octet.is_ascii_alphanumeric() { octet.to_ascii_uppercase() } else { '_' };
    let mut name: String = "SOCKSD_".chars().chain(name.chars().map(word)).collect();
    name.truncate(LONGEST_NAME);
    name
}

/// A value with a line's end in it has its length before it.
fn add(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        message.push(b'\n');
        message.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

#[cfg(test)]
mod tests;
