//! The gateway with Acme's tokens.

use std::process::ExitCode;

fn main() -> ExitCode {
    socksd::Program::new().authenticator(acme_token::Factory).main()
}
