//! Signals to processes, and what `/proc` tells of them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::time::ClockId;
use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Sends a signal; a process that is gone already is no mistake.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Ends a process at once.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Sends a signal to a process group, as a terminal does for Ctrl-C.
pub fn signal_group(leader: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// The resident memory of a process, in octets.
///
/// # Panics
/// When the process is gone.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    kibibytes(&status, "VmRSS:").expect("it has memory") * 1024
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many descriptors a process has open.
///
/// # Panics
/// When the process is gone or belongs to somebody else.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives and is ours").count()
}

/// The CPU time that a process and all its children have taken, in user and kernel mode.
///
/// It is the kernel's own clock of each process, in nanoseconds, which counts threads that have ended, too.
/// Children that have ended count once they were waited for, in steps of 10 ms.
pub fn cpu_time(pid: u32) -> Duration {
    let own = i32::try_from(pid).ok().and_then(|pid| time_of(nix::unistd::Pid::from_raw(pid)));
    let ended: u64 = fields(pid).map_or(0, |fields| {
        // proc_pid_stat(5): cutime and cstime are fields 16 and 17, the third is the first here.
        fields.iter().skip(13).take(2).filter_map(|text| text.parse::<u64>().ok()).sum()
    });
    // The unit is sysconf(_SC_CLK_TCK), which is 100 on every Linux.
    let ended = Duration::from_millis(ended * 10);
    children(pid).into_iter().map(cpu_time).sum::<Duration>() + ended + own.unwrap_or_default()
}

fn time_of(pid: nix::unistd::Pid) -> Option<Duration> {
    Some(ClockId::pid_cpu_clock_id(pid).ok()?.now().ok()?.into())
}

/// The CPU time of this process without its children.
pub fn own_time() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().expect("every process has this clock").into()
}

/// The CPU time of each thread of this process that lives, by its number.
pub fn thread_times() -> BTreeMap<u32, Duration> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is there");
    let time = |task: &fs::DirEntry| {
        let times = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanoseconds = times.split(' ').next()?.parse().ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, Duration::from_nanos(nanoseconds)))
    };
    tasks.flatten().filter_map(|task| time(&task)).collect()
}

/// The memory of a process and all its children, in octets: what they share counts once.
///
/// Of a process that does not show what it shares with others, all that is resident counts.
pub fn memory(pid: u32) -> u64 {
    let own = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let own = own.and_then(|text| kibibytes(&text, "Pss:"));
    let own = own.or_else(|| kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:"));
    own.unwrap_or(0) * 1024 + children(pid).into_iter().map(memory).sum::<u64>()
}

/// The living children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// The parent of a process; `None` when it is gone.
pub fn parent(pid: u32) -> Option<u32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// What follows the program's name, which may hold spaces and brackets, in `/proc/PID/stat`.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Raises this process's limit of open descriptors as far as it may, up to `wanted`; children inherit it.
///
/// Gives the limit that is then in force. Where it is less than wanted, the hard limit (`ulimit -Hn`) is too
/// low and this process may not raise it.
pub fn allow_descriptors(wanted: u64) -> u64 {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(now.current) {
        return wanted;
    }
    let raised = Rlimit { current: Some(wanted), maximum: now.maximum.map(|most| most.max(wanted)) };
    if rustix::process::setrlimit(Resource::Nofile, raised).is_ok() {
        return wanted;
    }
    // Only who has CAP_SYS_RESOURCE may raise the hard limit, but everybody the soft one up to it.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now });
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(wanted)
}

/// Tells whether this process may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
