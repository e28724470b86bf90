//! Who asks, and what he may do.

use std::ffi::CString;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};
use tokio::task::spawn_blocking;

use crate::ask;
use crate::config::{AdminConfig, Member, Token};

use super::Desk;
use super::api::Refused;

/// By which socket somebody came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// The Unix socket, with user and group as the kernel tells them; `None`: it did not.
    Unix(Option<(u32, u32)>),
    /// The loopback address.
    Http(SocketAddr),
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Nothing.
    Stranger,
    /// Look.
    Viewer,
    /// Look and act.
    Operator,
}

/// Who is let in.
#[derive(Debug)]
pub(super) struct Guests {
    operators: Vec<Member>,
    viewers: Option<Vec<Member>>,
    token: Option<Token>,
}

/// Somebody at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// For the record: `alice (uid 1000)`, or the address.
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    /// What makes an operator of one who came by HTTP.
    token: Option<Token>,
    /// A process of the gateway's own user.
    is_own: bool,
    /// Such a one passes on what somebody has asked of it, and has done its own part.
    pub(super) is_passed_on: bool,
}

/// Characters of somebody's name that another process tells.
const MOST_NAME: usize = 256;

impl Guests {
    /// Where the section is gone, those whom nobody can keep out.
    pub(super) fn of(config: Option<&AdminConfig>) -> Self {
        match config.cloned() {
            Some(AdminConfig { operators, viewers, token, .. }) => Self { operators, viewers, token },
            None => Self { operators: Vec::new(), viewers: Some(Vec::new()), token: None },
        }
    }

    /// What the kernel's word about a user and his groups is worth.
    fn role(&self, uid: Uid, groups: &[Gid]) -> Role {
        let is_in = |members: &[Member]| {
            members.iter().any(|member| match member {
                Member::User(user) => *user == uid,
                Member::Group(group) => groups.contains(group),
            })
        };
        if uid.is_root() || uid == geteuid() || is_in(&self.operators) {
            Role::Operator
        } else if self.viewers.as_deref().is_none_or(is_in) {
            Role::Viewer
        } else {
            Role::Stranger
        }
    }
}

impl Caller {
    pub(super) async fn of(way: Way, guests: &Arc<Guests>) -> Self {
        match way {
            Way::Unix(Some((uid, gid))) => {
                let guests = guests.clone();
                // The groups may come over the network.
                let known =
                    spawn_blocking(move || Self::user(Uid::from_raw(uid), Gid::from_raw(gid), &guests));
                known.await.unwrap_or_else(|_| Self::stranger())
            }
            Way::Unix(None) => Self::stranger(),
            Way::Http(peer) => Self {
                name: peer.to_string().into(),
                role: Role::Viewer,
                token: guests.token.clone(),
                is_own: false,
                is_passed_on: false,
            },
        }
    }

    /// Tells whether he may act.
    pub(super) fn is_operator(&self) -> bool {
        self.role == Role::Operator
    }

    /// Tells whether a token would let him act, who may not yet.
    pub(super) fn may_sign_in(&self) -> bool {
        self.token.is_some() && !self.is_operator()
    }

    fn stranger() -> Self {
        Self { name: "unknown".into(), role: Role::Stranger, token: None, is_own: false, is_passed_on: false }
    }

    fn user(uid: Uid, gid: Gid, guests: &Guests) -> Self {
        if uid.is_root() {
            // He is let in also where nobody answers for names.
            return Self {
                name: "root (uid 0)".into(),
                role: Role::Operator,
                token: None,
                is_own: geteuid().is_root(),
                is_passed_on: false,
            };
        }
        let user = User::from_uid(uid).ok().flatten();
        let mut groups = vec![gid];
        if let Some(user) = &user
            && let Ok(name) = CString::new(user.name.as_str())
        {
            groups.extend(getgrouplist(&name, user.gid).unwrap_or_default());
        }
        let name = match user {
            Some(user) => format!("{} (uid {uid})", user.name),
            None => format!("uid {uid}"),
        };
        Self {
            name: name.into(),
            role: guests.role(uid, &groups),
            token: None,
            is_own: uid == geteuid(),
            is_passed_on: false,
        }
    }

    /// The same in the name of somebody else, as the next process of this gateway asks; it has checked who that is.
    fn speaking_for(mut self, headers: &HeaderMap) -> Self {
        let other = headers.get(ask::ON_BEHALF).and_then(|name| name.to_str().ok());
        if self.is_own
            && let Some(other) = other
        {
            self.name = other.chars().take(MOST_NAME).collect::<String>().into();
            self.is_passed_on = true;
        }
        self
    }

    /// The same, with what the request shows.
    fn with_token(mut self, headers: &HeaderMap) -> Result<Self, Refused> {
        let Some(shown) = headers.get(header::AUTHORIZATION) else { return Ok(self) };
        let shown = shown.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        match (&self.token, shown) {
            (Some(token), Some(shown)) if token.is(shown) => {
                self.role = Role::Operator;
                self.name = format!("token from {}", self.name).into();
                Ok(self)
            }
            // A socket's client has its role already.
            (None, _) if self.role != Role::Viewer => Ok(self),
            _ => Err(Refused(StatusCode::UNAUTHORIZED, "that is not the token".into())),
        }
    }
}

/// Lets only those through who may do what they ask, and no page of another site in their name.
pub(super) async fn guard(
    State(desk): State<Arc<Desk>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let path = request.uri().path();
    let is_act = !matches!(*request.method(), Method::GET | Method::HEAD) && !is_question(path);
    match admit(&request, if is_act { Role::Operator } else { Role::Viewer }) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(next.run(request).await)
        }
        Err(refused) => {
            let who = request.extensions().get::<Caller>().map_or("unknown", |caller| &*caller.name);
            // Who shows a wrong token wants to become somebody who acts.
            if is_act || refused.0 == StatusCode::UNAUTHORIZED {
                desk.refuse(who, path, &refused.1);
            }
            Err(refused)
        }
    }
}

/// Who asks, if he may.
fn admit(request: &Request, needed: Role) -> Result<Caller, Refused> {
    let headers = request.headers();
    check_host(headers)?;
    check_origin(headers)?;
    check_site(request)?;
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Err(Refused(StatusCode::FORBIDDEN, "nobody asks".into()));
    };
    let caller = caller.clone().with_token(headers)?.speaking_for(headers);
    if caller.role < needed {
        let text = match needed {
            Role::Operator => "only an operator may do that: see `admin` in docs/configuration.md",
            _ => "you are neither viewer nor operator: see `admin` in docs/configuration.md",
        };
        return Err(Refused(StatusCode::FORBIDDEN, text.into()));
    }
    Ok(caller)
}

/// What is sent as a POST and changes nothing.
fn is_question(path: &str) -> bool {
    path == "/api/explain"
}

/// A name of another host would be one that a stranger's page has made to point here.
fn check_host(headers: &HeaderMap) -> Result<(), Refused> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    if is_local(host) {
        return Ok(());
    }
    Err(Refused(StatusCode::MISDIRECTED_REQUEST, format!("`{}` is not this machine", host.escape_debug())))
}

fn check_origin(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    if origin.as_bytes().strip_prefix(b"http://") == host && host.is_some() {
        return Ok(());
    }
    Err(Refused(StatusCode::FORBIDDEN, ANOTHER_SITE.into()))
}

/// What browsers say of a request that bears no origin. From elsewhere one may come to the page by a link, and do
/// nothing else.
fn check_site(request: &Request) -> Result<(), Refused> {
    let headers = request.headers();
    let says = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let is_own = matches!(says("sec-fetch-site"), None | Some(b"same-origin" | b"none"));
    let is_link = *request.method() == Method::GET
        && request.uri().path() == "/"
        && says("sec-fetch-mode") == Some(b"navigate")
        && says("sec-fetch-dest") == Some(b"document");
    if is_own || is_link { Ok(()) } else { Err(Refused(StatusCode::FORBIDDEN, ANOTHER_SITE.into())) }
}

const ANOTHER_SITE: &str = "the page that asks is another site's";

/// Tells whether a Host header names this machine by a name that cannot be pointed elsewhere.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(operators: &[Member], viewers: Option<&[Member]>) -> Guests {
        Guests { operators: operators.to_vec(), viewers: viewers.map(<[_]>::to_vec), token: None }
    }

    #[test]
    fn the_kernels_word_decides_between_viewer_and_operator() {
        let (alice, staff) = (Uid::from_raw(4001), Gid::from_raw(5001));
        let table = [
            (guests(&[], None), Role::Viewer),
            (guests(&[Member::User(alice)], None), Role::Operator),
            (guests(&[Member::Group(staff)], None), Role::Operator),
            (guests(&[], Some(&[])), Role::Stranger),
            (guests(&[], Some(&[Member::Group(staff)])), Role::Viewer),
            (guests(&[Member::User(Uid::from_raw(4002))], Some(&[])), Role::Stranger),
        ];
        for (guests, role) in table {
            assert_eq!(guests.role(alice, &[staff]), role, "{guests:?}");
            assert_eq!(guests.role(Uid::from_raw(0), &[]), Role::Operator);
        }
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["localhost", "localhost:80", "127.0.0.1:9180", "[::1]:9180", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "127.0.0.2", "::1"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let headers = |host: &str, origin: &str| {
            let pairs = [(header::HOST, host), (header::ORIGIN, origin)];
            pairs.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect::<HeaderMap>()
        };
        assert!(check_origin(&headers("localhost:1", "http://localhost:1")).is_ok());
        for origin in ["http://localhost:2", "https://localhost:1", "http://evil.example", "null"] {
            assert!(check_origin(&headers("localhost:1", origin)).is_err(), "{origin}");
        }
    }

    #[test]
    fn from_another_site_one_may_come_by_a_link_and_do_nothing_else() {
        let request = |method: &str, path: &str, fetch: [&str; 3]| {
            let names = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];
            let builder = Request::builder().method(method).uri(path);
            let with = |builder: axum::http::request::Builder, (name, value)| builder.header(name, value);
            let builder = names.into_iter().zip(fetch).fold(builder, with);
            builder.body(axum::body::Body::empty()).unwrap()
        };
        let table = [
            ("GET", "/", ["cross-site", "navigate", "document"], true),
            ("GET", "/", ["cross-site", "navigate", "iframe"], false),
            ("GET", "/", ["cross-site", "no-cors", "image"], false),
            ("GET", "/explain?to=a:1", ["cross-site", "navigate", "document"], false),
            ("GET", "/explain?to=a:1", ["none", "navigate", "document"], true),
            ("POST", "/", ["cross-site", "navigate", "document"], false),
            ("POST", "/api/reload", ["same-site", "cors", "empty"], false),
            ("POST", "/api/reload", ["same-origin", "cors", "empty"], true),
        ];
        for (method, path, fetch, may) in table {
            assert_eq!(check_site(&request(method, path, fetch)).is_ok(), may, "{method} {path} {fetch:?}");
        }
        let plain = Request::builder().method("POST").uri("/api/reload");
        assert!(check_site(&plain.body(axum::body::Body::empty()).unwrap()).is_ok(), "no browser");
    }
}
