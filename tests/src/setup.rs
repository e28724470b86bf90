//! The configuration that a test starts its gateway with.

use std::ffi::{OsStr, OsString};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::lines::Lines;
use crate::rivals::{Rival, free_address};
use crate::{DEADLINE, Folder, Gateway, command, process, program};

/// Permits everything to everybody, loopback too: for tests that are not about the policy.
const PERMIT_ALL: &str = "\
version: 1
rules:
  - name: everything
    action: permit
    special-use: permit
";

/// A configuration to start a gateway with.
#[derive(Debug, Clone)]
pub struct Setup {
    auth: String,
    policy: String,
    limits: Vec<(String, String)>,
    level: &'static str,
    listener: String,
    listener_keys: String,
    users: Vec<(String, String)>,
    user_id: Option<u32>,
    program: Option<PathBuf>,
    before: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    keys: String,
    audit: String,
    socket: Option<Arc<TcpListener>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// One listener on a free port of 127.0.0.1, no authentication, everything permitted.
    pub fn new() -> Self {
        Self {
            auth: "  - kind: none\n".into(),
            policy: PERMIT_ALL.into(),
            limits: vec![("max-sessions-per-source".into(), "100000".into())],
            level: "info",
            listener: "127.0.0.1:0".into(),
            listener_keys: String::new(),
            users: Vec::new(),
            user_id: None,
            program: None,
            before: Vec::new(),
            environment: Vec::new(),
            keys: String::new(),
            audit: "file: audit.jsonl, refusals-every: 100ms".into(),
            socket: None,
        }
    }

    /// Asks for user name and password, and nothing else; the user is added with `socksd user add`.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.auth = "  - kind: password\n    options: { users: users.yaml }\n".into();
        self.users.push((name.into(), password.into()));
        self
    }

    /// Offers no authentication as well, after what is there.
    pub fn or_nobody(mut self) -> Self {
        self.auth.push_str("  - kind: none\n");
        self
    }

    /// The entries of `auth`, each line as it shall stand in the file.
    pub fn auth(mut self, entries: &str) -> Self {
        self.auth = entries.into();
        self
    }

    /// The policy file; without `clients` all methods are open to everybody.
    pub fn policy(mut self, policy: &str) -> Self {
        self.policy = policy.into();
        self
    }

    /// One key of `limits`, such as `idle-timeout` with `1s`.
    pub fn limit(mut self, key: &str, value: &str) -> Self {
        self.limits.retain(|(known, _)| known != key);
        self.limits.push((key.into(), value.into()));
        self
    }

    /// One more key of the configuration, such as `nat64` with `64:ff9b::/96`.
    pub fn key(mut self, key: &str, value: &str) -> Self {
        self.keys.push_str(&format!("{key}: {value}\n"));
        self
    }

    /// More keys of `audit`, such as `start: true`.
    pub fn audit(mut self, keys: &str) -> Self {
        self.audit = format!("{}, {keys}", self.audit);
        self
    }

    /// Writes no records to a file: they stand in the log alone.
    pub fn without_audit(mut self) -> Self {
        self.audit.clear();
        self
    }

    /// How much is logged.
    pub fn level(mut self, level: &'static str) -> Self {
        self.level = level;
        self
    }

    /// The listener's address.
    pub fn listener(mut self, address: &str) -> Self {
        self.listener = address.into();
        self
    }

    /// The address by which peers are told to reach the gateway.
    pub fn advertise(self, address: &'static str) -> Self {
        self.listener_key("advertise", &format!("['{address}']"))
    }

    /// One more key of the listener, such as `proxy-protocol` with `{ from: [127.0.0.9] }`.
    pub fn listener_key(mut self, key: &str, value: &str) -> Self {
        self.listener_keys.push_str(&format!("    {key}: {value}\n"));
        self
    }

    /// One more listener, after those that are there, as it shall stand in the file without its dash.
    pub fn more_listener(mut self, keys: &str) -> Self {
        self.listener_keys.push_str(&format!("  - {keys}\n"));
        self
    }

    /// Runs the gateway without any privilege: root starts it as this user, and everybody else, who has no
    /// privilege to begin with, as himself.
    pub fn unprivileged(mut self, id: u32) -> Self {
        self.user_id = process::is_root().then_some(id);
        self
    }

    /// Runs another program than `socksd`, such as one with a plug-in of its own.
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// A listening socket as standard input, for a shell that stands before the program and gives it on.
    pub fn given(mut self, socket: &TcpListener) -> Self {
        self.socket = Some(Arc::new(socket.try_clone().expect("a descriptor is left")));
        self
    }

    /// Words that stand before the program in the command, such as `ip netns exec NAME`.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.before = words.iter().map(|&word| word.into()).collect();
        self
    }

    /// Variables of the gateway's environment, such as those of a realm.
    pub fn environment<'a>(mut self, variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>) -> Self {
        self.environment.extend(variables.map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Writes the files without starting anything.
    ///
    /// # Panics
    /// When a user cannot be added.
    pub fn write(&self) -> Folder {
        let folder = Folder::new();
        folder.write("socksd.yaml", &(self.config() + &self.keys));
        folder.write("policy.yaml", &self.whole_policy());
        for (name, password) in &self.users {
            add_user(&self.which(), &folder.file("users.yaml"), name, password);
        }
        if let Some(id) = self.user_id {
            folder.set_mode("", 0o777);
            if !self.users.is_empty() {
                std::os::unix::fs::chown(folder.file("users.yaml"), Some(id), Some(id))
                    .expect("only for root");
            }
        }
        folder
    }

    /// Starts the gateway and waits until it listens.
    ///
    /// # Panics
    /// When it does not come up, with all that it said.
    #[track_caller]
    pub fn start(&self) -> Gateway {
        self.start_with(|_| ())
    }

    /// The same, with files of the test's own beside those that are written.
    ///
    /// # Panics
    /// When it does not come up, with all that it said.
    #[track_caller]
    pub fn start_with(&self, prepare: impl FnOnce(&Folder)) -> Gateway {
        let folder = self.write();
        prepare(&folder);
        let mut child = self
            .command(&folder)
            .stdin(self.stdin())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("the gateway cannot be started: {error}"));
        let log = Lines::collect(child.stderr.take().expect("standard error is a pipe"));
        let Some(address) = log.find(DEADLINE, listening) else {
            process::kill(child.id());
            panic!("the gateway does not listen:\n{}", log.text());
        };
        Gateway::new(child, address, folder, log)
    }

    /// Starts it as servers of other people are started: on a free port, with a log of warnings that nobody reads,
    /// so that a measurement has nothing beside the gateway itself.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_quiet(self) -> Rival {
        let address = free_address();
        let setup = self.listener(&address.to_string()).level("warn");
        let folder = setup.write();
        Rival::start(&mut setup.command(&folder), address, folder)
    }

    fn command(&self, folder: &Folder) -> Command {
        let mut words = self.before.clone();
        if let Some(id) = self.user_id {
            words.push(command::tool("setpriv").display().to_string());
            words.extend([format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".into()]);
            words.push("--bounding-set=-all".into());
        }
        words.push(self.which().display().to_string());
        let (first, rest) = words.split_first().expect("the program is there");
        let mut command = Command::new(first);
        command.args(rest).args(["run", "--config"]).arg(folder.file("socksd.yaml"));
        command.env_remove("RUST_LOG").envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn stdin(&self) -> Stdio {
        let copy =
            |socket: &Arc<TcpListener>| OwnedFd::from(socket.try_clone().expect("a descriptor is left"));
        self.socket.as_ref().map_or_else(Stdio::null, |socket| copy(socket).into())
    }

    fn which(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| program::built("socksd"))
    }

    fn whole_policy(&self) -> String {
        if self.policy.contains("clients:") {
            return self.policy.clone();
        }
        let kinds = self.auth.lines().filter_map(|line| line.trim().strip_prefix("- kind: "));
        let methods = kinds.collect::<Vec<_>>().join(", ");
        format!("{}clients:\n  - methods: [{methods}]\n", self.policy)
    }

    fn config(&self) -> String {
        let Self { auth, level, listener, listener_keys, audit, .. } = self;
        let limits: Vec<_> = self.limits.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let limits = limits.join(", ");
        format!(
            "listeners:\n  - address: {listener}\n{listener_keys}auth:\n{auth}policy: policy.yaml\n\
             limits: {{ {limits} }}\naudit: {{ {audit} }}\n\
             log: {{ format: json, level: {level} }}\n"
        )
    }
}

/// The address in the event that says that a listener is open.
fn listening(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| {
        let fields = event.get("fields").unwrap_or(&event);
        fields.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    (field("message")? == "listening").then(|| field("address"))??.parse().ok()
}

/// Adds a user to a users file, as an operator does.
///
/// # Panics
/// When the command fails.
#[track_caller]
pub fn add_user(program: &Path, users: &Path, name: &str, password: &str) {
    let mut add = Command::new(program);
    add.args(["user", "add", "--file"]).arg(users).arg(name);
    command::run_with_input(&mut add, format!("{password}\n").as_bytes(), DEADLINE).succeeded();
}
