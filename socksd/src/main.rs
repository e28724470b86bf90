//! The gateway as it ships: Kerberos, username/password, and no authentication.

use std::process::ExitCode;

fn main() -> ExitCode {
    socksd::Program::new().main()
}
