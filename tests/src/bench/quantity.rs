//! What is measured of a server.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the things that are measured; the report has it by this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// How much in a second.
    Rate,
    /// The server's processor time for each unit of work.
    Cpu,
    /// The time that half of all take at most.
    P50,
    /// The time that 99 of a hundred take at most.
    P99,
    /// Memory for each tunnel.
    Tunnel,
    /// All memory of the server's processes after the load.
    Memory,
    /// Processors that the server used.
    Server,
    /// Processors that the load generator used, targets included.
    Generator,
    /// Work that did not come to its end: refused, reset or lost.
    Failed,
}

impl Quantity {
    /// Those that a table shows, in its order.
    pub const ALL: [Self; 9] = [
        Self::Rate,
        Self::Cpu,
        Self::P50,
        Self::P99,
        Self::Tunnel,
        Self::Memory,
        Self::Server,
        Self::Generator,
        Self::Failed,
    ];

    /// Its name in the heads of tables and above charts.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Cpu => "CPU time",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Tunnel => "a tunnel",
            Self::Memory => "memory",
            Self::Server => "server",
            Self::Generator => "generator",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}
