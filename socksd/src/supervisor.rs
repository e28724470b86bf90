//! What the service manager hears of the gateway: the notify protocol of systemd (sd_notify(3)).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{interval, timeout};
use tracing::{error, warn};

use crate::workers::Seats;

/// A manager that takes nothing for so long is left without the message.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);
/// Within this time the manager hears from a gateway that is on its way down, or ends it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How long it may go without a sign of life.
    watchdog: Option<Duration>,
    /// Another process is the service's, and this one has nothing more to say.
    silent: AtomicBool,
    /// Why the last reload was refused.
    refused: Mutex<Option<String>>,
}

/// Why the manager cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoticeError {
    #[error("NOTIFY_SOCKET is neither a path nor the name of an abstract socket")]
    Address,
    #[error("NOTIFY_SOCKET: {0}")]
    Socket(io::Error),
}

impl Supervisor {
    /// The manager that the environment names.
    ///
    /// # Errors
    /// When it names one that cannot be reached.
    pub(crate) fn from_environment() -> Result<Self, NoticeError> {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, NoticeError> {
        let Some(name) = variable("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(&name),
            _ => return Err(NoticeError::Address),
        };
        let connect = |address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            socket.set_write_timeout(Some(SEND_TIMEOUT))?;
            Ok(socket)
        };
        let socket = address.and_then(connect).map_err(NoticeError::Socket)?;
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // sd_watchdog_enabled(3): a number of another process means that the watchdog is not for this one.
        let is_own = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|time| *time > 0 && is_own);
        Ok(Self { socket: Some(socket), watchdog: watchdog.map(Duration::from_micros), ..Self::default() })
    }

    /// Says that clients are served.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", self.line(status)));
    }

    /// Says how the gateway does.
    pub(crate) fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", self.line(status)));
    }

    /// Says that files are read anew; [`Supervisor::reloaded`] ends that.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Says that clients are served by what was read, or by what was there if there was a mistake.
    pub(crate) fn reloaded(&self, refused: Option<&str>, status: &str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused.map(str::to_owned);
        self.ready(status);
    }

    /// Says that another process is the service from now on, and falls silent.
    pub(crate) fn hand_over(&self, process: u32) {
        self.tell(&format!("MAINPID={process}"));
        self.fall_silent();
    }

    /// Says nothing more: another process is the service.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Says that the gateway is on its way down.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says that it still is, and how far it has come.
    pub(crate) fn still_stopping(&self, status: &str) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={status}", SIGN_OF_LIFE.as_micros()));
    }

    /// Gives signs of life for ever, each after all threads that serve sessions have shown theirs.
    pub(crate) async fn watch(self: Arc<Self>, seats: Seats) {
        let Some(within) = self.watchdog else { return };
        let half = within / 2;
        let mut beat = interval(half);
        loop {
            beat.tick().await;
            let mut answers = std::pin::pin!(seats.answer());
            if timeout(half / 2, &mut answers).await.is_err() {
                error!(seconds = (half / 2).as_secs_f32(), "a thread that serves sessions does not answer");
                answers.await;
                warn!("the thread answers again");
            }
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, message: &str) {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.silent.load(Ordering::Relaxed)) else {
            return;
        };
        if let Err(error) = socket.send(message.as_bytes()) {
            warn!(%error, "the service manager cannot be told how the gateway does");
        }
    }

    /// One line, with what the operator should know first.
    fn line(&self, status: &str) -> String {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match &*refused {
            Some(why) => format!("last reload refused: {why}; {status}"),
            None => status.to_owned(),
        };
        text.replace(char::is_control, " ")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::workers::{self, Workers};

    fn environment<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut text = [0; 512];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("socksd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let table = [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{abstract_name}")),
        ];
        for (manager, name) in table {
            let supervisor = Supervisor::of(environment(&[("NOTIFY_SOCKET", &name)])).unwrap();
            supervisor.reloaded(Some("a mistake\nin line 3"), "3 sessions");
            assert_eq!(
                heard(&manager),
                "READY=1\nSTATUS=last reload refused: a mistake in line 3; 3 sessions",
                "one line each"
            );
            supervisor.reloaded(None, "3 sessions");
            assert_eq!(heard(&manager), "READY=1\nSTATUS=3 sessions");
        }
    }

    #[test]
    fn nobody_is_told_where_there_is_no_manager_and_odd_names_are_mistakes() {
        let supervisor = Supervisor::of(environment(&[("WATCHDOG_USEC", "1000000")])).unwrap();
        assert!(supervisor.socket.is_none() && supervisor.watchdog.is_none());
        for name in ["", "notify", "/nowhere/notify"] {
            assert!(Supervisor::of(environment(&[("NOTIFY_SOCKET", name)])).is_err(), "{name:?}");
        }
    }

    #[test]
    fn there_is_no_sign_of_life_while_a_thread_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let path = path.display().to_string();
        let pairs = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "40000")];
        let supervisor = Arc::new(Supervisor::of(environment(&pairs)).unwrap());
        let own = workers::runtime().unwrap();
        let workers = Workers::start(&own, 2, Duration::from_secs(1)).unwrap();
        let seats = workers.seats();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let watched = seats.clone();
        let accepting = std::thread::spawn(move || {
            own.block_on(async {
                tokio::select! {
                    () = supervisor.watch(watched) => {}
                    _ = ended => {}
                }
            });
        });
        assert_eq!([heard(&manager), heard(&manager)], ["WATCHDOG=1", "WATCHDOG=1"]);

        let _first = seats.idlest().place();
        let (go_on, told) = channel::<()>();
        let (hangs, is_hanging) = channel();
        seats.idlest().spawn(async move {
            hangs.send(()).unwrap();
            let _ = told.recv();
        });
        is_hanging.recv().unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let late = std::iter::from_fn(|| manager.recv(&mut [0; 64]).ok()).count();
        assert!(late <= 1, "{late} signs of life with a thread that hangs");

        manager.set_read_timeout(None).unwrap();
        drop(go_on);
        assert_eq!(heard(&manager), "WATCHDOG=1", "the thread answers again");
        drop(end);
        accepting.join().unwrap();
        workers.stop();
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let (path, own) = (path.display().to_string(), std::process::id().to_string());
        let second = Some(Duration::from_secs(1));
        for (pid, watchdog) in [(None, second), (Some(&*own), second), (Some("1"), None), (Some("x"), None)] {
            let mut pairs = vec![("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "1000000")];
            pairs.extend(pid.map(|pid| ("WATCHDOG_PID", pid)));
            assert_eq!(Supervisor::of(environment(&pairs)).unwrap().watchdog, watchdog, "{pid:?}");
        }
    }
}
