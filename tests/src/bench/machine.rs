//! Where a benchmark ran.

use std::collections::BTreeMap;
use std::{fs, thread};

use serde::{Deserialize, Serialize};

/// What figures depend on, and therefore stands beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// How many processors may be used.
    pub cores: usize,
    /// Their model.
    pub processor: String,
    /// The kernel's version, without what its builder calls it.
    pub kernel: String,
    /// Memory in MiB.
    pub memory: u64,
    /// The version of each program that was measured.
    pub programs: BTreeMap<String, String>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let field = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kibibytes = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            kernel: kernel.trim().split('-').next().unwrap_or_default().into(),
            memory: kibibytes.unwrap_or(0) / 1024,
            programs: BTreeMap::new(),
            left_out: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_processors_memory_and_a_kernel() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory > 0, "{machine:?}");
        assert!(machine.kernel.contains('.'), "{machine:?}");
    }
}
