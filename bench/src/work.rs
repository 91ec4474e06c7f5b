//! One cell of the comparison.

use core::fmt;

use serde::{Deserialize, Serialize};

/// When an entry counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// As soon as the leader has committed it.
    Leader,
    /// Once every node has committed it; the window slides with the slowest node.
    All,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "done at the leader",
            Self::All => "done on all nodes",
        })
    }
}

/// What every subject is asked to do, exactly the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Voters in the cluster.
    pub nodes: usize,
    /// Bytes in one command.
    pub size: usize,
    /// Most proposals that may be under way at once.
    pub window: u64,
    /// Commands in the measured part.
    pub entries: u64,
    /// When an entry counts as done.
    pub done: Done,
}

impl Work {
    /// No run holds more payload than this at each node, so that large commands fit into memory.
    const PAYLOAD_BYTES: u64 = 64 << 20;

    /// The work for `entries` commands, fewer if their payload would be too much to keep in memory, and rounded
    /// up to whole windows, so that no subject that batches by the window waits for a timer at the end.
    pub fn new(nodes: usize, size: usize, window: u64, entries: u64, done: Done) -> Self {
        let most = (Self::PAYLOAD_BYTES / size.max(1) as u64).max(1);
        let entries = entries.min(most).next_multiple_of(window);
        Self {
            nodes,
            size,
            window,
            entries,
            done,
        }
    }

    /// Commands that go through the same cluster before the clock starts.
    pub fn warm_up(&self) -> u64 {
        (self.entries / 10).next_multiple_of(self.window)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            nodes,
            size,
            window,
            entries,
            done,
        } = self;
        write!(
            f,
            "{nodes} nodes, {size} B, window {window}, {done}, {entries} entries"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_windows_and_bounded_memory() {
        assert_eq!(Work::new(3, 16, 64, 100, Done::Leader).entries, 128);
        assert_eq!(Work::new(3, 16, 1, 100, Done::Leader).entries, 100);
        assert_eq!(Work::new(3, 4096, 1, 1_000_000, Done::All).entries, 16384);
        assert_eq!(Work::new(3, 16, 1024, 4096, Done::All).warm_up(), 1024);
    }
}
