//! Why a configuration or a start is refused.

use alloc::string::String;
use core::time::Duration;

use synod_core::NodeId;

/// A rule that settings break. Nothing has been started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit of zero would let nothing through.
    #[error("{name} (0) must be at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// A time must be shorter than another.
    #[error("{short} ({short_value:?}) must be less than {long} ({long_value:?})")]
    Order {
        /// The setting that must be less.
        short: &'static str,
        /// Its value.
        short_value: Duration,
        /// The setting that must be greater.
        long: &'static str,
        /// Its value.
        long_value: Duration,
    },
    /// One limit must fit into another.
    #[error("{small} ({small_value}) must not be greater than {large} ({large_value})")]
    DoesNotFit {
        /// The setting that must be smaller.
        small: &'static str,
        /// Its value.
        small_value: usize,
        /// The setting that must be larger.
        large: &'static str,
        /// Its value.
        large_value: usize,
    },
    /// The founders are no quorum system.
    #[error("the acceptors are not usable: {0}")]
    Acceptors(String),
}

/// Why a node does not start from what is stored. Nothing has been changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The storage belongs to another node.
    #[error("the storage is that of {found}, this is {node}")]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who starts.
        node: NodeId,
    },
    /// There are records, but not the first one.
    #[error("the storage holds records but not whose it is: its beginning is missing")]
    IdentityMissing,
    /// An acceptor that has promised a ballot of its own that it never reserved has lost records.
    #[error(
        "round {round} was used and is not among those reserved, up to {rounds}: records are missing"
    )]
    RoundsMissing {
        /// A round of this node.
        round: u64,
        /// The last that was reserved.
        rounds: u64,
    },
}
