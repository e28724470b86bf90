//! Whole sessions with their Kerberos logins: how many a second, and what each costs the server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socks_client::{Client, Level};
use tests::measure::{self, Bounds, Contender, Options, Series, median_of, print};
use tests::{process, targets};
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::site::{Site, alice};

const IN_FLIGHT: usize = 8;
/// How long one measurement goes on.
const TIME: Duration = Duration::from_secs(2);

/// What one measurement gave.
struct Figures {
    per_second: f64,
    /// Microseconds of the server's processor time for each session.
    cost: f64,
}

/// Measures our server and Dante's. The clients' part of the logins is done in this process, on the same
/// processors: it limits the sessions per second, but is not in the cost.
pub(crate) fn measure(site: &Site, options: Options, bounds: &mut Bounds) {
    let servers = [site.gateway("socksd", "own"), site.dante()];
    let target = targets::one_octet();
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    let all = measure::turns(&servers, options.rounds, |server| sessions(&runtime, server, target));
    let series = |figure: fn(&Figures) -> f64| -> Vec<Series> {
        let named = servers.iter().zip(&all);
        named.map(|(it, all)| Series { name: it.name, figures: all.iter().map(figure).collect() }).collect()
    };
    let costs = series(|it| it.cost);
    print(format!("sessions per second with login, {IN_FLIGHT} in flight"), &series(|it| it.per_second));
    print("microseconds of CPU time per session", &costs);
    let part = median_of(&costs, "socksd") / median_of(&costs, "dante");
    bounds.at_most("sessions: part of Dante's CPU time", part, 1.0 / 3.0);
}

fn sessions(runtime: &Runtime, server: &Contender, target: SocketAddr) -> Figures {
    static DONE: AtomicU64 = AtomicU64::new(0);
    DONE.store(0, Ordering::Relaxed);
    let client = alice(server.address, Level::Confidentiality);
    let (before, start) = (process::cpu_time(server.pid), Instant::now());
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let client = client.clone();
            clients.spawn(async move {
                while start.elapsed() < TIME {
                    session(&client, target).await;
                    DONE.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        clients.join_all().await;
    });
    let (wall, cpu) = (start.elapsed(), process::cpu_time(server.pid).saturating_sub(before));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let done = DONE.load(Ordering::Relaxed) as f64;
    Figures { per_second: done / wall.as_secs_f64(), cost: cpu.as_secs_f64() * 1e6 / done }
}

async fn session(client: &Client, target: SocketAddr) {
    let mut connection = client.connect(target.into()).await.unwrap_or_else(|error| panic!("{error}"));
    let mut said = Vec::new();
    connection.read_to_end(&mut said).await.expect("the target ends in order");
    assert_eq!(said, b"x", "what the target says");
}
