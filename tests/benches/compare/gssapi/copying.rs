//! The relay without protection and without splice(2), in this process, through buffers of the protected relay's
//! size.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socks_core::relay::{Relayer, RelayerOptions, Terms};
use socks_core::{ClientIo, ClientStream};
use tests::targets;
use tokio::runtime::{Builder, Runtime};

use super::tunnel::{LANES, MESSAGE, Tunnel};

/// Its name beside the servers, by which also the thread is found whose time counts.
pub(super) const NAME: &str = "copying";

/// A relay on a thread of its own, as one session in a gateway is.
pub(super) struct Copying {
    relayer: Arc<Relayer>,
    runtime: Runtime,
}

impl Copying {
    pub(super) fn start() -> Self {
        let options = RelayerOptions { pipes: 0, buffer_size: LANES * MESSAGE, ..RelayerOptions::default() };
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(NAME).enable_all().build();
        Self { relayer: Arc::new(Relayer::new(&options)), runtime: runtime.expect("a runtime can be made") }
    }

    /// A tunnel to a target.
    pub(super) fn tunnel(&self, target: SocketAddr) -> Tunnel {
        let listener = targets::listen();
        let far = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (client, _) = listener.accept().expect("it was connected to");
        let target = TcpStream::connect(target).expect("it listens");
        for near in [&client, &target] {
            near.set_nonblocking(true).expect("sockets can do that");
        }
        let relayer = Arc::clone(&self.relayer);
        self.runtime.spawn(async move {
            let near = |socket| tokio::net::TcpStream::from_std(socket).expect("the socket is a stream");
            let client = ClientStream::Plain(ClientIo::new(near(client)));
            relayer.run(client, near(target), Terms::new(Duration::from_secs(60))).await
        });
        Tunnel::plain(far)
    }

    /// The processor time that its thread has used.
    pub(super) fn cpu_time(&self) -> Duration {
        let tasks = fs::read_dir("/proc/self/task").expect("/proc is there");
        let nanoseconds = tasks.flatten().map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let running = times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
            if name.trim() == NAME { running } else { 0 }
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}
