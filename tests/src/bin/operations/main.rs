//! The operations whose instructions are counted: `operations` does each of them a number of times, and says which.
//!
//! `operations [VGDB]` is meant to run under callgrind, see [`tests::instructions`].

mod decide;
mod decode;

use std::env;
use std::hint::black_box;
use std::process::{self, Command, Stdio};

use tests::instructions::{ROUNDS, repeat};

/// An operation that can be repeated.
struct Operation<'a> {
    name: String,
    /// Makes it ready for being done that many times.
    prepare: Box<dyn Fn(usize) -> Box<dyn FnMut() + 'a> + 'a>,
}

impl<'a> Operation<'a> {
    /// An operation that needs no preparation.
    fn new<R>(name: String, operation: impl Fn() -> R + Copy + 'a) -> Self {
        let once = move || {
            black_box(operation());
        };
        Self { name, prepare: Box::new(move |_| Box::new(once)) }
    }

    fn count(&self) {
        println!("{}", self.name);
        for times in ROUNDS {
            repeat(times, &mut (self.prepare)(times));
        }
    }
}

fn main() {
    instrumentation("on");
    decode::operations().iter().for_each(Operation::count);
    decide::SIZES.into_iter().for_each(decide::count);
}

/// Has callgrind switched on or off: what is not counted runs at a tenth of the time without it.
///
/// Does nothing unless the program's argument is the path of the tool for it, vgdb.
fn instrumentation(switch: &str) {
    let Some(vgdb) = env::args_os().nth(1) else { return };
    let mut vgdb = Command::new(vgdb);
    vgdb.arg(format!("--pid={}", process::id())).args(["instrumentation", switch]).stdout(Stdio::null());
    let mut vgdb = vgdb.spawn().expect("vgdb is part of valgrind");
    // Without a rest: valgrind hears of it between two steps of a program that does something.
    let done = loop {
        if let Some(done) = vgdb.try_wait().expect("a child of ours can be waited for") {
            break done;
        }
    };
    assert!(done.success(), "vgdb: {done}");
}
