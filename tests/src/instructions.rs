//! Instructions that an operation takes, counted by callgrind.
//!
//! Times on a shared machine vary by more than a careless change costs; counts do not. They say nothing of what the
//! instructions are waiting for, and nothing of system calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use crate::baseline::Baseline;
use crate::command::{run, tool};
use crate::program::{shipped, workspace};
use crate::{DEADLINE, Folder};

/// How often an operation is done within one count: once to warm up, then twice as often the second time as the first.
/// The difference leaves out what does not belong to it.
pub const ROUNDS: [usize; 3] = [10, 100, 200];

/// The name of [`repeat`] as callgrind sees it, and no other.
const REPEAT: &str = "tests::instructions::repeat";
/// Far above what it takes: callgrind makes a program some fifty times slower, and a tenth of that while it does not count.
const LONGEST: Duration = Duration::from_secs(500);

/// The one place whose instructions are counted, with all that is called from there.
#[inline(never)]
pub fn repeat(times: usize, operation: &mut dyn FnMut()) {
    for _ in 0..times {
        operation();
    }
}

/// Counts the instructions of each operation now.
///
/// # Panics
/// When the program does not build, or callgrind does not do its work.
pub fn count() -> Baseline {
    let folder = Folder::new();
    let operations = shipped("tests", "operations");
    let mut callgrind = Command::new(tool("valgrind"));
    callgrind
        .args(["--tool=callgrind", "--instr-atstart=no"])
        .args([format!("--toggle-collect={REPEAT}"), format!("--dump-after={REPEAT}")])
        .arg("--callgrind-out-file=counts")
        .arg(operations)
        .arg(tool("vgdb"))
        .current_dir(folder.path());
    let names = run(&mut callgrind, LONGEST).succeeded().text();
    let mut dumps = (1..).map(|number| total(&folder.file(&format!("counts.{number}"))));
    let mut figures = BTreeMap::new();
    for name in names.lines() {
        let [_, once, twice] = ROUNDS.map(|_| dumps.next().expect("numbers never end"));
        figures.insert(name.into(), per_operation(once, twice));
    }
    Baseline { taken_with: format!("{} on {}", compiler(), env::consts::ARCH), figures }
}

/// The instructions in one of callgrind's dumps.
fn total(dump: &Path) -> u64 {
    let text = fs::read_to_string(dump).unwrap_or_else(|error| panic!("no dump {}: {error}", dump.display()));
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    totals
        .and_then(|total| total.trim().parse().ok())
        .unwrap_or_else(|| panic!("a dump without a total: {text}"))
}

fn per_operation(once: u64, twice: u64) -> u64 {
    let [_, few, many] = ROUNDS;
    let operations = (many - few) as u64;
    let difference = twice.checked_sub(once).expect("twice as often takes more");
    (difference + operations / 2) / operations
}

/// The first line that the compiler says of itself, such as `rustc 1.95.0 (59807616e 2026-04-14)`.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = run(Command::new(rustc).arg("--version").current_dir(workspace()), DEADLINE).succeeded();
    version.text().trim().to_owned()
}
