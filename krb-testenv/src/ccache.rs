//! A user's credential cache: what `kinit` has brought, and what a client is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::kadmin::word;
use crate::process::{Deadline, KINIT, KVNO};

/// A credential cache of one user, removed with its realm.
#[derive(Clone, Debug)]
pub struct Ccache {
    pub(crate) path: PathBuf,
    pub(crate) principal: String,
    pub(crate) environment: Environment,
    pub(crate) limit: Duration,
}

impl Ccache {
    /// The cache's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose cache it is, with the realm: `alice@EXAMPLE.TEST`.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// What a client needs in its environment to act as this user.
    pub fn env(&self) -> Environment {
        self.environment.clone()
    }

    /// Gets a ticket for a service into the cache, unless it is there, and returns its key's version.
    ///
    /// `socks/localhost` is asked for as a GSSAPI client asks for `socks@localhost`: in the realm that the host
    /// belongs to. `socks/localhost@REALM` is asked for as it stands.
    ///
    /// # Errors
    /// What `kvno` says, such as that the realm has no such service.
    pub fn ticket(&self, service: &str) -> Result<u32> {
        let call = KVNO.call(&self.environment, self.deadline())?;
        let call = match service.split_once('/').filter(|_| !service.contains('@')) {
            Some((name, host)) => call.args(["-S", word(name)?, word(host)?]),
            None => call.arg(word(service)?),
        };
        let answer = call.run()?;
        // `socks/localhost@EXAMPLE.TEST: kvno = 2`
        let version = answer.output.trim().rsplit_once("= ").and_then(|(_, number)| number.parse().ok());
        version.ok_or(Error::Strange { program: KVNO.name, text: answer.output })
    }

    /// Renews the ticket-granting ticket, which has to be renewable; service tickets are dropped.
    ///
    /// # Errors
    /// What `kinit -R` says.
    pub fn renew(&self) -> Result<()> {
        KINIT.call(&self.environment, self.deadline())?.arg("-R").run().map(drop)
    }

    /// The tickets in the cache, in the order of the file.
    ///
    /// # Errors
    /// When the file cannot be read or is not in format 4.
    pub fn tickets(&self) -> Result<Vec<Ticket>> {
        self.read().map(|(tickets, _)| tickets)
    }

    /// How many seconds the KDC's clock was ahead of this machine's, as noted in the cache.
    ///
    /// # Errors
    /// When the file cannot be read or is not in format 4.
    pub fn clock_offset(&self) -> Result<i32> {
        self.read().map(|(_, offset)| offset)
    }

    fn read(&self) -> Result<(Vec<Ticket>, i32)> {
        let octets = fs::read(&self.path).map_err(Error::io("read", &self.path))?;
        parse(&octets).ok_or_else(|| Error::NotACache(self.path.clone()))
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.limit)
    }
}

/// One ticket of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whom it is for, with the realm: `socks/localhost@EXAMPLE.TEST`.
    pub service: String,
    /// From when it is valid, in the KDC's time.
    pub starts: SystemTime,
    /// Until when it is valid, in the KDC's time.
    pub ends: SystemTime,
    /// Until when it can be renewed; `None` when it cannot.
    pub renewable_until: Option<SystemTime>,
    /// IANA's number of the session key's enctype.
    pub session_enctype: u16,
    /// The flags of RFC 4120 section 5.3, its bit 0 in the highest bit.
    pub flags: u32,
    /// How many octets the ticket itself has.
    pub size: usize,
}

impl Ticket {
    /// Whether it may be handed on to a service (RFC 4120 section 2.6).
    pub fn forwardable(&self) -> bool {
        self.flags & 0x4000_0000 != 0
    }

    /// Whether its validity has ended at that moment.
    pub fn expired_at(&self, now: SystemTime) -> bool {
        self.ends <= now
    }
}

/// The tickets and the clock's offset. The format: `doc/formats/ccache_file_format` of MIT's documentation.
fn parse(octets: &[u8]) -> Option<(Vec<Ticket>, i32)> {
    let mut rest = Reader(octets.strip_prefix(&[0x05, 0x04])?);
    let header_length = u16::from_be_bytes(rest.take()?);
    let mut header = Reader(rest.split(header_length.into())?);
    let mut offset = 0;
    while let Some(tag) = header.take() {
        let length = u16::from_be_bytes(header.take()?);
        let mut field = Reader(header.split(length.into())?);
        if u16::from_be_bytes(tag) == 1 {
            offset = i32::from_be_bytes(field.take()?);
        }
    }
    let _owner = rest.principal()?;
    let mut tickets = Vec::new();
    while !rest.0.is_empty() {
        tickets.extend(rest.credential()?);
    }
    Some((tickets, offset))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn split(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn data(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.split(usize::try_from(length).ok()?)
    }

    fn text(&mut self) -> Option<String> {
        self.data().map(|octets| String::from_utf8_lossy(octets).into_owned())
    }

    fn principal(&mut self) -> Option<String> {
        let _kind = self.number()?;
        let count = self.number()?;
        let realm = self.text()?;
        let names = (0..count).map(|_| self.text()).collect::<Option<Vec<_>>>()?;
        Some(format!("{}@{realm}", names.join("/")))
    }

    /// Addresses or authorization data: a type and octets each.
    fn skip_typed(&mut self) -> Option<()> {
        for _ in 0..self.number()? {
            let _kind: [u8; 2] = self.take()?;
            self.data()?;
        }
        Some(())
    }

    /// One credential; `Some(None)` for a note that the library keeps in the same place.
    fn credential(&mut self) -> Option<Option<Ticket>> {
        let _client = self.principal()?;
        let service = self.principal()?;
        let session_enctype = u16::from_be_bytes(self.take()?);
        let _key = self.data()?;
        let [_authenticated, starts, ends, renewable] =
            [self.number()?, self.number()?, self.number()?, self.number()?];
        let [_is_session_key] = self.take()?;
        let flags = self.number()?;
        self.skip_typed()?;
        self.skip_typed()?;
        let size = self.data()?.len();
        let _second = self.data()?;
        if service.ends_with("@X-CACHECONF:") {
            return Some(None);
        }
        let renewable_until = (renewable != 0).then(|| moment(renewable));
        let (starts, ends) = (moment(starts), moment(ends));
        Some(Some(Ticket { service, starts, ends, renewable_until, session_enctype, flags, size }))
    }
}

fn moment(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.into())
}
