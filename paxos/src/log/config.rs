//! Settings: a builder, and the checked result.

use alloc::vec::Vec;
use core::time::Duration;

use synod_core::NodeId;
use synod_quorum::PaxosPhases;

use super::lease::Terms;
use super::{ConfigError, Membership};

/// The settings of one node. One that exists is valid.
///
/// ```
/// use std::time::Duration;
/// use synod_core::NodeId;
/// use synod_paxos::log::Config;
///
/// let config = Config::builder(NodeId(1))
///     .voters([NodeId(1), NodeId(2), NodeId(3)])
///     .seed(42)
///     .election_round(Duration::from_millis(200))
///     .build()?;
/// # Ok::<(), synod_paxos::log::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    pub(crate) id: NodeId,
    pub(crate) founding: Membership,
    pub(crate) seed: u64,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) forward: bool,
    pub(crate) fast: bool,
    pub(crate) quorum_reads: bool,
    pub(crate) lease: Option<Terms>,
    pub(crate) thrifty: bool,
    pub(crate) priority: u32,
    #[cfg(feature = "planted")]
    pub(crate) planted: Option<super::planted::Bug>,
}

/// How long things take.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Timing {
    pub(crate) round: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) commit_delay: Duration,
    pub(crate) forward_timeout: Duration,
}

/// How much there may be of everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Limits {
    pub(crate) command_bytes: usize,
    pub(crate) accept_bytes: usize,
    pub(crate) in_flight_messages: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) uncommitted_bytes: usize,
    pub(crate) unapplied_bytes: usize,
    pub(crate) log_bytes: usize,
    pub(crate) retained_entries: u64,
    pub(crate) pending_reads: usize,
    pub(crate) snapshot_chunk_bytes: usize,
    pub(crate) writes_in_flight: u64,
}

impl Config {
    /// Starts from the defaults: for a local network, with every limit set.
    #[must_use]
    pub fn builder(id: NodeId) -> ConfigBuilder {
        ConfigBuilder {
            id,
            voters: Voters::Majority(Vec::new()),
            learners: Vec::new(),
            config: Self {
                id,
                founding: Membership::unknown(),
                seed: id.0,
                timing: Timing {
                    round: Duration::from_millis(100),
                    heartbeat: Duration::from_millis(50),
                    commit_delay: Duration::from_micros(500),
                    forward_timeout: Duration::from_secs(2),
                },
                limits: Limits {
                    command_bytes: 1 << 20,
                    accept_bytes: 1 << 20,
                    in_flight_messages: 256,
                    in_flight_bytes: 8 << 20,
                    uncommitted_bytes: 64 << 20,
                    unapplied_bytes: 32 << 20,
                    log_bytes: 64 << 20,
                    retained_entries: 10_000,
                    pending_reads: 10_000,
                    snapshot_chunk_bytes: 1 << 20,
                    writes_in_flight: 1,
                },
                forward: true,
                fast: false,
                quorum_reads: false,
                lease: None,
                thrifty: false,
                priority: 0,
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
enum Voters {
    Majority(Vec<NodeId>),
    Phases(PaxosPhases),
}

/// Builds a [`Config`].
#[derive(Clone, Debug)]
pub struct ConfigBuilder {
    id: NodeId,
    voters: Voters,
    learners: Vec<NodeId>,
    config: Config,
}

impl ConfigBuilder {
    /// The voters that found the cluster; a majority of them decides. A node that joins a running
    /// cluster names none: it learns them from the log.
    #[must_use]
    pub fn voters(mut self, voters: impl IntoIterator<Item = NodeId>) -> Self {
        self.voters = Voters::Majority(voters.into_iter().collect());
        self
    }

    /// The voters that found the cluster, with quorum systems of their own: any in which every
    /// quorum of phase 1 intersects every quorum of phase 2.
    #[must_use]
    pub fn quorums(mut self, phases: PaxosPhases) -> Self {
        self.voters = Voters::Phases(phases);
        self
    }

    /// Fast rounds (Lamport, *Fast Paxos*, 2006): a leader opens slots, and what is proposed on any voter is
    /// chosen two message delays later if nobody else wants the same slot. For all nodes of a
    /// cluster alike. It needs quorums of fast rounds: three quarters of the voters, rounded up,
    /// beside majorities; [`quorums`](Self::quorums) must bring their own. When fewer than such a
    /// quorum answer, or too much collides, the leader goes back to classic rounds for a while. With
    /// three voters all three are a fast quorum, so the first that fails ends fast rounds: four
    /// are fewer messages with one failure less to bear, five bear one. Default: classic rounds.
    #[must_use]
    pub const fn fast_rounds(mut self) -> Self {
        self.config.fast = true;
        self
    }

    /// Nodes that receive the log from the start and do not vote.
    #[must_use]
    pub fn learners(mut self, learners: impl IntoIterator<Item = NodeId>) -> Self {
        self.learners = learners.into_iter().collect();
        self
    }

    /// Where this life's randomness comes from: fresh for every start of a process, so that nodes
    /// do not time out together. Default: the node's id, fit for tests only.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// How long a round of the election takes: as long as an answer of a node that is alive may take
    /// to come. A leader that is gone is replaced within four of them. Each is drawn up to a quarter
    /// longer. Default: 100 ms.
    #[must_use]
    pub const fn election_round(mut self, round: Duration) -> Self {
        self.config.timing.round = round;
        self
    }

    /// How often an idle leader shows that it is alive. Default: 50 ms.
    #[must_use]
    pub const fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.config.timing.heartbeat = interval;
        self
    }

    /// How long a commit waits for the next entries to ride on before the followers are told of it
    /// in a message of its own. Default: 500 µs.
    #[must_use]
    pub const fn commit_delay(mut self, delay: Duration) -> Self {
        self.config.timing.commit_delay = delay;
        self
    }

    /// How long a request waits for what may never come: a follower for the leader's answer to what it
    /// forwarded, a read for an index that is not known to be committed, and a proposal of a node that
    /// neither leads nor hears of a leader. Then reads are refused as timed out, and proposals are
    /// reported as unknown. Default: 2 s.
    #[must_use]
    pub const fn forward_timeout(mut self, timeout: Duration) -> Self {
        self.config.timing.forward_timeout = timeout;
        self
    }

    /// Whether a follower passes proposals on to the leader (default), or rejects them with the
    /// leader's identity.
    #[must_use]
    pub const fn forward_proposals(mut self, forward: bool) -> Self {
        self.config.forward = forward;
        self
    }

    /// Whether a linearizable read at a node that does not lead asks the voters instead of the leader
    /// (Paxos quorum reads; Charapko et al., 2019). It takes load off the leader and works while there is
    /// none, but a read may have to wait for writes that are under way. A node on its own: the others may
    /// choose otherwise. Default: no.
    #[must_use]
    pub const fn quorum_reads(mut self, quorum_reads: bool) -> Self {
        self.config.quorum_reads = quorum_reads;
        self
    }

    /// Lets the leader answer reads at [`ReadLevel::Lease`](synod_core::ReadLevel::Lease) by itself,
    /// while it holds a lease of `duration`; `max_drift` is the most that the clocks of two nodes may
    /// drift apart in that time, and what the leader keeps clear of its end. Default: none; then such
    /// reads are refused as not supported. Where no lease is held, they are linearizable ones.
    ///
    /// Linearizable as long as clocks keep to `max_drift`. A clock that stands still while the world goes
    /// on breaks that: a virtual machine that is stopped and goes on later, a laptop that sleeps.
    ///
    /// Set it alike on all nodes; each grants and asks for no more than its own says. A leader that is
    /// gone is replaced within `duration` and four rounds of the election, and a node that restarts
    /// takes part in no election for `duration`. So before it is made shorter or taken away, let a
    /// node be down for the old `duration`.
    #[must_use]
    pub const fn leader_lease(mut self, duration: Duration, max_drift: Duration) -> Self {
        self.config.lease = Some(Terms {
            duration,
            max_drift,
        });
        self
    }

    /// Whether a leader sends entries to one quorum of phase 2 first, and to the others when they are
    /// chosen: with the next heartbeat, sooner if they gather, and at once if somebody waits there
    /// for what was passed on. It spares messages and bytes; the others are behind by up to a
    /// `heartbeat_interval`, also for what is read there, and when a member of the quorum falls silent,
    /// entries wait for up to an `election_round` and a heartbeat until another one takes its place.
    /// Default: no.
    #[must_use]
    pub const fn thrifty(mut self, thrifty: bool) -> Self {
        self.config.thrifty = thrifty;
        self
    }

    /// How much this node should lead, compared to others. When nobody leads, a voter lets those of a
    /// higher priority that it hears go first for a round of the election. A leader hands over to
    /// the voter of the highest priority above its own that follows it and has what is chosen, when it
    /// has led for some rounds. Default: 0, on all.
    #[must_use]
    pub const fn priority(mut self, priority: u32) -> Self {
        self.config.priority = priority;
        self
    }

    /// The longest command, in bytes. Default: 1 MiB.
    #[must_use]
    pub const fn max_command_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.command_bytes = bytes;
        self
    }

    /// The most that one message carries, in bytes by [`Entry::weight`](synod_core::Entry::weight);
    /// a single entry always fits. Default: 1 MiB.
    #[must_use]
    pub const fn max_accept_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.accept_bytes = bytes;
        self
    }

    /// The most such messages under way to one follower, by number and by bytes. Default: 256 and 8 MiB.
    #[must_use]
    pub const fn max_in_flight(mut self, messages: usize, bytes: usize) -> Self {
        self.config.limits.in_flight_messages = messages;
        self.config.limits.in_flight_bytes = bytes;
        self
    }

    /// The most that a leader takes on without having it committed, in bytes by
    /// [`Entry::weight`](synod_core::Entry::weight). Default: 64 MiB.
    #[must_use]
    pub const fn max_uncommitted_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.uncommitted_bytes = bytes;
        self
    }

    /// The most that is handed out to the state machine and not applied, in bytes. Default: 32 MiB.
    #[must_use]
    pub const fn max_unapplied_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.unapplied_bytes = bytes;
        self
    }

    /// The most of the log that is kept in memory, in bytes, as soon as it is durable; what is
    /// older is loaded when a follower needs it. Default: 64 MiB.
    #[must_use]
    pub const fn max_log_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.log_bytes = bytes;
        self
    }

    /// How many entries before a snapshot stay in the log, so that a follower that is a little
    /// behind needs no snapshot. Default: 10,000.
    #[must_use]
    pub const fn retained_entries(mut self, entries: u64) -> Self {
        self.config.limits.retained_entries = entries;
        self
    }

    /// The most reads that wait. Default: 10,000.
    #[must_use]
    pub const fn max_pending_reads(mut self, reads: usize) -> Self {
        self.config.limits.pending_reads = reads;
        self
    }

    /// The length of a piece of a snapshot, in bytes. Default: 1 MiB.
    #[must_use]
    pub const fn snapshot_chunk_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.snapshot_chunk_bytes = bytes;
        self
    }

    /// How many writes may be under way; with 1 (default) the next batch gathers meanwhile.
    #[must_use]
    pub const fn writes_in_flight(mut self, writes: u64) -> Self {
        self.config.limits.writes_in_flight = writes;
        self
    }

    /// Breaks the protocol in one classic way, so that a checker can prove that it would notice.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn danger_plant(mut self, bug: super::planted::Bug) -> Self {
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
            id,
            voters,
            learners,
            mut config,
        } = self;
        config.check()?;
        let phases = match voters {
            Voters::Phases(phases) => Some(phases),
            Voters::Majority(voters) if voters.is_empty() && learners.is_empty() => None,
            Voters::Majority(voters) if config.fast => Some(Membership::fast(voters)?),
            Voters::Majority(voters) => Some(Membership::majority(voters)?),
        };
        if config.fast
            && phases
                .as_ref()
                .is_some_and(|phases| phases.fast().is_none())
        {
            return Err(ConfigError::NoFastQuorums);
        }
        if let Some(phases) = phases {
            config.founding = Membership::founding(phases, learners)?;
            if !config.founding.contains(id) {
                return Err(ConfigError::NotAMember { node: id });
            }
        }
        Ok(config)
    }

    /// Checks the settings for a model checker: time stands still, and a round of the election, a
    /// heartbeat and the word of what is chosen are due at every tick.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as [`build`](Self::build).
    pub fn for_exploration(self) -> Result<Config, ConfigError> {
        let mut config = self.build()?;
        config.timing.round = Duration::ZERO;
        config.timing.heartbeat = Duration::ZERO;
        config.timing.commit_delay = Duration::ZERO;
        Ok(config)
    }
}

impl Config {
    /// Nobody leads for so long when a leader falls.
    const LONGEST_LEASE: Duration = Duration::from_secs(3600);

    fn check(&self) -> Result<(), ConfigError> {
        let Timing {
            round, heartbeat, ..
        } = self.timing;
        if round < heartbeat || heartbeat.is_zero() {
            return Err(ConfigError::HeartbeatTooSlow { round, heartbeat });
        }
        if let Some(Terms {
            duration: lease,
            max_drift,
        }) = self.lease
        {
            let least = max_drift.saturating_add(heartbeat);
            if max_drift.is_zero() || lease <= least || lease > Self::LONGEST_LEASE {
                return Err(ConfigError::Lease {
                    lease,
                    max_drift,
                    heartbeat,
                    longest: Self::LONGEST_LEASE,
                });
            }
        }
        let limits = &self.limits;
        let positive = [
            ("max_command_bytes", limits.command_bytes),
            ("max_accept_bytes", limits.accept_bytes),
            ("max_in_flight messages", limits.in_flight_messages),
            ("max_in_flight bytes", limits.in_flight_bytes),
            ("max_uncommitted_bytes", limits.uncommitted_bytes),
            ("max_unapplied_bytes", limits.unapplied_bytes),
            ("max_log_bytes", limits.log_bytes),
            ("max_pending_reads", limits.pending_reads),
            ("snapshot_chunk_bytes", limits.snapshot_chunk_bytes),
            (
                "writes_in_flight",
                usize::try_from(limits.writes_in_flight).unwrap_or(1),
            ),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero { name });
        }
        let fits = |small, small_value, large, large_value| {
            if small_value > large_value {
                return Err(ConfigError::DoesNotFit {
                    small,
                    small_value,
                    large,
                    large_value,
                });
            }
            Ok(())
        };
        fits(
            "max_accept_bytes",
            limits.accept_bytes,
            "max_in_flight bytes",
            limits.in_flight_bytes,
        )?;
        fits(
            "max_command_bytes",
            limits.command_bytes,
            "max_uncommitted_bytes",
            limits.uncommitted_bytes,
        )
    }
}
