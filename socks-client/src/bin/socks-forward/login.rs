//! The client that the command line describes.

use std::path::Path;

use socks_client::{Client, Gssapi, Level, NoAuthentication, Password};
use zeroize::Zeroizing;

use crate::arguments::{Arguments, LoginMethod};
use crate::{Exit, fail, secret};

/// Makes the client, and asks for the password if one is needed.
pub(crate) fn client(arguments: &Arguments) -> Result<Client, Exit> {
    let builder = Client::builder(arguments.gateway.clone()).timeouts(arguments.timeouts());
    let method = arguments.method();
    if method != LoginMethod::Gssapi
        && let Some(level) = arguments.level.filter(|level| *level != Level::None)
    {
        let text = format_args!("--level {level} cannot be kept: only the method `gssapi` protects anything");
        return Err(fail(Exit::Usage, text));
    }
    let builder = match method {
        LoginMethod::Gssapi => builder.method(gssapi(arguments)),
        LoginMethod::Password => builder.method(password(arguments)?),
        LoginMethod::None => builder.method(NoAuthentication),
    };
    builder.build().map_err(|error| fail(Exit::Usage, error))
}

fn gssapi(arguments: &Arguments) -> Gssapi {
    let gssapi = Gssapi::new(arguments.level.unwrap_or(Level::Confidentiality));
    let gssapi = match &arguments.spn {
        Some(name) => gssapi.service_name(name.clone()),
        None => gssapi.service(arguments.service.as_str()),
    };
    match &arguments.ccache {
        Some(ccache) => gssapi.ccache(ccache.as_str()),
        None => gssapi,
    }
}

fn password(arguments: &Arguments) -> Result<Password, Exit> {
    let Some(user) = &arguments.user else {
        return Err(fail(Exit::Usage, "the method `password` needs --user"));
    };
    let password = match &arguments.password_file {
        Some(path) => from_file(path)?,
        None => {
            let prompt = format!("password of `{}` for {}: ", user.escape_debug(), arguments.gateway);
            let asked = secret::from_terminal(&prompt);
            asked.map_err(|error| {
                fail(
                    Exit::Usage,
                    format_args!("no terminal to ask for the password (--password-file): {error}"),
                )
            })?
        }
    };
    Password::new(user.as_bytes(), &password).map_err(|error| fail(Exit::Usage, error))
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Exit> {
    let refused = |error| fail(Exit::Config, format_args!("password file `{}`: {error}", path.display()));
    secret::from_file(path).map_err(refused)
}
