//! Realms that trust each other.

use crate::conf::Peer;
use crate::enctype::{Enctype, key_list};
use crate::error::{Error, Result};
use crate::kadmin::Script;
use crate::realm::Realm;

impl Realm {
    /// From now on users of the other realm get tickets for services of this one.
    ///
    /// Both get `krbtgt/THIS@OTHER` with the same keys, and their `krb5.conf` files name both KDCs and all domains. For
    /// trust in both directions call it on each of the two.
    ///
    /// # Errors
    /// When the realms have no enctype in common, or have this trust already.
    pub fn trust(&self, other: &Self) -> Result<()> {
        let (ours, theirs) = (&self.settings.enctypes, &other.settings.enctypes);
        let common: Vec<Enctype> = theirs.iter().copied().filter(|enctype| ours.contains(enctype)).collect();
        if common.is_empty() {
            return Err(Error::NoCommonEnctype(self.name().to_owned(), other.name().to_owned()));
        }
        let principal = format!("krbtgt/{}@{}", self.name(), other.name());
        let password = random_password()?;
        let mut script = Script::default();
        let keys = key_list(&common);
        script.command(["add_principal", "-clearpolicy", "-pw", &password, "-e", &keys, &principal]);
        self.administer(&script, self.deadline())?;
        other.administer(&script, other.deadline())?;
        self.know(other)?;
        other.know(self)
    }

    /// Lets users of this realm reach a third one's services through one between, where each trusts the one before.
    ///
    /// All three get to know the way (`[capaths]`), and their KDCs are started anew to learn it.
    ///
    /// # Errors
    /// When a file cannot be written or a KDC does not start.
    pub fn reach(&self, service: &Self, between: &Self) -> Result<()> {
        let names = [self, service, between].map(|realm| realm.name().to_owned());
        let [from, to, way] = names;
        let path = (from, to, way);
        let all = [self, service, between];
        for realm in all {
            for other in all.into_iter().filter(|other| other.name() != realm.name()) {
                realm.know(other)?;
            }
            realm.link(|links| links.paths.push(path.clone()))?;
            realm.start_kdc()?;
        }
        Ok(())
    }

    /// Names the other realm's KDC and domains in this one's configuration.
    fn know(&self, other: &Self) -> Result<()> {
        let domains = other.settings.domains.clone();
        let peer = Peer { name: other.name().to_owned(), port: other.port, domains };
        self.link(|links| {
            links.peers.retain(|known| known.name != peer.name);
            links.peers.push(peer);
        })
    }
}

/// A password that nobody needs to know.
fn random_password() -> Result<String> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets)
        .map_err(|error| Error::io("read", "getrandom")(std::io::Error::other(error)))?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}
