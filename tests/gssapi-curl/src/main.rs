//! A curl of today that logs in at a SOCKS gateway with Kerberos, for the tests.
//!
//! ```text
//! gssapi-curl --version
//! gssapi-curl PROXY URL [FILE]
//! ```
//!
//! PROXY is `socks5h://HOST:PORT`. With FILE the file's octets are put to the URL, without it the URL is fetched. The
//! answer's body goes to standard output. Exits as curl does: 0, or curl's own code with curl's words on standard
//! error; 1 when the file cannot be read, 2 for a mistake in the arguments.
//!
//! Distributions ship a curl that cannot do this; the library that is built in here is new enough.

use std::env::args;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use curl::easy::{Easy, ReadError};
use curl::{Error, Version};

/// No transfer of the tests takes longer.
const LONGEST: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments: Vec<String> = args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--version"] => return print_version(),
        [proxy, url] => run(proxy, url, None),
        [proxy, url, file] => match File::open(file).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((length, file)) => run(proxy, url, Some((length, file))),
            Err(error) => return told(&format!("cannot read `{file}`: {error}"), 1),
        },
        _ => return told("usage: gssapi-curl PROXY URL [FILE]", 2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error.to_string(), u8::try_from(error.code()).unwrap_or(u8::MAX)),
    }
}

/// Fetches, or puts the file of that length.
fn run(proxy: &str, url: &str, upload: Option<(u64, File)>) -> Result<(), Error> {
    let mut easy = Easy::new();
    easy.url(url)?;
    easy.proxy(proxy)?;
    easy.noproxy("")?;
    easy.timeout(LONGEST)?;
    easy.fail_on_error(true)?;
    easy.write_function(|octets| Ok(std::io::stdout().write_all(octets).map_or(0, |()| octets.len())))?;
    if let Some((length, mut file)) = upload {
        easy.upload(true)?;
        easy.in_filesize(length)?;
        easy.read_function(move |buffer| file.read(buffer).map_err(|_| ReadError::Abort))?;
    }
    easy.perform()
}

/// The version's number, and whether the library can do GSSAPI at all.
fn print_version() -> ExitCode {
    let version = Version::get();
    println!("{} gssapi={}", version.version(), version.feature_spnego());
    ExitCode::SUCCESS
}

fn told(words: &str, code: u8) -> ExitCode {
    eprintln!("gssapi-curl: {words}");
    ExitCode::from(code)
}
