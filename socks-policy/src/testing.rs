//! What the tests of this crate share.

use std::net::{IpAddr, SocketAddr};

use socks_config::{Document, Findings};
use socks_core::wire::Target;
use socks_core::{Identity, Level, Timestamp};

use crate::{Context, Decision, DenyReason, ExpectedPeer, Loaded, Operation, OperationKind, Query, Ruleset};

/// The time at which the tests take place.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// Loads a policy at [`NOW`].
pub(crate) fn load(text: &str) -> Result<Loaded, Findings> {
    let document = Document::parse("policy.yaml", text.to_owned())?;
    Ruleset::load(&document, &Context { now: NOW, ..Context::default() })
}

/// Loads a policy that must have no mistake.
pub(crate) fn ruleset(text: &str) -> Ruleset {
    match load(text) {
        Ok(loaded) => loaded.ruleset,
        Err(findings) => panic!("{findings}"),
    }
}

/// Loads rules for which everybody may come in.
pub(crate) fn rules(text: &str) -> Ruleset {
    ruleset(&format!("version: 1\nclients: [{{ methods: [gssapi, password, none] }}]\nrules:\n{text}"))
}

/// A question with facts of its own, from which a [`Query`] is made.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) listener: &'static str,
    pub(crate) client: IpAddr,
    pub(crate) identity: Option<Identity>,
    pub(crate) operation: Option<(OperationKind, Target)>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) gateway: Vec<SocketAddr>,
}

impl Question {
    /// An anonymous client at 10.1.2.3 that wants to connect to the target.
    pub(crate) fn connect(target: &str) -> Self {
        Self {
            listener: "a",
            client: "10.1.2.3".parse().unwrap(),
            identity: Some(Identity::anonymous().by("none".into())),
            operation: Some((OperationKind::Connect, target.parse().unwrap())),
            address: None,
            gateway: Vec::new(),
        }
    }

    pub(crate) fn doing(mut self, kind: OperationKind) -> Self {
        self.operation = self.operation.map(|(_, target)| (kind, target));
        self
    }

    pub(crate) fn from(mut self, client: &str) -> Self {
        self.client = client.parse().unwrap();
        self
    }

    pub(crate) fn at(mut self, address: &str) -> Self {
        self.address = Some(address.parse().unwrap());
        self
    }

    pub(crate) fn by(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    pub(crate) fn query(&self) -> Query<'_> {
        let operation = self.operation.as_ref().map(|(kind, target)| match kind {
            OperationKind::Connect => Operation::Connect(target),
            OperationKind::Datagram => Operation::Datagram(target),
            OperationKind::Associate => Operation::Associate,
            OperationKind::BindListen => Operation::BindListen(ExpectedPeer::from(target)),
            OperationKind::BindPeer => match &target.host {
                socks_core::wire::Host::Ip(ip) => {
                    Operation::BindPeer { peer: SocketAddr::new(*ip, target.port), name: None }
                }
                socks_core::wire::Host::Name(_) => Operation::BindListen(ExpectedPeer::Known(target)),
            },
        });
        Query {
            listener: self.listener,
            client: SocketAddr::new(self.client, 50_000),
            identity: self.identity.as_ref(),
            operation,
            address: self.address,
            gateway: &self.gateway,
            now: NOW,
        }
    }

    /// The decision in one line.
    pub(crate) fn ask(&self, ruleset: &Ruleset) -> String {
        shown(&ruleset.decide(&self.query()))
    }
}

/// A decision in one line.
pub(crate) fn shown(decision: &Decision) -> String {
    match decision {
        Decision::Permit(permit) => format!("permit {}", permit.rule()),
        Decision::Deny(denial) => match (&denial.rule, denial.reason) {
            (Some(rule), DenyReason::Rule | DenyReason::GroupsMissing) => format!("deny {rule}"),
            (Some(rule), reason) => format!("{} {rule}", reason.as_str()),
            (None, reason) => reason.as_str().to_owned(),
        },
        Decision::Needs(fact) => format!("needs {fact}"),
    }
}

/// A Kerberos user at confidentiality.
pub(crate) fn principal(name: &str) -> Identity {
    let mut identity = Identity::principal(name.parse().unwrap()).by("gssapi".into());
    identity.level = Level::Confidentiality;
    identity
}

/// A user of the password file.
pub(crate) fn user(name: &str) -> Identity {
    Identity::user(name).by("password".into())
}
