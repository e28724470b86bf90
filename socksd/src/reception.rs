//! The accept loops: one for each listening socket, begun and ended as the configuration changes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::info;

use crate::config::Listener;
use crate::listeners::{Entrance, Listeners, Listening, OpenError, Planned};
use crate::server::Intake;

/// All open listeners with the loops that accept on them.
pub(crate) struct Reception {
    intake: Intake,
    /// The thread that accepts connections.
    thread: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: Listeners,
    loops: HashMap<Entrance, Loop>,
    /// Where sockets are open already for a configuration that is about to come into force. Once this process has closed
    /// its own: where they were, and where another one may listen in its place.
    opening: Vec<SocketAddr>,
    /// Another process accepts.
    is_paused: bool,
    /// The gateway stops, and no listener is opened any more.
    is_closed: bool,
}

/// A loop that accepts until it is told to stop; it drops what it was told with when its socket is closed.
struct Loop {
    stop: oneshot::Sender<Sender<()>>,
    task: JoinHandle<()>,
}

/// Listeners that were removed.
pub(crate) struct Leaving(Receiver<()>);

impl Reception {
    /// No listener yet.
    pub(crate) fn new(intake: Intake, thread: Handle) -> Self {
        Self { intake, thread, state: Mutex::default() }
    }

    /// Opens what is wanted and not open yet, without anybody who accepts there.
    ///
    /// # Errors
    /// When a socket cannot be opened; nothing has changed then.
    pub(crate) fn plan(&self, wanted: &[Arc<Listener>]) -> Result<Planned, OpenError> {
        let mut state = self.state();
        if state.is_closed {
            // Somebody else may have the ports by now, and nobody may be led there by those who are still here.
            let addresses = wanted.iter().map(|listener| listener.address);
            for address in addresses.filter(|address| address.port() != 0) {
                if !state.opening.contains(&address) {
                    state.opening.push(address);
                }
            }
            self.learn(&state);
            return Listeners::default().plan(&[]);
        }
        let planned = {
            let _entered = self.thread.enter();
            state.listeners.plan(wanted)?
        };
        // Nobody is led there by the new policy before it is known whose they are.
        state.opening = planned.addresses().collect();
        self.learn(&state);
        Ok(planned)
    }

    /// Tells whether all that is wanted could be opened; see [`Listeners::try_plan`].
    ///
    /// # Errors
    /// The first that could not.
    pub(crate) fn try_plan(&self, wanted: &[Arc<Listener>]) -> Result<Vec<Entrance>, OpenError> {
        let state = self.state();
        if state.is_closed { Ok(Vec::new()) } else { state.listeners.try_plan(wanted) }
    }

    /// Lets the gateway know its own addresses, as they are now.
    pub(crate) fn learn_own_addresses(&self) {
        self.learn(&self.state());
    }

    fn learn(&self, state: &State) {
        let open = state.listeners.iter().map(|listening| listening.local());
        let own: Vec<SocketAddr> = open.chain(state.opening.iter().copied()).collect();
        self.intake.gateway.learn_own_addresses(&own);
    }

    /// Accepts on the new sockets, and no longer on those that are gone from the plan.
    pub(crate) fn change(&self, planned: Planned) -> Leaving {
        let mut state = self.state();
        let (told, leaving) = channel();
        if state.is_closed {
            return Leaving(leaving);
        }
        let before = std::mem::replace(&mut state.listeners, planned.settle());
        state.opening.clear();
        self.learn(&state);
        let now = state.listeners.clone();
        self.begin_all(&mut state);
        let is_gone = |gone: &&Arc<Listening>| now.iter().all(|open| open.entrance() != gone.entrance());
        for gone in before.iter().filter(is_gone) {
            info!(listener = %gone.entry().name, address = %gone.local(), "no longer listening");
            if let Some(accepting) = state.loops.remove(&gone.entrance()) {
                // It may have ended by a bug, which the panic hook has told.
                let _ = accepting.stop.send(told.clone());
            }
        }
        Leaving(leaving)
    }

    fn begin_all(&self, state: &mut State) {
        if state.is_paused {
            return;
        }
        for listening in state.listeners.iter() {
            let begin = || self.begin(listening.clone());
            state.loops.entry(listening.entrance()).or_insert_with(begin);
        }
    }

    /// Accepts nobody any more, and keeps the sockets open; who is there already is served.
    pub(crate) fn pause(&self) -> Leaving {
        let mut state = self.state();
        let (told, leaving) = channel();
        state.is_paused = true;
        for accepting in std::mem::take(&mut state.loops).into_values() {
            let _ = accepting.stop.send(told.clone());
        }
        Leaving(leaving)
    }

    /// Accepts again.
    pub(crate) fn resume(&self) {
        let mut state = self.state();
        state.is_paused = false;
        self.begin_all(&mut state);
    }

    fn begin(&self, listening: Arc<Listening>) -> Loop {
        info!(listener = %listening.entry().name, address = %listening.local(), "listening");
        let (stop, stopped) = oneshot::channel();
        let task = self.thread.spawn(accept(self.intake.clone(), listening, stopped));
        Loop { stop, task }
    }

    /// Closes all ports for good, so that clients go elsewhere.
    pub(crate) async fn close(&self) {
        let loops = {
            let mut state = self.state();
            state.is_closed = true;
            let closed = std::mem::take(&mut state.listeners);
            state.opening.extend(closed.iter().map(|listening| listening.local()));
            std::mem::take(&mut state.loops)
        };
        let (told, _leaving) = channel();
        for Loop { stop, task } in loops.into_values() {
            let _ = stop.send(told.clone());
            drop(task.await);
        }
    }

    /// The open listeners.
    pub(crate) fn listeners(&self) -> Listeners {
        self.state().listeners.clone()
    }

    /// Each change is whole when somebody else can see it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leaving {
    /// Waits until their sockets are closed; `false`: they are not in time. Not for a reactor.
    pub(crate) fn wait(self, most: Duration) -> bool {
        // Nobody sends anything: all senders are gone when all sockets are.
        !matches!(self.0.recv_timeout(most), Err(RecvTimeoutError::Timeout))
    }
}

/// Accepts on one socket until it is to be closed. Who came before that is served.
async fn accept(intake: Intake, listening: Arc<Listening>, stop: oneshot::Receiver<Sender<()>>) {
    let told = intake.accept_until(&listening, stop).await;
    intake.take_waiting(&listening);
    drop(listening);
    drop(told);
}
