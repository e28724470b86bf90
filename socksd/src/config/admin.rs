//! The `admin` section: where operators ask the running gateway, and who they are.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use socks_config::{Finding, Findings, Node};

use super::list;

/// Whom the socket's mode lets in, unless the configuration says otherwise: its owner and its group.
const MODE: u32 = 0o660;
/// The fewest octets of a token.
const LEAST_TOKEN: usize = 16;

/// Where operators ask the running gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminConfig {
    /// The path of the Unix socket.
    pub(crate) socket: Option<PathBuf>,
    /// The mode of its file.
    pub(crate) mode: u32,
    /// Who may act, beside root and the gateway's own user.
    pub(crate) operators: Vec<Member>,
    /// Who else may look; `None`: everybody whom the socket's mode lets in.
    pub(crate) viewers: Option<Vec<Member>>,
    /// The loopback address for browsers.
    pub(crate) http: Option<SocketAddr>,
    /// What a client of that address has to show to act; `None`: nobody can act there.
    pub(crate) token: Option<Token>,
}

/// A user of this machine, or all of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    User(Uid),
    Group(Gid),
}

/// A secret; it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Box<str>);

impl Token {
    /// Compares in a time that tells nothing but the length.
    pub(crate) fn is(&self, shown: &str) -> bool {
        let pairs = self.0.bytes().zip(shown.bytes());
        self.0.len() == shown.len() && pairs.fold(0, |differing, (own, other)| differing | (own ^ other)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Reads the section.
pub(super) fn admin(node: &Node, base: &Path, findings: &mut Findings) -> Option<AdminConfig> {
    let mut fields = node.fields(findings)?;
    let socket = fields.take("socket").and_then(|node| findings.note(node.text()));
    let mode = fields.take("mode").and_then(|node| findings.note(mode(node)));
    let operators = fields.take("operators").map(|node| members(node, findings));
    let viewers = fields.take("viewers").map(|node| members(node, findings));
    let http = fields.take("http").and_then(|node| findings.note(loopback(node)));
    let token = fields.take("token-file").map(|node| {
        warn_of_access(node, base, findings);
        (node, findings.note(token(node, base)))
    });
    fields.finish(findings);
    if socket.is_none() && http.is_none() {
        findings.mistake(&node.place, "neither `socket` nor `http` says where to listen");
    }
    if let (Some((node, _)), None) = (&token, http) {
        findings.mistake(&node.place, "`token-file` is for `http`; a socket knows who its clients are");
    }
    Some(AdminConfig {
        socket: socket.map(|text| base.join(text)),
        mode: mode.unwrap_or(MODE),
        operators: operators.unwrap_or_default(),
        viewers,
        http,
        token: token.and_then(|(_, token)| token),
    })
}

fn mode(node: &Node) -> Result<u32, Finding> {
    let mode = u32::from_str_radix(node.text()?, 8).ok().filter(|mode| mode & !0o777 == 0);
    mode.ok_or_else(|| node.expected("a file mode in octal, such as `\"0660\"`"))
}

fn loopback(node: &Node) -> Result<SocketAddr, Finding> {
    let address = node.parse::<SocketAddr>()?;
    if !address.ip().is_loopback() {
        let why = "an address of this machine alone, such as `127.0.0.1:9180`";
        return Err(node
            .expected(why)
            .with_help("from elsewhere, go through ssh or a proxy that asks who it is"));
    }
    Ok(address)
}

fn members(node: &Node, findings: &mut Findings) -> Vec<Member> {
    let items = match node.list() {
        Ok([]) => return Vec::new(),
        _ => list(node, findings),
    };
    items.iter().filter_map(|item| findings.note(member(item))).collect()
}

/// A user's name, or a group's after a `%`.
fn member(node: &Node) -> Result<Member, Finding> {
    let text = node.text()?;
    let found = match text.strip_prefix('%') {
        Some(group) => Group::from_name(group).map(|group| group.map(|group| Member::Group(group.gid))),
        None => User::from_name(text).map(|user| user.map(|user| Member::User(user.uid))),
    };
    match found {
        Ok(Some(member)) => Ok(member),
        Ok(None) => Err(node.expected("a user of this machine, or a group of it as `%GROUP`")),
        Err(error) => Err(Finding::mistake(&node.place, format!("`{text}` cannot be looked up: {error}"))),
    }
}

/// Whoever reads the token may act.
fn warn_of_access(node: &Node, base: &Path, findings: &mut Findings) {
    let file = node.text().ok().and_then(|text| base.join(text).metadata().ok());
    if file.is_some_and(|file| file.mode() & 0o007 != 0) {
        findings.warning(
            &node.place,
            "everybody on this machine may read the token: run `chmod 640` on the file",
        );
    }
}

fn token(node: &Node, base: &Path) -> Result<Token, Finding> {
    let path = base.join(node.text()?);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Finding::mistake(&node.place, format!("`{}`: {error}", path.display())))?;
    let token = text.trim();
    if token.len() < LEAST_TOKEN || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        let message = format!("the token is not one word of at least {LEAST_TOKEN} characters");
        return Err(
            Finding::mistake(&node.place, message).with_help("`openssl rand -hex 32` makes a good one")
        );
    }
    Ok(Token(token.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = Token("0123456789abcdef".into());
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcdeg", "0123456789abcde", "0123456789abcdef0"] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}
