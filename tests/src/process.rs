//! Signals to processes, and what `/proc` tells of them.

use std::fs;
use std::time::Duration;

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
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).expect("a number of KiB") * 1024
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
/// Children that have ended count once they were waited for.
pub fn cpu_time(pid: u32) -> Duration {
    let own: u64 = fields(pid).map_or(0, |fields| {
        // proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17, the third is the first here.
        fields.iter().skip(11).take(4).filter_map(|text| text.parse::<u64>().ok()).sum()
    });
    // The unit is sysconf(_SC_CLK_TCK), which is 100 on every Linux.
    let own = Duration::from_millis(own * 10);
    children(pid).into_iter().map(cpu_time).sum::<Duration>() + own
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
