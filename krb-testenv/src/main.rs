//! The command `krb-testenv`: a throw-away realm for a shell.

mod options;
mod wait;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use krb_testenv::{Ccache, Environment, Realm};

use crate::options::Options;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("krb-testenv: {error}");
            ExitCode::from(1)
        }
    }
}

/// The realms of one call; they end when this is dropped.
struct Stage {
    realm: Realm,
    trusted: Vec<Realm>,
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    // Signals are taken before there is something to clear up.
    let wait = wait::Wait::new()?;
    let stage = Stage::start(options)?;
    let environment = stage.environment(options)?;
    if let Some(file) = &options.env_file {
        options::publish(file, &environment.to_string())?;
    }
    if let Some((program, arguments)) = options.command.split_first() {
        return Ok(wait.run(program, arguments, &environment)?);
    }
    let mut output = std::io::stdout().lock();
    write!(output, "{}{environment}", stage.introduction(options)).and_then(|()| output.flush())?;
    wait.idle(options.until);
    Ok(ExitCode::SUCCESS)
}

impl Stage {
    fn start(options: &Options) -> krb_testenv::Result<Self> {
        let (realm, others) = options.builders();
        let realm = realm.start()?;
        let trusted =
            others.into_iter().map(|other| other.start()).collect::<krb_testenv::Result<Vec<_>>>()?;
        for other in &trusted {
            realm.trust(other)?;
            other.trust(&realm)?;
        }
        for file in &options.keytab {
            let services: Vec<&str> = options.service.iter().map(String::as_str).collect();
            realm.keytab(&services, file)?;
        }
        for (user, file) in &options.user_keytab {
            realm.keytab(&[user], file)?;
        }
        Ok(Self { realm, trusted })
    }

    /// The variables for clients, and for servers when there is a keytab.
    fn environment(&self, options: &Options) -> krb_testenv::Result<Environment> {
        let cache = options.kinit.as_deref().map(|user| self.kinit(user)).transpose()?;
        let mut environment = cache.map_or_else(|| self.realm.client_env(), |cache| cache.env());
        if let Some(file) = options.keytab.first() {
            let file = std::path::absolute(file).map_err(|source| krb_testenv::Error::Io {
                action: "find",
                path: file.clone(),
                source,
            })?;
            environment = self.realm.server_env(file).into_iter().chain(environment).collect();
        }
        Ok(match &options.trace {
            Some(file) => environment.trace(file),
            None => environment,
        })
    }

    /// Logs in a user of the realm, or of a trusted one when it stands behind the name.
    fn kinit(&self, user: &str) -> krb_testenv::Result<Ccache> {
        match user.rsplit_once('@') {
            Some((name, realm)) => {
                let mut realms = self.trusted.iter().chain([&self.realm]);
                let found = realms.find(|known| known.name() == realm);
                found.ok_or_else(|| krb_testenv::Error::UnknownUser(user.to_owned()))?.kinit(name)
            }
            None => self.realm.kinit(user),
        }
    }

    /// What somebody at a terminal wants to know, as comments of a shell.
    fn introduction(&self, options: &Options) -> String {
        let mut text = format!("# realm {}, KDC at 127.0.0.1:{}\n", self.realm.name(), self.realm.port());
        for realm in &self.trusted {
            text += &format!("# trusted realm {}, KDC at 127.0.0.1:{}\n", realm.name(), realm.port());
        }
        for (user, _) in &options.user {
            text += &format!("# log in with the password given: kinit {user}\n");
        }
        for (user, file) in &options.user_keytab {
            text += &format!("# log in without a password: kinit -k -t {} {user}\n", file.display());
        }
        text + "# set these where clients and servers run:\n"
    }
}
