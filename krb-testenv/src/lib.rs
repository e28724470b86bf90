//! A throw-away MIT Kerberos realm on loopback, for tests and for trying things by hand.
//!
//! [`Realm::start`] makes a database, starts a KDC on a free port and is ready within about a tenth of a second.
//! Many realms run side by side, and no rights are needed. When the value is dropped, and also when the process is
//! killed, the KDC ends and its folder is gone. Clients and servers are child processes that are
//! told their realm by [environment variables](Environment); the own process's are never changed.
//!
//! ```
//! use std::process::Command;
//! use krb_testenv::{Enctype, Realm};
//!
//! # fn main() -> krb_testenv::Result<()> {
//! let realm = Realm::builder("EXAMPLE.TEST")
//!     .enctypes(&[Enctype::Aes256Sha1])
//!     .user("alice", "secret")
//!     .service("socks/localhost")
//!     .start()?;
//!
//! let keytab = realm.folder().join("socks.keytab");
//! realm.keytab(&["socks/localhost"], &keytab)?;
//! let mut server = Command::new("some-server");
//! realm.server_env(&keytab).apply(&mut server);
//!
//! let alice = realm.kinit("alice")?;
//! assert_eq!(alice.ticket("socks/localhost")?, 1);
//! let mut client = Command::new("some-client");
//! alice.env().apply(&mut client);
//! # Ok(())
//! # }
//! ```
//!
//! What it can do beside: [several key versions](Realm::rotate) and [many or wrong keys](Keytab) in a keytab, realms
//! that [trust](Realm::trust) each other, tickets [expired](Realm::expired), [from the future](Realm::not_yet_valid)
//! or [from a client with a wrong clock](Realm::skewed) without waiting, a [KDC that is down](Realm::stop_kdc),
//! [authentication indicators](RealmBuilder::indicator), [local names](RealmBuilder::auth_to_local), tickets
//! [without a PAC](RealmBuilder::without_pac).
//!
//! What it cannot do: PACs with groups (MIT's KDC issues none), PKINIT, FAST, Heimdal, other systems than Linux.
//!
//! # What has to be installed
//!
//! Debian's packages `krb5-kdc`, `krb5-admin-server` and `krb5-user`; `libfaketime` for wrong clocks; for this crate's
//! own tests also `krb5-gss-samples`. None of their services has to run: Debian's KDC does not start without
//! a database, and `systemctl disable --now krb5-kdc krb5-admin-server` keeps it from being tried.
//!
//! # The command
//!
//! `krb-testenv` does the same for a shell: `krb-testenv --user alice:secret --kinit alice -- COMMAND` runs a
//! command in a realm of its own, and without a command it prints the variables to set and waits.

mod builder;
mod ccache;
mod clock;
mod conf;
mod enctype;
mod environment;
mod error;
mod folder;
mod kadmin;
mod kdc;
mod keytab;
mod kinit;
mod login;
mod port;
mod principals;
mod process;
mod realm;
mod trust;

pub use builder::RealmBuilder;
pub use ccache::{Ccache, Ticket};
pub use clock::Clock;
pub use conf::Conf;
pub use enctype::Enctype;
pub use environment::Environment;
pub use error::{Error, Result};
pub use keytab::{Keytab, KeytabEntry};
pub use kinit::Kinit;
pub use principals::OldKeys;
pub use realm::Realm;
