//! The `audit` section: which records are written, and where to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use socks_config::{Fields, Finding, Findings, Node, value};

use super::{list, time, word, word_of};

/// How often refusals before authentication are written, unless the configuration says otherwise.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);
/// Records that may wait for one target, unless the configuration says otherwise.
const QUEUE: usize = 65_536;
/// The smallest queue; a new session needs half of it to be free.
const LEAST_QUEUE: usize = 16;
/// How often a file is synchronised with its disk, unless the configuration says otherwise.
const FSYNC: Duration = Duration::from_secs(1);
const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// What is recorded, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditConfig {
    /// None: records stand in the log only.
    pub(crate) targets: Vec<TargetConfig>,
    /// How often refusals before authentication are written.
    pub(crate) refusals_every: Duration,
    /// Whether sessions get a record when they open as well.
    pub(crate) start: bool,
}

/// One place that records go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetConfig {
    pub(crate) kind: TargetKind,
    pub(crate) terms: TargetTerms,
}

/// What happens when a target takes no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TargetTerms {
    /// Records that may wait.
    pub(crate) queue: usize,
    pub(crate) on_failure: OnAuditFailure,
    pub(crate) on_overflow: OnOverflow,
}

/// What happens to new sessions while a target cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnAuditFailure {
    Refuse,
    Continue,
}

/// What happens when too many records wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnOverflow {
    /// New sessions wait; those that run find room for their records.
    Block,
    /// Records are dropped, and a record tells how many.
    Count,
}

/// A sort of target with what only this sort has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetKind {
    /// JSON lines in a file.
    File { path: PathBuf, fsync: Fsync },
    /// JSON lines on standard output.
    Stdout,
    /// The journal of systemd, behind this socket.
    Journald { socket: PathBuf },
    /// A syslog server.
    Syslog(SyslogConfig),
}

/// How RFC 5424 is spoken, and with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyslogConfig {
    pub(crate) address: SyslogAddress,
    /// The facility's number, RFC 5424 section 6.2.1.
    pub(crate) facility: u8,
    pub(crate) message: SyslogMessage,
}

/// Where a syslog server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyslogAddress {
    /// A datagram socket of this machine.
    Unix(PathBuf),
    /// `HOST:PORT`, RFC 5426.
    Udp(String),
    /// `HOST:PORT`, RFC 6587 with octet counting.
    Tcp(String),
}

/// How a record stands in a syslog message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyslogMessage {
    /// The message is the record's line of JSON.
    Json,
    /// The record's fields are structured data, and the message is empty.
    Structured,
}

/// When what was written to a file is made to survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// When the system thinks fit.
    Never,
    /// After each write.
    Always,
    /// At most this long after a write.
    Every(Duration),
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { targets: Vec::new(), refusals_every: REFUSALS_EVERY, start: false }
    }
}

impl Default for TargetTerms {
    fn default() -> Self {
        Self { queue: QUEUE, on_failure: OnAuditFailure::Refuse, on_overflow: OnOverflow::Block }
    }
}

impl AuditConfig {
    pub(super) fn read(node: &Node, base: &Path, findings: &mut Findings) -> Self {
        let mut config = Self::default();
        let Some(mut fields) = node.fields(findings) else { return config };
        if let Some(every) = time(&mut fields, "refusals-every", findings) {
            config.refusals_every = every;
        }
        if let Some(start) = fields.take("start").and_then(|node| findings.note(value::switch(node))) {
            config.start = start;
        }
        // What stands here holds for each target that says nothing else.
        let terms = TargetTerms::default().or(&mut fields, findings);
        let fsync = fsync(&mut fields, findings).unwrap_or(Fsync::Every(FSYNC));
        if let Some(path) = fields.take("file").and_then(|node| findings.note(node.text())) {
            let kind = TargetKind::File { path: base.join(path), fsync };
            config.targets.push(TargetConfig { kind, terms });
        }
        for node in fields.take("targets").map(|node| list(node, findings)).unwrap_or_default() {
            let Some(target) = TargetConfig::read(node, base, (terms, fsync), findings) else { continue };
            if config.targets.iter().any(|other| other.kind.is_same_place(&target.kind)) {
                findings.mistake(&node.place, "records go to this place already");
                continue;
            }
            config.targets.push(target);
        }
        fields.finish(findings);
        config
    }
}

impl TargetConfig {
    fn read(
        node: &Node,
        base: &Path,
        (terms, default_fsync): (TargetTerms, Fsync),
        findings: &mut Findings,
    ) -> Option<Self> {
        let mut fields = node.fields(findings)?;
        let terms = terms.or(&mut fields, findings);
        let kinds = ["file", "stdout", "journald", "syslog"].map(|kind| (kind, kind));
        let known = fields.require("kind", findings).and_then(|node| word_of(node, &kinds, findings));
        let kind = match known? {
            "file" => file(&mut fields, base, default_fsync, findings),
            "stdout" => Some(TargetKind::Stdout),
            "journald" => journald(&mut fields, base, findings),
            _ => syslog(&mut fields, base, findings).map(TargetKind::Syslog),
        };
        fields.finish(findings);
        Some(Self { kind: kind?, terms })
    }
}

impl TargetTerms {
    /// The same with what the fields say otherwise.
    fn or(mut self, fields: &mut Fields<'_>, findings: &mut Findings) -> Self {
        if let Some(node) = fields.take("queue") {
            match findings.note(node.parse::<usize>()) {
                Some(queue) if queue >= LEAST_QUEUE => self.queue = queue,
                Some(_) => findings.mistake(&node.place, format!("`queue` must be at least {LEAST_QUEUE}")),
                None => {}
            }
        }
        let words = [("refuse", OnAuditFailure::Refuse), ("continue", OnAuditFailure::Continue)];
        self.on_failure = word(fields, "on-failure", &words, findings).unwrap_or(self.on_failure);
        let words = [("block", OnOverflow::Block), ("count", OnOverflow::Count)];
        self.on_overflow = word(fields, "on-overflow", &words, findings).unwrap_or(self.on_overflow);
        self
    }
}

impl TargetKind {
    /// Tells whether both are the same, however it is written to.
    fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path, .. }, Self::File { path: other, .. }) => path == other,
            (Self::Syslog(one), Self::Syslog(other)) => one.address == other.address,
            _ => self == other,
        }
    }
}

fn file(fields: &mut Fields<'_>, base: &Path, default: Fsync, findings: &mut Findings) -> Option<TargetKind> {
    let path = fields.require("path", findings).and_then(|node| findings.note(node.text()));
    let fsync = fsync(fields, findings).unwrap_or(default);
    Some(TargetKind::File { path: base.join(path?), fsync })
}

fn fsync(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Fsync> {
    let node = fields.take("fsync")?;
    match node.text() {
        Ok("never") => Some(Fsync::Never),
        Ok("always") => Some(Fsync::Always),
        _ => match value::duration(node) {
            Ok(time) if !time.is_zero() => Some(Fsync::Every(time)),
            _ => {
                findings.push(node.expected("`never`, `always` or a time such as `1s`"));
                None
            }
        },
    }
}

fn journald(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<TargetKind> {
    let socket = match fields.take("socket") {
        Some(node) => base.join(findings.note(node.text())?),
        None => JOURNAL.into(),
    };
    Some(TargetKind::Journald { socket })
}

fn syslog(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<SyslogConfig> {
    let address = match fields.take("address") {
        Some(node) => findings.note(syslog_address(node, base)),
        None => Some(SyslogAddress::Unix(SYSLOG.into())),
    };
    let facility =
        fields.take("facility").map_or(Some(FACILITIES[0].1), |node| word_of(node, &FACILITIES, findings));
    let words = [("json", SyslogMessage::Json), ("structured", SyslogMessage::Structured)];
    let message = word(fields, "message", &words, findings).unwrap_or(SyslogMessage::Json);
    Some(SyslogConfig { address: address?, facility: facility?, message })
}

/// `unix:PATH`, `udp:HOST:PORT` or `tcp:HOST:PORT`.
fn syslog_address(node: &Node, base: &Path) -> Result<SyslogAddress, Finding> {
    let text = node.text()?;
    let host = |host: &str| {
        let (name, port) = host.rsplit_once(':').unwrap_or_default();
        let is_whole = !name.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
        is_whole.then(|| host.to_owned())
    };
    let address = match text.split_once(':') {
        Some(("unix", path)) if !path.is_empty() => Some(SyslogAddress::Unix(base.join(path))),
        Some(("udp", server)) => host(server).map(SyslogAddress::Udp),
        Some(("tcp", server)) => host(server).map(SyslogAddress::Tcp),
        _ => None,
    };
    address.ok_or_else(|| node.expected("`unix:PATH`, `udp:HOST:PORT` or `tcp:HOST:PORT`"))
}

/// RFC 5424 section 6.2.1: those that are not the system's own. The first one is the default.
const FACILITIES: [(&str, u8); 12] = [
    ("authpriv", 10),
    ("auth", 4),
    ("daemon", 3),
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

#[cfg(test)]
mod tests;
