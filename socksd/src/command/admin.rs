//! `socksd sessions`, `kill`, `locks`, `unlock`, `reload` and `status`: the running gateway's admin socket, asked from the command line.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use socks_config::{Document, Findings};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::admin::{Earlier, Filter, Listing, LockFilter, MOST_ROWS, Order, Row, Status};
use crate::ask;
use crate::config::Config;
use crate::logins::LockRow;
use crate::rejudge::Swept;

use super::table::Table;
use super::{ConfigArgument, Exit, fail, preview, say};

/// For an answer; a reload of a large policy takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the gateway is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The gateway's admin socket; by default the one that the configuration names
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, clap::Args)]
pub(super) struct Sessions {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    filter: Filter,
    /// Which come first; `rate` and `octets` list at most 1000
    #[arg(long, value_name = "ORDER", default_value = "oldest")]
    sort: Order,
    /// List only so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Kill {
    #[command(flatten)]
    place: Where,
    /// The session's number, as `socksd sessions` shows it
    #[arg(value_name = "SESSION", conflicts_with_all = ["identity", "rule", "source"])]
    session: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Unlock {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    filter: LockFilter,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    #[command(flatten)]
    place: Where,
    /// Change nothing, and show what would: rules, sets and settings, and which open sessions would lose their permit
    #[arg(long)]
    preview: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ask {
    #[command(flatten)]
    place: Where,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Sessions {
    pub(super) fn run(self) -> Result<Exit, Exit> {
        let rows = self.all_rows()?;
        if self.json {
            say(serde_json::to_string_pretty(&rows).unwrap_or_default());
            return Ok(Exit::Done);
        }
        let mut table = Table::new([
            "SESSION", "PROCESS", "STAGE", "CLIENT", "IDENTITY", "COMMAND", "TARGET", "RULE", "UP", "DOWN",
            "SECONDS",
        ]);
        for row in &rows {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            table.add([
                row.session.clone(),
                row.process.to_string(),
                row.stage.as_str().to_owned(),
                row.client.to_string(),
                or_none(&row.identity),
                or_none(&row.command),
                or_none(&row.target),
                or_none(&row.rule),
                row.up.to_string(),
                row.down.to_string(),
                format!("{:.0}", row.seconds),
            ]);
        }
        say(table);
        Ok(Exit::Done)
    }

    /// Those of the gateway, and of processes that have handed over to it.
    fn all_rows(&self) -> Result<Vec<Row>, Exit> {
        let most = self.limit.unwrap_or(usize::MAX);
        let mut rows = self.rows(None, most)?;
        let status: Status = read(self.place.ask(Method::GET, "/api/status")?)?;
        for earlier in status.predecessors {
            let left = most - rows.len();
            if left > 0 {
                // It may have ended by now.
                rows.extend(self.rows(Some(earlier.pid), left).unwrap_or_default());
            }
        }
        Ok(rows)
    }

    /// The whole list of one process, which gives it in parts.
    fn rows(&self, process: Option<u32>, most: usize) -> Result<Vec<Row>, Exit> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let limit = MOST_ROWS.min(most - rows.len());
            let after = rows.last().map(|row| row.session.clone());
            let answer = self.place.ask(Method::GET, &self.path(limit, after, process))?;
            let Listing { mut sessions, .. } = read(answer)?;
            let is_last = sessions.len() < limit || !self.sort.is_by_age();
            rows.append(&mut sessions);
            if is_last || rows.len() >= most {
                return Ok(rows);
            }
        }
    }

    fn path(&self, limit: usize, after: Option<String>, process: Option<u32>) -> String {
        let sort = self.sort.to_possible_value();
        let sort = sort.as_ref().map(|sort| sort.get_name()).unwrap_or_default();
        let mut path = with_query("/api/sessions", pairs(&self.filter));
        path.push_str(&format!("&sort={sort}&limit={limit}"));
        if let Some(process) = process {
            path.push_str(&format!("&process={process}"));
        }
        path.extend(after.map(|session| format!("&after={session}")));
        path
    }
}

impl Kill {
    pub(super) fn run(self) -> Result<Exit, Exit> {
        let path = match &self.session {
            Some(session) if session.bytes().all(|octet| octet.is_ascii_hexdigit() || octet == b'-') => {
                format!("/api/sessions/{session}/end")
            }
            Some(session) => {
                return Err(fail(Exit::Usage, format_args!("`{session}` is not the number of a session")));
            }
            None if self.filter.is_empty() => {
                let text = "say which: the number of a session, or `--identity`, `--rule` or `--source`";
                return Err(fail(Exit::Usage, text));
            }
            None => with_query("/api/sessions/end", pairs(&self.filter)),
        };
        let answer = self.place.ask(Method::POST, &path)?;
        let ended = answer.get("ended").and_then(Value::as_u64).unwrap_or_default();
        if self.json {
            say(pretty(&answer));
        } else {
            say(format_args!("{ended} ended"));
        }
        Ok(if ended > 0 { Exit::Done } else { Exit::No })
    }
}

impl Unlock {
    pub(super) fn run(self) -> Result<Exit, Exit> {
        let Self { place, filter, json } = self;
        if filter.is_empty() {
            return Err(fail(Exit::Usage, "say which: a name, `--source`, or both"));
        }
        let pairs = [("name", &filter.name), ("source", &filter.source)];
        let answer = place.ask(Method::POST, &with_query("/api/logins/unlock", pairs))?;
        let lifted = answer.get("lifted").and_then(Value::as_u64).unwrap_or_default();
        if json {
            say(pretty(&answer));
        } else {
            say(format_args!("{lifted} lifted"));
        }
        Ok(if lifted > 0 { Exit::Done } else { Exit::No })
    }
}

impl Reload {
    pub(super) fn run(self) -> Result<Exit, Exit> {
        if self.preview {
            let answer = self.place.ask(Method::POST, "/api/reload/preview")?;
            return preview::show(answer, self.json);
        }
        let answer = self.place.ask(Method::POST, "/api/reload")?;
        if self.json {
            say(pretty(&answer));
            return Ok(Exit::Done);
        }
        for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            eprintln!("{}", warning.as_str().unwrap_or_default());
        }
        let policy = answer.get("policy").and_then(Value::as_u64).unwrap_or_default();
        say(format_args!("reloaded: policy {policy} is in force"));
        let sessions = answer.get("sessions").cloned().unwrap_or_default();
        if let Ok(swept) = serde_json::from_value::<Swept>(sessions)
            && swept != Swept::default()
        {
            let Swept { moved, kept, draining, ended } = swept;
            say(format_args!(
                "open sessions: {moved} under another rule; permit lost: {ended} ended, {draining} draining, {kept} kept"
            ));
        }
        Ok(Exit::Done)
    }
}

impl Ask {
    pub(super) fn locks(self) -> Result<Exit, Exit> {
        let answer = self.place.ask(Method::GET, "/api/logins/locks")?;
        if self.json {
            say(pretty(&answer));
            return Ok(Exit::Done);
        }
        let rows: Vec<LockRow> = read(answer)?;
        let mut table = Table::new(["NAME", "METHOD", "SOURCE", "FAILURES", "SINCE", "SECONDS LEFT"]);
        for row in rows {
            let LockRow { name, method, source, failures, since, seconds_left } = row;
            table.add([
                name,
                method,
                source,
                failures.to_string(),
                since.to_string(),
                seconds_left.to_string(),
            ]);
        }
        say(table);
        Ok(Exit::Done)
    }

    pub(super) fn status(self) -> Result<Exit, Exit> {
        let answer = self.place.ask(Method::GET, "/api/status")?;
        if self.json {
            say(pretty(&answer));
            return Ok(Exit::Done);
        }
        let status: Status = read(answer)?;
        let ready = status.unready.unwrap_or_else(|| "yes".into());
        say(format_args!("version   {}, process {}, since {}", status.version, status.pid, status.started));
        say(format_args!("ready     {ready}"));
        say(format_args!(
            "sessions  {}; since the start {}, of which {} were denied",
            status.sessions, status.begun, status.denied
        ));
        if status.locked_logins > 0 {
            say(format_args!(
                "locked    {} after failed logins; `socksd locks` lists them",
                status.locked_logins
            ));
        }
        say(format_args!("policy    {} with {} rules, read {}", status.policy, status.rules, status.loaded));
        if let Some(reload) = &status.last_reload {
            let who = reload.who.as_deref().unwrap_or("a signal");
            let detail = reload.detail.as_deref().and_then(|text| text.lines().next());
            let detail = detail.map(|text| format!(": {text}")).unwrap_or_default();
            say(format_args!("reload    {} at {} by {who}{detail}", reload.result.as_str(), reload.time));
        }
        for Earlier { pid, version, sessions } in &status.predecessors {
            say(format_args!("before    process {pid}, version {version}, still with {sessions} sessions"));
        }
        for listener in &status.listeners {
            say(format_args!("listener  {} at {}", listener.name, listener.address));
        }
        for warning in &status.warnings {
            say(format_args!("{warning}"));
        }
        Ok(Exit::Done)
    }
}

impl Where {
    /// Sends one request and gives the answer's JSON.
    pub(super) fn ask(&self, method: Method, path: &str) -> Result<Value, Exit> {
        let socket = self.socket()?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| fail(Exit::System, format_args!("no runtime: {error}")))?;
        let unreachable = |why: &dyn Display| {
            let text =
                format_args!("`{}`: {why}; does the gateway run, and may you ask it?", socket.display());
            fail(Exit::Unavailable, text)
        };
        let answered =
            runtime.block_on(async { timeout(PATIENCE, ask::exchange(&socket, method, path, None)).await });
        let (status, body) = match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(_) => return Err(unreachable(&format_args!("no answer within {} s", PATIENCE.as_secs()))),
        };
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let why = answer.get("error").and_then(Value::as_str).unwrap_or("the gateway gave no reason");
        Err(fail(
            match status {
                StatusCode::UNPROCESSABLE_ENTITY => Exit::Config,
                StatusCode::NOT_FOUND => Exit::No,
                StatusCode::BAD_REQUEST => Exit::Usage,
                StatusCode::FORBIDDEN => Exit::Denied,
                _ => Exit::Unavailable,
            },
            why,
        ))
    }

    fn socket(&self) -> Result<PathBuf, Exit> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let path = &self.config.config;
        let document = Document::read(path).map_err(|findings| {
            fail(Exit::Config, format_args!("{findings}\n`--socket PATH` asks without the configuration"))
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let config = Config::read(&document, base, &mut Findings::default());
        let socket = config.settings.admin.and_then(|admin| admin.socket);
        socket.ok_or_else(|| {
            fail(Exit::Config, format_args!("{}: no `admin.socket` says where to ask", path.display()))
        })
    }
}

/// The query of a filter of sessions.
fn pairs(filter: &Filter) -> [(&str, &Option<String>); 3] {
    [("identity", &filter.identity), ("rule", &filter.rule), ("source", &filter.source)]
}

fn with_query<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a Option<String>)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs {
        query.extend_pairs(value.as_deref().map(|value| (key, value)));
    }
    format!("{path}?{}", query.finish())
}

pub(super) fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Exit> {
    serde_json::from_value(answer)
        .map_err(|error| fail(Exit::Software, format_args!("the gateway is another version's: {error}")))
}

pub(super) fn pretty(answer: &Value) -> String {
    serde_json::to_string_pretty(answer).unwrap_or_default()
}
