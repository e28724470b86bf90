//! The gateway as it ships: no authentication, and username/password.

use std::process::ExitCode;

fn main() -> ExitCode {
    socksd::Program::new().main()
}
