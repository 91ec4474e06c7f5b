//! Settings: a builder, and the checked result.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use synod_core::NodeId;
use synod_quorum::PaxosPhases;

use crate::register::{ConfigError, Configuration};

/// The settings of one node. One that exists is valid.
///
/// ```
/// use synod_core::NodeId;
/// use synod_paxos::register::Config;
///
/// let config = Config::builder(NodeId(1))
///     .acceptors([1, 2, 3].map(NodeId))
///     .seed(42)
///     .build()?;
/// # Ok::<(), synod_paxos::register::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    pub(crate) id: NodeId,
    pub(crate) founding: Option<Configuration>,
    pub(crate) seed: u64,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    #[cfg(feature = "planted")]
    pub(crate) planted: Option<crate::register::planted::Bug>,
}

/// How long things take.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Timing {
    pub(crate) retry: Duration,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) change: Duration,
    pub(crate) purge_delay: Duration,
}

/// How much there may be of everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Limits {
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) registers: usize,
    pub(crate) bytes: usize,
    pub(crate) promises: usize,
    pub(crate) changes: usize,
    pub(crate) changes_per_key: usize,
    pub(crate) caches: usize,
    pub(crate) purges: usize,
    pub(crate) peers: usize,
}

impl Config {
    /// Starts from the defaults: for a local network, with every limit set.
    #[must_use]
    pub fn builder(id: NodeId) -> ConfigBuilder {
        ConfigBuilder {
            acceptors: Acceptors::Majority(Vec::new()),
            config: Self {
                id,
                founding: None,
                seed: id.0,
                timing: Timing {
                    retry: Duration::from_millis(100),
                    backoff_min: Duration::from_millis(5),
                    backoff_max: Duration::from_millis(500),
                    change: Duration::from_secs(2),
                    purge_delay: Duration::from_secs(5),
                },
                limits: Limits {
                    key_bytes: 1 << 10,
                    value_bytes: 1 << 20,
                    registers: 1 << 20,
                    bytes: 1 << 30,
                    promises: 1 << 12,
                    changes: 10_000,
                    changes_per_key: 64,
                    caches: 10_000,
                    purges: 1 << 16,
                    peers: 1 << 10,
                },
                #[cfg(feature = "planted")]
                planted: None,
            },
        }
    }

    /// The node that these settings are for.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }
}

#[derive(Clone, Debug)]
enum Acceptors {
    Majority(Vec<NodeId>),
    Phases(PaxosPhases),
}

/// Builds a [`Config`].
#[derive(Clone, Debug)]
pub struct ConfigBuilder {
    acceptors: Acceptors,
    config: Config,
}

impl ConfigBuilder {
    /// The acceptors that found the cluster; a majority of them decides. The same for all nodes that
    /// are there from the start, those that only propose included. A node that joins later names
    /// none: it is told.
    #[must_use]
    pub fn acceptors(mut self, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        self.acceptors = Acceptors::Majority(nodes.into_iter().collect());
        self
    }

    /// The acceptors that found the cluster, with quorums of their own. A phase-2 quorum that is not
    /// also one of phase 1 makes the changes of a stable proposer wait for more answers, or take
    /// a second round trip.
    #[must_use]
    pub fn quorums(mut self, phases: PaxosPhases) -> Self {
        self.acceptors = Acceptors::Phases(phases);
        self
    }

    /// Where this life's randomness comes from: fresh for every start of a process, and as random
    /// as the life of a new storage must be. Default: the node's id, fit for tests only.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// How long a request to a peer waits for its answer before it is sent again. Default: 100 ms.
    #[must_use]
    pub const fn retry_interval(mut self, interval: Duration) -> Self {
        self.config.timing.retry = interval;
        self
    }

    /// How long a proposer that has met a higher ballot waits before it tries a higher one: random,
    /// at least the start of the range, and up to twice as long after each attempt, at most the
    /// end. Default: 5 ms to 500 ms.
    #[must_use]
    pub const fn backoff(mut self, range: core::ops::RangeInclusive<Duration>) -> Self {
        self.config.timing.backoff_min = *range.start();
        self.config.timing.backoff_max = *range.end();
        self
    }

    /// After this a change that is not settled is refused, if it cannot happen any more, or becomes
    /// unknown. Default: 2 s.
    #[must_use]
    pub const fn change_timeout(mut self, timeout: Duration) -> Self {
        self.config.timing.change = timeout;
        self
    }

    /// How long a tombstone stays before its purge begins, and after an attempt that failed before
    /// the next. Default: 5 s.
    #[must_use]
    pub const fn purge_delay(mut self, delay: Duration) -> Self {
        self.config.timing.purge_delay = delay;
        self
    }

    /// The longest key, in bytes. Default: 1 KiB.
    #[must_use]
    pub const fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.key_bytes = bytes;
        self
    }

    /// The longest value, in bytes. The same for all nodes. Default: 1 MiB.
    #[must_use]
    pub const fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.value_bytes = bytes;
        self
    }

    /// The most registers that this acceptor holds, tombstones that are not purged included.
    /// Default: 1,048,576.
    #[must_use]
    pub const fn max_registers(mut self, registers: usize) -> Self {
        self.config.limits.registers = registers;
        self
    }

    /// The most bytes of keys and values that this acceptor holds, all in memory. Default: 1 GiB.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.bytes = bytes;
        self
    }

    /// The most promises for registers that hold nothing; beyond, they are folded into one for all
    /// of these, which costs their proposers an attempt. Default: 4,096.
    #[must_use]
    pub const fn max_promises(mut self, promises: usize) -> Self {
        self.config.limits.promises = promises;
        self
    }

    /// The most changes under way at this node, and of one register; those of one register wait for
    /// each other. Default: 10,000 and 64.
    #[must_use]
    pub const fn max_changes(mut self, changes: usize, per_key: usize) -> Self {
        self.config.limits.changes = changes;
        self.config.limits.changes_per_key = per_key;
        self
    }

    /// The most registers of which this proposer remembers what it wrote last, so that its next
    /// change takes one round trip; each is one value in memory. Default: 10,000.
    #[must_use]
    pub const fn max_caches(mut self, caches: usize) -> Self {
        self.config.limits.caches = caches;
        self
    }

    /// The most tombstones that wait to be purged; more stay until
    /// [`Command::Collect`](crate::register::Command::Collect). Default: 65,536.
    #[must_use]
    pub const fn max_purges(mut self, purges: usize) -> Self {
        self.config.limits.purges = purges;
        self
    }

    /// The most peers whose storage is remembered: as many nodes as a cluster ever has. Others are
    /// not listened to. Default: 1,024.
    #[must_use]
    pub const fn max_peers(mut self, peers: usize) -> Self {
        self.config.limits.peers = peers;
        self
    }

    /// Breaks the protocol in one classic way, so that a checker can prove that it would notice.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn danger_plant(mut self, bug: crate::register::planted::Bug) -> Self {
        self.config.planted = Some(bug);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first rule that is broken.
    pub fn build(self) -> Result<Config, ConfigError> {
        let Self {
            acceptors,
            mut config,
        } = self;
        config.check()?;
        config.founding = match acceptors {
            Acceptors::Majority(nodes) if nodes.is_empty() => None,
            Acceptors::Majority(nodes) => Some(
                Configuration::majority(nodes)
                    .map_err(|error| ConfigError::Acceptors(error.to_string()))?,
            ),
            Acceptors::Phases(phases) => Some(Configuration::founding(phases)),
        };
        Ok(config)
    }

    /// Checks the settings for a model checker: time stands still, and what is asked again, or tried
    /// again after a conflict, is so at every tick. The time of a change is up, and that of a purge has
    /// come, when the clock says so.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as [`build`](Self::build).
    pub fn for_exploration(self) -> Result<Config, ConfigError> {
        let mut config = self.build()?;
        config.timing.retry = Duration::ZERO;
        config.timing.backoff_min = Duration::ZERO;
        config.timing.backoff_max = Duration::ZERO;
        Ok(config)
    }
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let positive = [
            ("max_key_bytes", limits.key_bytes),
            ("max_value_bytes", limits.value_bytes),
            ("max_registers", limits.registers),
            ("max_bytes", limits.bytes),
            ("max_promises", limits.promises),
            ("max_changes", limits.changes),
            ("max_changes per key", limits.changes_per_key),
            ("max_peers", limits.peers),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero { name });
        }
        let Timing {
            retry,
            backoff_min,
            backoff_max,
            change,
            purge_delay,
        } = self.timing;
        let times = [
            ("retry_interval", retry),
            ("backoff start", backoff_min),
            ("purge_delay", purge_delay),
        ];
        if let Some((name, _)) = times.into_iter().find(|(_, value)| value.is_zero()) {
            return Err(ConfigError::Zero { name });
        }
        let orders = [
            ("backoff start", backoff_min, "backoff end", backoff_max),
            ("retry_interval", retry, "change_timeout", change),
        ];
        for (short, short_value, long, long_value) in orders {
            if short_value >= long_value {
                return Err(ConfigError::Order {
                    short,
                    short_value,
                    long,
                    long_value,
                });
            }
        }
        if limits.value_bytes > limits.bytes {
            return Err(ConfigError::DoesNotFit {
                small: "max_value_bytes",
                small_value: limits.value_bytes,
                large: "max_bytes",
                large_value: limits.bytes,
            });
        }
        Ok(())
    }
}
