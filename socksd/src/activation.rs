//! Listening sockets that the service manager has opened: socket activation, sd_listen_fds(3).

use std::net::SocketAddr;
use std::sync::Arc;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::config::Listener;
use crate::listeners::Given;

/// What the environment gives, and what is odd about it.
#[derive(Debug, Default)]
pub(crate) struct Activation {
    pub(crate) sockets: Vec<Given>,
    pub(crate) warnings: Vec<String>,
}

/// A socket that is named after a listener which is to listen elsewhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "the service manager's socket `{name}` listens on `{given}`, and the listener of that name on `{wanted}`"
)]
pub(crate) struct Contradiction {
    name: String,
    given: SocketAddr,
    wanted: SocketAddr,
}

impl Activation {
    /// Takes the descriptors, which nobody can take again: their variables are gone afterwards.
    ///
    /// It changes the environment, so it is for the beginning, when there is one thread alone.
    pub(crate) fn take() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut taken = Self::default();
        for index in 0..descriptors.len() {
            let name = names.next().filter(|name| !name.is_empty()).map(str::to_owned);
            match descriptors.take_tcp_listener(index) {
                Ok(Some(socket)) if SockRef::from(&socket).is_listener().unwrap_or(false) => {
                    taken.sockets.push(Given { name: name.map(Into::into), socket });
                }
                _ => {
                    let called = name.as_deref().unwrap_or("without a name");
                    taken.warnings.push(format!(
                        "descriptor {index} of the service manager ({called}) is no listening TCP socket; it is not used"
                    ));
                    close(&mut descriptors, index);
                }
            }
        }
        taken
    }

    /// Checks that each socket which has a listener's name is where that listener is to be.
    ///
    /// # Errors
    /// The first one that is not.
    pub(crate) fn check(&self, wanted: &[Arc<Listener>]) -> Result<(), Contradiction> {
        for socket in &self.sockets {
            let named = wanted.iter().find(|listener| Some(&listener.name) == socket.name.as_ref());
            if let (Some(listener), Ok(given)) = (named, socket.socket.local_addr())
                && !socket.fits(listener)
            {
                let (name, wanted) = (listener.name.to_string(), listener.address);
                return Err(Contradiction { name, given, wanted });
            }
        }
        Ok(())
    }
}

/// Closes what is a socket of another kind. What is no socket cannot be taken, and stays until the process ends.
fn close(descriptors: &mut ListenFd, index: usize) {
    drop(descriptors.take_unix_listener(index));
    drop(descriptors.take_udp_socket(index));
    drop(descriptors.take_unix_datagram(index));
}
