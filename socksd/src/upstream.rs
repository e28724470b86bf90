//! Other gateways that rules may send connections through, and how this one logs in there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socks_client::{
    Association, Client, ClientBuilder, ConnectError, Connection, Fault, Gssapi, Level, Listening,
    NoAuthentication, Password, Step, Timeouts,
};
use socks_config::{Fields, Finding, Findings, Node};
use socks_core::wire::{ReplyCode, Target};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::config::UpstreamEntry;

/// The most addresses of one target that an upstream is asked for, one after the other.
const MOST_ATTEMPTS: usize = 4;
/// The longest password that RFC 1929 can carry, with the end of its line, in octets.
const MAX_LINE: u64 = 255 + 2;
/// An upstream's reply is waited for as long as the rule says; this only bounds what no rule does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const KINDS: [&str; 3] = ["none", "password", "gssapi"];
const LEVELS: [Level; 4] = [Level::None, Level::Integrity, Level::Confidentiality, Level::Selective];

/// One upstream gateway.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    /// Where it is and how this gateway logs in there, as the configuration says it.
    pub(crate) entry: Arc<str>,
    client: Client,
}

/// Why there is no connection through an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("upstream `{name}`: {error}")]
    Failed { name: Arc<str>, error: ConnectError },
    #[error("upstream `{name}`: no answer within {} s", .most.as_secs_f32())]
    Timeout { name: Arc<str>, most: Duration },
    #[error("upstream `{name}`: its reply has a name where an address should be")]
    Nowhere { name: Arc<str> },
    #[error("upstream `{0}` is not among those of the configuration")]
    Unknown(Arc<str>),
}

impl Upstream {
    /// Makes the client of a configured upstream; relative paths are below `base`.
    pub(crate) fn build(entry: &UpstreamEntry<'_>, base: &Path, findings: &mut Findings) -> Option<Self> {
        let timeouts = Timeouts {
            connect: entry.timeout,
            handshake: entry.timeout,
            request: REQUEST_TIMEOUT,
            arrival: REQUEST_TIMEOUT,
        };
        let builder = Client::builder(entry.address.clone()).timeouts(timeouts);
        let built = login(entry, base, builder, findings)?.build();
        let mistake = |error: socks_client::BuildError| {
            Finding::mistake(&entry.node.place, format!("upstream `{}`: {error}", entry.name))
        };
        let client = findings.note(built.map_err(mistake))?;
        let options = entry.options.map(ToString::to_string).unwrap_or_default();
        let text = format!("{} {} {options}", entry.address, entry.kind);
        Some(Self { name: entry.name.clone(), entry: text.into(), client })
    }

    /// Opens a connection to the first of `targets` that the upstream reaches, and tells which.
    pub(crate) async fn connect(
        &self,
        targets: &[Target],
        most: Duration,
    ) -> Result<(Connection, usize), UpstreamError> {
        match timeout(most, self.attempts(targets)).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(UpstreamError::Failed { name: self.name.clone(), error }),
            Err(_) => Err(UpstreamError::Timeout { name: self.name.clone(), most }),
        }
    }

    /// Lets the upstream listen for one connection from `peer`.
    pub(crate) async fn bind(&self, peer: Target, most: Duration) -> Result<Listening, UpstreamError> {
        match timeout(most, self.client.bind(peer)).await {
            Ok(bound) => bound.map_err(|error| UpstreamError::Failed { name: self.name.clone(), error }),
            Err(_) => Err(UpstreamError::Timeout { name: self.name.clone(), most }),
        }
    }

    /// Lets the upstream carry datagrams.
    pub(crate) async fn associate(&self, most: Duration) -> Result<Association, UpstreamError> {
        match timeout(most, self.client.associate()).await {
            Ok(opened) => opened.map_err(|error| UpstreamError::Failed { name: self.name.clone(), error }),
            Err(_) => Err(UpstreamError::Timeout { name: self.name.clone(), most }),
        }
    }

    /// Waits for the peer of a BIND at the upstream of that name.
    pub(crate) async fn arrival(
        listening: Listening,
        name: &Arc<str>,
    ) -> Result<(Connection, Target), UpstreamError> {
        let arrived = listening.accept().await;
        arrived.map_err(|error| UpstreamError::Failed { name: name.clone(), error })
    }

    async fn attempts(&self, targets: &[Target]) -> Result<(Connection, usize), ConnectError> {
        let mut last = None;
        for (number, target) in targets.iter().take(MOST_ATTEMPTS).enumerate() {
            match self.client.connect(target.clone()).await {
                Ok(connection) => return Ok((connection, number)),
                Err(error) if is_about_target(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let nothing = || ConnectError {
            step: Step::Request,
            fault: Fault::Unavailable("there is no address to ask for".into()),
        };
        Err(last.unwrap_or_else(nothing))
    }
}

/// Tells whether another address of the target may fare better.
fn is_about_target(error: &ConnectError) -> bool {
    matches!(
        error.reply(),
        Some(
            ReplyCode::NETWORK_UNREACHABLE
                | ReplyCode::HOST_UNREACHABLE
                | ReplyCode::CONNECTION_REFUSED
                | ReplyCode::TTL_EXPIRED
        )
    )
}

/// Adds the one method of the entry.
fn login(
    entry: &UpstreamEntry<'_>,
    base: &Path,
    builder: ClientBuilder,
    findings: &mut Findings,
) -> Option<ClientBuilder> {
    let kind = findings.note(entry.kind.text())?;
    let mut fields = match entry.options {
        Some(options) => Some(options.fields(findings)?),
        None => None,
    };
    let built = match (kind, &mut fields) {
        ("none", _) => Some(builder.method(NoAuthentication)),
        ("password", Some(fields)) => {
            password(fields, base, findings).map(|password| builder.method(password))
        }
        ("gssapi", Some(fields)) => {
            gssapi(entry, fields, base, findings).map(|gssapi| builder.method(gssapi))
        }
        ("password" | "gssapi", None) => {
            findings.mistake(&entry.kind.place, format!("kind `{kind}` needs `options`"));
            None
        }
        _ => {
            let message = format!("`{kind}` is no way to log in at an upstream");
            findings.push(Finding::mistake(&entry.kind.place, message).with_nearest(kind, &KINDS));
            return None;
        }
    };
    if let Some(fields) = fields {
        fields.finish(findings);
    }
    built
}

fn password(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<Password> {
    let user = fields.require("user", findings).and_then(|node| findings.note(node.text()));
    let file = fields.require("password-file", findings)?;
    let path = base.join(findings.note(file.text())?);
    let mistake = |why: &dyn std::fmt::Display| {
        Finding::mistake(&file.place, format!("password file `{}`: {why}", path.display()))
    };
    let secret = findings.note(first_line(&path).map_err(|error| mistake(&error)))?;
    findings.note(Password::new(user?.as_bytes(), &secret).map_err(|error| mistake(&error)))
}

/// Reads the first line of a file that nobody but its owner and its group can read.
fn first_line(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o007 != 0 {
        return Err(io::Error::other("everybody can read it: run `chmod o= FILE`"));
    }
    let mut line = Zeroizing::new(Vec::with_capacity(256 + 2));
    BufReader::new(file.take(MAX_LINE)).read_until(b'\n', &mut line)?;
    for end in [b'\n', b'\r'] {
        line.pop_if(|last| *last == end);
    }
    Ok(line)
}

fn gssapi(
    entry: &UpstreamEntry<'_>,
    fields: &mut Fields<'_>,
    base: &Path,
    findings: &mut Findings,
) -> Option<Gssapi> {
    let levels = match fields.take("protection") {
        Some(node) => levels(node, findings),
        None => vec![Level::Confidentiality],
    };
    let (first, others) = levels.split_first()?;
    let mut gssapi = others.iter().fold(Gssapi::new(*first), |gssapi, level| gssapi.or_level(*level));
    if let Some(node) = fields.take("service") {
        let text = findings.note(node.text())?;
        gssapi = match text.parse() {
            Ok(name) => gssapi.service_name(name),
            Err(_) if !text.contains(['@', '/']) => gssapi.service(text),
            Err(error) => {
                findings.mistake(&node.place, error.to_string());
                return None;
            }
        };
    }
    let keytab = fields.take("keytab").and_then(|node| findings.note(node.text()));
    let ccache = fields.take("ccache").and_then(|node| findings.note(node.text()));
    match (keytab, ccache) {
        (None, None) => {
            let message = format!("upstream `{}` needs a `keytab`, or a `ccache` with tickets", entry.name);
            findings.mistake(&fields.map().place, message);
            return None;
        }
        (Some(keytab), ccache) => {
            let cache = ccache.map_or_else(|| format!("MEMORY:upstream-{}", entry.name), str::to_owned);
            gssapi = gssapi.client_keytab(file_name(keytab, base)).ccache(cache);
        }
        (None, Some(ccache)) => gssapi = gssapi.ccache(ccache),
    }
    Some(gssapi)
}

/// A keytab as Kerberos names it: a path alone is that of a file.
fn file_name(name: &str, base: &Path) -> String {
    match name.split_once(':') {
        Some((kind, _)) if kind.bytes().all(|octet| octet.is_ascii_uppercase()) => name.to_owned(),
        _ => format!("FILE:{}", base.join(name).display()),
    }
}

fn levels(node: &Node, findings: &mut Findings) -> Vec<Level> {
    let known: Vec<&str> = LEVELS.iter().map(|level| level.as_str()).collect();
    let level = |item: &Node| {
        let text = item.text()?;
        let found = LEVELS.into_iter().find(|level| level.as_str() == text && *level != Level::None);
        found.ok_or_else(|| {
            Finding::mistake(&item.place, format!("`{text}` is no protection")).with_nearest(text, &known)
        })
    };
    if node.items().is_empty() {
        findings.mistake(&node.place, "an empty list names no protection");
    }
    node.items().iter().filter_map(|item| findings.note(level(item))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use socks_config::Document;

    use super::*;
    use crate::config::Config;

    fn build(auth: &str, address: &str, base: &Path) -> (usize, Findings) {
        let text = format!("upstreams: [{{ name: hq, address: '{address}', auth: {auth} }}]\n");
        let document = Document::parse("socksd.yaml", text).unwrap();
        let config = Config::read(&document, base, &mut Findings::default());
        let mut findings = Findings::default();
        let entries = config.upstreams.iter();
        let built = entries.filter_map(|entry| Upstream::build(entry, base, &mut findings)).count();
        (built, findings)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, mode) in
            [("secret", "pass word\n", 0o640), ("open", "x\n", 0o644), ("empty", "\n", 0o600)]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    #[test]
    fn each_way_to_log_in_is_read() {
        let folder = folder();
        for auth in [
            "{ kind: none }",
            "{ kind: password, options: { user: gw, password-file: secret } }",
            "{ kind: gssapi, options: { keytab: client.keytab } }",
            "{ kind: gssapi, options: { ccache: 'FILE:/run/cc', protection: [integrity, confidentiality] } }",
            "{ kind: gssapi, options: { keytab: 'FILE:/etc/k', ccache: 'MEMORY:x', service: rcmd } }",
            "{ kind: gssapi, options: { keytab: k, service: socks/gw.hq.example@HQ.EXAMPLE } }",
        ] {
            let (built, findings) = build(auth, "gw.hq.example:1080", folder.path());
            assert!(built == 1 && findings.is_empty(), "{auth}: {findings}");
        }
    }

    #[test]
    fn what_cannot_log_in_is_a_mistake_and_shows_no_secret() {
        let folder = folder();
        let table = [
            ("{ kind: kerberos }", "is no way to log in"),
            ("{ kind: password }", "needs `options`"),
            ("{ kind: password, options: { user: gw } }", "`password-file`"),
            ("{ kind: password, options: { user: gw, password-file: missing } }", "missing"),
            ("{ kind: password, options: { user: gw, password-file: open } }", "everybody can read it"),
            ("{ kind: password, options: { user: gw, password-file: empty } }", "empty or longer than 255"),
            ("{ kind: password, options: { user: '', password-file: secret } }", "empty or longer than 255"),
            ("{ kind: none, options: { user: gw } }", "unknown key `user`"),
            ("{ kind: gssapi, options: {} }", "needs a `keytab`, or a `ccache`"),
            ("{ kind: gssapi, options: { keytab: k, protection: [none] } }", "is no protection"),
            ("{ kind: gssapi, options: { keytab: k, protection: [] } }", "names no protection"),
            ("{ kind: gssapi, options: { keytab: k, service: 'a/b/c' } }", "is no service"),
        ];
        for (auth, expected) in table {
            let (built, findings) = build(auth, "gw.hq.example:1080", folder.path());
            let shown = findings.to_string();
            assert!(findings.has_mistakes() && shown.contains(expected), "{auth}: {built}, {shown}");
            assert!(!shown.contains("pass word"));
        }
        let (built, findings) =
            build("{ kind: gssapi, options: { keytab: k } }", "192.0.2.1:1080", folder.path());
        assert!(built == 0 && findings.to_string().contains("is an address"), "{findings}");
    }
}
