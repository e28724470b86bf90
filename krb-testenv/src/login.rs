//! Users log in: on the realm's own clock and on wrong ones.

use std::path::Path;
use std::time::Duration;

use crate::builder::Login;
use crate::ccache::Ccache;
use crate::clock::Clock;
use crate::conf::{kdc_conf, seconds};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::kadmin::word;
use crate::kinit::Kinit;
use crate::port::Reservation;
use crate::process::{KINIT, write_file};
use crate::realm::{Realm, lock};

/// How long tickets from a wrong clock are valid, in that clock's time.
const SHORT_LIFE: Duration = Duration::from_secs(3600);

impl Realm {
    /// Logs a user in with the password or key that the realm has, into a cache of its own.
    ///
    /// # Errors
    /// When the realm knows no such user, or what `kinit` says.
    pub fn kinit(&self, user: &str) -> Result<Ccache> {
        self.kinit_with(user, &Kinit::new())
    }

    /// Logs a user in as asked.
    ///
    /// # Errors
    /// As [`kinit`](Self::kinit).
    pub fn kinit_with(&self, user: &str, login: &Kinit) -> Result<Ccache> {
        let environment = self.environment();
        let environment = match &login.conf {
            Some(conf) => environment.config(conf),
            None => environment,
        };
        self.log_in(user, login, environment)
    }

    /// Gets a user tickets for services from a KDC whose clock is wrong, on the realm's own keys. Needs libfaketime.
    ///
    /// The tickets are valid for an hour (or the realm's ticket life, if that is shorter) of the wrong time. A client
    /// with this cache lives in the KDC's time and presents them without complaint; the services have to be named
    /// here, for the realm's own KDC would not give such a client more.
    ///
    /// # Errors
    /// As [`kinit`](Self::kinit), and when libfaketime is missing.
    pub fn kinit_at(&self, user: &str, clock: Clock, services: &[&str]) -> Result<Ccache> {
        let name = format!("clock-{}", self.number());
        let reservation = Reservation::any()?;
        let port = reservation.port();
        let conf = self.folder.join(format!("conf/{name}.conf"));
        write_file(&conf, self.conf_with_port(port).as_bytes())?;
        let text = kdc_conf(&self.settings, self.folder.path(), port);
        write_file(&self.folder.join(format!("{name}.conf")), text.as_bytes())?;
        let _kdc = self.run_kdc(&name, (reservation, self.deadline()), Some(clock))?;
        let login = match clock {
            Clock::Behind(_) => Kinit::new().lifetime(SHORT_LIFE),
            // The end is reckoned from the client's time first, where it would lie in the KDC's past.
            Clock::Ahead(span) => Kinit::new().lifetime(SHORT_LIFE + span),
        };
        let cache = self.log_in(user, &login, self.environment().config(&conf))?;
        services.iter().try_for_each(|service| cache.ticket(service).map(drop))?;
        let own = self.environment();
        Ok(Ccache { environment: with_cache(own, &cache.path), ..cache })
    }

    /// Tickets whose end passed a day ago, or longer: an acceptor says that they are expired.
    ///
    /// # Errors
    /// As [`kinit_at`](Self::kinit_at).
    pub fn expired(&self, user: &str, services: &[&str]) -> Result<Ccache> {
        let span = Duration::from_secs(24 * 3600) + self.settings.ticket_life.max(SHORT_LIFE);
        self.kinit_at(user, Clock::Behind(span), services)
    }

    /// Tickets that begin in an hour: an acceptor says that they are not yet valid.
    ///
    /// # Errors
    /// As [`kinit_at`](Self::kinit_at).
    pub fn not_yet_valid(&self, user: &str, services: &[&str]) -> Result<Ccache> {
        self.kinit_at(user, Clock::Ahead(Duration::from_secs(3600)), services)
    }

    /// Valid tickets, used by a client whose clock is ten minutes behind: an acceptor says that the clocks
    /// are too far apart. The realm's ticket life has to be longer than that.
    ///
    /// # Errors
    /// As [`kinit_at`](Self::kinit_at).
    pub fn skewed(&self, user: &str, services: &[&str]) -> Result<Ccache> {
        self.kinit_at(user, Clock::Behind(Duration::from_secs(600)), services)
    }

    fn log_in(&self, user: &str, login: &Kinit, environment: Environment) -> Result<Ccache> {
        let path = self.folder.join(format!("caches/{}", self.number()));
        let environment = with_cache(environment, &path);
        let principal = format!("{}@{}", word(user)?, self.name());
        let mut call = KINIT.call(&environment, self.deadline())?;
        for (option, span) in [("-l", login.lifetime), ("-r", login.renewable)] {
            if let Some(span) = span {
                call = call.args([option, &seconds(span)]);
            }
        }
        call = call.arg(if login.forwardable { "-f" } else { "-F" });
        call = call.arg(if login.addresses { "-a" } else { "-A" });
        let known = lock(&self.users).get(user).cloned();
        call = match (&login.password, known) {
            (Some(password), _) => call.input(&format!("{}\n", word(password)?)),
            (None, Some(Login::Password(password))) => call.input(&format!("{password}\n")),
            (None, Some(Login::Key)) => {
                let keytab = self.folder.join(format!("keytabs/of-{}", self.number()));
                self.keytab(&[user], &keytab)?;
                call.arg("-k").arg("-t").arg(format!("FILE:{}", keytab.display()))
            }
            (None, None) => return Err(Error::UnknownUser(user.to_owned())),
        };
        call.arg("--").arg(&principal).run()?;
        Ok(Ccache { path, principal, environment, limit: self.settings.limit })
    }
}

fn with_cache(environment: Environment, path: &Path) -> Environment {
    environment.with("KRB5CCNAME", format!("FILE:{}", path.display()))
}
