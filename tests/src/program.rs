//! The programs under test, built on first use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// Packages that are chosen together, as the Makefile does: each by itself would want its dependencies with other
/// features, and have them built once more.
const TOGETHER: [&str; 4] = ["socksd", "socks-client", "krb-testenv", "tests"];

/// The path of a program of this workspace, such as `socksd`, built from what the tree says now.
///
/// It is built with the profile that the tests themselves were built with; `SOCKSD_TEST_PROFILE` (`dev`,
/// `release`) says otherwise.
pub fn built(program: &str) -> PathBuf {
    built_of(program, program)
}

/// As [`built`], of a package that has another name than the program.
pub fn built_of(package: &str, program: &str) -> PathBuf {
    let (_, own_profile) = own_place();
    once_built(package, program, &std::env::var("SOCKSD_TEST_PROFILE").unwrap_or(own_profile))
}

/// As [`built`], always as it is shipped: for what is measured, where an unoptimized build tells nothing.
pub fn shipped(package: &str, program: &str) -> PathBuf {
    once_built(package, program, "release")
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests have a folder of their own")
}

/// The folder for what is made from the tree.
pub fn target() -> PathBuf {
    own_place().0
}

fn once_built(package: &str, program: &str, profile: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<HashMap<(String, String), PathBuf>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().expect("no build panics half way");
    let path = || build(package, program, profile);
    built.entry((program.to_owned(), profile.to_owned())).or_insert_with(path).clone()
}

fn build(package: &str, program: &str, profile: &str) -> PathBuf {
    let (target, _) = own_place();
    let folder = if profile == "dev" { "debug" } else { profile };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let packages = if TOGETHER.contains(&package) { &TOGETHER[..] } else { &[package][..] };
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--bin", program, "--profile", profile])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .arg("--target-dir")
        .arg(&target)
        .current_dir(workspace())
        .status()
        .expect("cargo is there: it started this test");
    assert!(status.success(), "`{program}` does not build");
    target.join(folder).join(program)
}

/// The target folder that this test lies in, and the profile it was built with.
fn own_place() -> (PathBuf, String) {
    let own = std::env::current_exe().expect("a test knows where it lies");
    // TARGET/debug/deps/test-0123456789abcdef, or TARGET/debug/program
    let folder = own.parent().filter(|folder| !folder.ends_with("deps")).or_else(|| own.ancestors().nth(2));
    let folder = folder.expect("cargo puts tests three levels deep");
    let target = folder.parent().expect("cargo puts tests three levels deep").to_owned();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev".into(),
        Some(name) => name.into(),
    };
    (target, profile)
}
