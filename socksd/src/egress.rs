//! How the sockets of a rule leave the gateway: the interface that they are bound to, and the mark of their packets.

use std::fmt;
use std::io;

use rustix::io::Errno;
use socket2::SockRef;
use socks_policy::{Egress, Interface};

/// Binds a socket to the rule's interface and marks its packets; to be done before it gets an address.
///
/// # Errors
/// What the system refuses, with what an operator can do about it.
pub(crate) fn apply<'s>(socket: impl Into<SockRef<'s>>, egress: &Egress) -> io::Result<()> {
    if egress.interface.is_none() && egress.mark.is_none() {
        return Ok(());
    }
    let socket = socket.into();
    if let Some(mark) = egress.mark {
        let failed = |error| refused(Wish::Mark(mark.get()), error);
        socket.set_mark(mark.get()).map_err(failed)?;
    }
    if let Some(interface) = egress.interface {
        let failed = |error| refused(Wish::Interface(interface), error);
        socket.bind_device(Some(interface.as_str().as_bytes())).map_err(failed)?;
    }
    Ok(())
}

/// The names of the network interfaces that there are now; `None` if the system does not tell.
pub(crate) fn interfaces() -> Option<Vec<String>> {
    let interfaces = nix::net::if_::if_nameindex().ok()?;
    Some(interfaces.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
}

/// What a rule wants of a socket.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Interface(Interface),
    Mark(u32),
}

/// A wish that the system does not grant. It has no error number of its own, so that it is taken for no answer of a
/// target's.
#[derive(Debug)]
struct Refused {
    wish: Wish,
    errno: Option<Errno>,
    error: io::Error,
}

fn refused(wish: Wish, error: io::Error) -> io::Error {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    io::Error::other(Refused { wish, errno, error })
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.error;
        match (self.wish, self.errno) {
            (Wish::Interface(name), Some(Errno::NODEV)) => {
                write!(f, "there is no interface `{name}`, which the rule's `egress` names")
            }
            (Wish::Interface(name), Some(Errno::PERM)) => write!(
                f,
                "the gateway may not use the interface `{name}` of the rule's `egress`: \
                 before Linux 5.7 that takes CAP_NET_RAW"
            ),
            (Wish::Interface(name), _) => {
                write!(f, "the interface `{name}` of the rule's `egress` cannot be used: {error}")
            }
            (Wish::Mark(mark), Some(Errno::PERM)) => write!(
                f,
                "the gateway may not set the mark `{mark:#x}` of the rule's `egress`: give it CAP_NET_ADMIN, \
                 or CAP_NET_RAW from Linux 5.17 on (systemd: `AmbientCapabilities=`)"
            ),
            (Wish::Mark(mark), _) => {
                write!(f, "the mark `{mark:#x}` of the rule's `egress` cannot be set: {error}")
            }
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told_with_its_remedy_and_without_an_error_number() {
        let name = Interface::new("eth9").unwrap();
        let table = [
            (Wish::Interface(name), Errno::NODEV, "there is no interface `eth9`"),
            (Wish::Interface(name), Errno::PERM, "CAP_NET_RAW"),
            (Wish::Interface(name), Errno::INVAL, "Invalid argument"),
            (Wish::Mark(0x10), Errno::PERM, "mark `0x10` of the rule's `egress`: give it CAP_NET_ADMIN"),
            (Wish::Mark(0x10), Errno::INVAL, "Invalid argument"),
        ];
        for (wish, errno, expected) in table {
            let error = refused(wish, errno.into());
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.raw_os_error(), None);
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_refused_and_loopback_is_not() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let on = |name| Egress { interface: Interface::new(name), ..Egress::default() };
        assert!(apply(&socket, &on("no-such-if")).unwrap_err().to_string().contains("`no-such-if`"));
        apply(&socket, &on("lo")).unwrap();
        assert_eq!(socket.device().unwrap().as_deref(), Some(b"lo".as_slice()));
        assert!(interfaces().unwrap().iter().any(|name| name == "lo"));
    }
}
