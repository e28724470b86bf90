//! A realm with one user and a gateway in it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use krb_testenv::{Ccache, Realm};
use socks_core::Level;

use super::{ALICE, Peer, own_configuration};
use crate::client::connect_request;
use crate::targets::{self, Server};
use crate::{Client, Folder, Gateway, Setup};

/// The service that the gateway is.
pub const SERVICE: &str = "socks/localhost";

/// What a site shall be like.
#[derive(Debug, Clone)]
#[must_use]
pub struct Plan {
    levels: &'static str,
    options: String,
    limits: Vec<(&'static str, String)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// Integrity and confidentiality, and more patience than a test has.
    pub fn new() -> Self {
        let limits = vec![("handshake-timeout", "10m".to_owned())];
        Self { levels: "confidentiality, integrity", options: String::new(), limits }
    }

    /// The levels that the policy allows.
    pub fn levels(mut self, levels: &'static str) -> Self {
        self.levels = levels;
        self
    }

    /// An option of the method beside the keytab, such as `nec: true`.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push_str(", ");
        self.options.push_str(option);
        self
    }

    /// One key of `limits`.
    pub fn limit(mut self, key: &'static str, value: &str) -> Self {
        self.limits.push((key, value.to_owned()));
        self
    }

    /// Starts the realm and the gateway, and logs alice in; in the body of [`alone`](super::alone) only.
    ///
    /// # Panics
    /// When one of them does not come up.
    #[track_caller]
    pub fn start(&self) -> Site {
        let realm = Realm::builder("EXAMPLE.TEST").user("alice", "secret").service(SERVICE);
        let realm = realm.service("other/localhost").start().expect("a realm");
        let folder = Folder::new();
        let keytab = folder.file("socks.keytab");
        realm.keytab(&[SERVICE], &keytab).expect("the service is there");
        let environment = realm.server_env(&keytab);
        symlink(environment.value("KRB5_CONFIG").expect("a realm has one"), own_configuration())
            .expect("a process has one site");
        let auth =
            format!("  - kind: gssapi\n    options: {{ keytab: {}{} }}\n", keytab.display(), self.options);
        let policy = format!(
            "version: 1\nclients:\n  - methods: [gssapi]\n    protection: [{}]\nrules:\n  \
             - name: alice\n    action: permit\n    identity: {ALICE}\n    special-use: permit\n",
            self.levels
        );
        let mut setup = Setup::new().auth(&auth).policy(&policy).environment(environment.iter());
        for (key, value) in &self.limits {
            setup = setup.limit(key, value);
        }
        let gateway = setup.start();
        let alice = realm.kinit("alice").expect("the password is right");
        alice.ticket(SERVICE).expect("the service is there");
        let level =
            if self.levels.contains("confidentiality") { Level::Confidentiality } else { Level::None };
        Site {
            gateway,
            alice,
            echo: targets::echo(),
            realm,
            level,
            keytab,
            next: AtomicU16::new(0),
            _folder: folder,
        }
    }
}

/// A realm, a gateway in it, and a target.
#[derive(Debug)]
pub struct Site {
    /// The gateway.
    pub gateway: Gateway,
    /// The tickets of a user whom the policy permits everything.
    pub alice: Ccache,
    /// A target that answers with what it hears.
    pub echo: Server,
    /// The realm.
    pub realm: Realm,
    level: Level,
    keytab: PathBuf,
    next: AtomicU16,
    _folder: Folder,
}

impl Site {
    /// The gateway's keytab.
    pub fn keytab(&self) -> &Path {
        &self.keytab
    }

    /// A client for which the gateway has chosen the method, each from an address of its own: refusals of
    /// one address are soon counted together instead of recorded.
    #[track_caller]
    pub fn greeted(&self) -> Client {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = (number % 60_000 + 256).to_be_bytes();
        let mut client = Client::connect_from([127, 1, high, low].into(), self.gateway.address());
        assert_eq!(client.greet(&[0x01]), 0x01, "the method is on offer");
        client
    }

    /// Alice with a context, before a level is agreed.
    #[track_caller]
    pub fn established(&self) -> Peer {
        Peer::establish(self.greeted(), &self.alice)
    }

    /// Alice at an agreed level.
    #[track_caller]
    pub fn agreed(&self, level: Level) -> Peer {
        let mut peer = self.established();
        assert_eq!(peer.agree(level), level, "the level is granted");
        peer
    }

    /// Alice with an open connection to the echo at that level.
    #[track_caller]
    pub fn tunnel(&self, level: Level) -> Peer {
        let mut peer = self.agreed(level);
        peer.say(&connect_request(self.echo.address));
        assert_eq!(peer.hear().get(1), Some(&0x00), "the request is granted");
        peer
    }

    /// Checks that the gateway serves another client.
    #[track_caller]
    pub fn expect_service(&self) {
        if self.level == Level::None {
            let mut peer = self.established();
            assert_eq!(peer.agree(Level::None), Level::None);
            let reply = peer.client.connect_to(self.echo.address);
            assert_eq!(reply.code, 0x00, "the request is granted");
            return peer.client.expect_echo(b"still there?");
        }
        let mut peer = self.tunnel(self.level);
        peer.say(b"still there?");
        assert_eq!(peer.hear(), b"still there?");
    }
}
