//! Settings: a builder, and the checked result.

use alloc::vec::Vec;
use core::time::Duration;

use synod_core::NodeId;
use synod_quorum::{NodeSet, PaxosPhases, Quorum};

use super::ConfigError;
use super::planted::planted;
use crate::Ballot;

/// Who hears of votes first. In the middle column, the messages of one ballot from `a` acceptors to
/// `l` learners, of which none shares a node with an acceptor (Lamport, *Paxos Made Simple*, §2.3).
///
/// | | messages | message delays behind a vote |
/// |---|---|---|
/// | [`Everyone`](Self::Everyone) | `a × l` | 1 |
/// | [`Distinguished`](Self::Distinguished) | `a + l − 1` | 2 |
/// | [`First(s)`](Self::First) | `a × s + l − s` | 2 |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Learning {
    /// Every acceptor tells every learner.
    Everyone,
    /// Every acceptor tells the first learner that it has a link to; that one tells the rest.
    Distinguished,
    /// Every acceptor tells so many learners, the first ones that it has links to; each of the first
    /// ones tells its share of the rest.
    First(usize),
}

/// What becomes of a fast ballot in which too many different values were voted for (Lamport, *Fast
/// Paxos*, §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Recovery {
    /// The coordinator takes the votes for promises and proposes one of the values in a classic
    /// ballot.
    Coordinated,
    /// The acceptors tell each other their votes, and each votes in the next fast ballot of the same
    /// coordinator for what the same rule makes of them. A second collision is the coordinator's.
    Uncoordinated,
}

/// The settings of one node. One that exists is valid.
///
/// ```
/// use synod_core::NodeId;
/// use synod_paxos::single::{Config, Learning};
///
/// let config = Config::builder(NodeId(1))
///     .acceptors([NodeId(1), NodeId(2), NodeId(3)])
///     .learning(Learning::Distinguished)
///     .seed(42)
///     .build()?;
/// # Ok::<(), synod_paxos::single::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Config {
    pub(crate) id: NodeId,
    pub(crate) phases: PaxosPhases,
    pub(crate) proposers: Vec<NodeId>,
    pub(crate) learners: Vec<NodeId>,
    pub(crate) distinguished: Option<NodeId>,
    pub(crate) learning: Learning,
    pub(crate) recovery: Recovery,
    pub(crate) seed: u64,
    pub(crate) timing: Timing,
    pub(crate) max_proposals: usize,
    pub(crate) max_value_bytes: usize,
    #[cfg(feature = "planted")]
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) planted: Option<super::planted::Bug>,
}

/// How long things take.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Timing {
    pub(crate) round: Duration,
    pub(crate) patience: Duration,
    pub(crate) learn: Duration,
    pub(crate) back_off_min: Duration,
    pub(crate) back_off_max: Duration,
}

impl Config {
    /// Starts from the defaults: for a local network, with every limit set.
    #[must_use]
    pub const fn builder(id: NodeId) -> ConfigBuilder {
        ConfigBuilder {
            id,
            acceptors: Acceptors::Unknown,
            proposers: None,
            learners: None,
            distinguished: None,
            learning: Learning::Everyone,
            recovery: Recovery::Coordinated,
            seed: id.0,
            timing: Timing {
                round: Duration::from_millis(200),
                patience: Duration::from_millis(600),
                learn: Duration::from_millis(400),
                back_off_min: Duration::from_millis(5),
                back_off_max: Duration::from_secs(1),
            },
            max_proposals: 64,
            max_value_bytes: 1 << 20,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }

    /// The node that these settings are for.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The acceptors and their quorums.
    #[must_use]
    pub const fn quorums(&self) -> &PaxosPhases {
        &self.phases
    }

    pub(crate) fn acceptors(&self) -> &[NodeId] {
        self.phases.members()
    }

    pub(crate) fn position(&self, node: NodeId) -> Option<usize> {
        self.phases.phase1().position(node)
    }

    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.position(node).is_some()
            || self.proposers.contains(&node)
            || self.learners.contains(&node)
    }

    pub(crate) fn is_coordinator(&self) -> bool {
        self.phases.fast().is_some() && self.distinguished == Some(self.id)
    }

    /// Whether these promises let a ballot start.
    pub(crate) fn is_prepared(&self, promised: NodeSet) -> bool {
        self.is_enough(self.phases.phase1(), promised)
    }

    /// Whether these votes choose a value in this ballot.
    pub(crate) fn is_chosen(&self, ballot: Ballot, voted: NodeSet) -> bool {
        self.voters(ballot).is_some_and(|quorum| {
            if ballot.is_fast() {
                self.is_fast_quorum(voted)
            } else {
                self.is_enough(quorum, voted)
            }
        })
    }

    /// Whose votes choose a value in this ballot; `None` for a fast one where there are none.
    pub(crate) const fn voters(&self, ballot: Ballot) -> Option<&Quorum> {
        if ballot.is_fast() {
            self.phases.fast()
        } else {
            Some(self.phases.phase2())
        }
    }

    fn is_enough(&self, quorum: &Quorum, set: NodeSet) -> bool {
        if planted!(self, MajorityMinusOne) {
            let others = quorum.all() - set;
            return others
                .iter()
                .any(|one| quorum.is_quorum(set | NodeSet::single(one)));
        }
        quorum.is_quorum(set)
    }

    pub(crate) fn is_fast_quorum(&self, set: NodeSet) -> bool {
        if planted!(self, FastQuorumRoundedDown) {
            return set.len() >= self.acceptors().len() * 3 / 4;
        }
        let fast = self.phases.fast();
        fast.is_some_and(|fast| self.is_enough(fast, set))
    }

    /// Whether a value may have been chosen in a fast ballot of which `replied` tell, and in which
    /// those in `voted` voted for it.
    pub(crate) fn is_choosable(&self, replied: NodeSet, voted: NodeSet) -> bool {
        if planted!(self, MinimalThreshold) {
            let all = self.acceptors().len();
            let least = |quorum: &Quorum| {
                let small = quorum.shrink(quorum.all());
                small.map_or(all, NodeSet::len)
            };
            let fast = self.phases.fast().map_or(all, least);
            return voted.len() + all >= fast + least(self.phases.phase1());
        }
        if planted!(self, FastQuorumRoundedDown) {
            return self.is_fast_quorum((self.phases.phase1().all() - replied) | voted);
        }
        self.phases.choosable(replied, voted)
    }

    /// How many learners hear of votes.
    pub(crate) fn first_learners(&self) -> usize {
        match self.learning {
            Learning::Everyone => self.learners.len(),
            Learning::Distinguished => 1,
            Learning::First(first) => first,
        }
    }
}

#[derive(Clone, Debug)]
enum Acceptors {
    Unknown,
    Majority(Vec<NodeId>),
    Fast(Vec<NodeId>),
    Phases(PaxosPhases),
}

/// Builds a [`Config`].
#[derive(Clone, Debug)]
pub struct ConfigBuilder {
    id: NodeId,
    acceptors: Acceptors,
    proposers: Option<Vec<NodeId>>,
    learners: Option<Vec<NodeId>>,
    distinguished: Option<NodeId>,
    learning: Learning,
    recovery: Recovery,
    seed: u64,
    timing: Timing,
    max_proposals: usize,
    max_value_bytes: usize,
    #[cfg(feature = "planted")]
    planted: Option<super::planted::Bug>,
}

impl ConfigBuilder {
    /// The acceptors; any majority of them is a quorum. No fast rounds.
    #[must_use]
    pub fn acceptors(mut self, acceptors: impl IntoIterator<Item = NodeId>) -> Self {
        self.acceptors = Acceptors::Majority(acceptors.into_iter().collect());
        self
    }

    /// The acceptors, with fast rounds: any majority is a quorum, and in a fast round the least
    /// number that is safe beside majorities, three quarters rounded up (*Fast Paxos*, §2.2). Needs
    /// [`distinguished`](Self::distinguished).
    #[must_use]
    pub fn fast_acceptors(mut self, acceptors: impl IntoIterator<Item = NodeId>) -> Self {
        self.acceptors = Acceptors::Fast(acceptors.into_iter().collect());
        self
    }

    /// The acceptors, with quorum systems of their own; with fast rounds if these have fast quorums.
    #[must_use]
    pub fn quorums(mut self, phases: PaxosPhases) -> Self {
        self.acceptors = Acceptors::Phases(phases);
        self
    }

    /// Who proposes. Default: the acceptors.
    #[must_use]
    pub fn proposers(mut self, proposers: impl IntoIterator<Item = NodeId>) -> Self {
        self.proposers = Some(proposers.into_iter().collect());
        self
    }

    /// Who learns, the distinguished one first. Default: the acceptors. A proposer that is no
    /// learner hears of votes in its own ballots only; let those at which clients wait be learners.
    #[must_use]
    pub fn learners(mut self, learners: impl IntoIterator<Item = NodeId>) -> Self {
        self.learners = Some(learners.into_iter().collect());
        self
    }

    /// The proposer that the others leave it to as long as it is heard of (*Paxos Made Simple*,
    /// §2.4), and that opens the fast round where there are any (its coordinator). Default: none.
    #[must_use]
    pub const fn distinguished(mut self, proposer: NodeId) -> Self {
        self.distinguished = Some(proposer);
        self
    }

    /// Who hears of votes first. Default: everyone.
    #[must_use]
    pub const fn learning(mut self, learning: Learning) -> Self {
        self.learning = learning;
        self
    }

    /// What becomes of collisions in fast rounds. Default: coordinated recovery.
    #[must_use]
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Where this life's randomness comes from: fresh for every start of a process. Default: the
    /// node's id, fit for tests only.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long a proposer waits for acceptors before it asks them again, or gives up a fast round
    /// that is not decided. Default: 200 ms.
    #[must_use]
    pub const fn round_timeout(mut self, timeout: Duration) -> Self {
        self.timing.round = timeout;
        self
    }

    /// How long a proposer leaves its value to the distinguished one or to a fast round before it
    /// opens a ballot of its own. Default: 600 ms.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.timing.patience = patience;
        self
    }

    /// How long a learner that has heard of votes waits for more before it asks. Default: 400 ms.
    #[must_use]
    pub const fn learn_timeout(mut self, timeout: Duration) -> Self {
        self.timing.learn = timeout;
        self
    }

    /// How long a proposer whose ballot was refused waits before the next: drawn anew each time from
    /// a range that begins with the shorter time, doubles with each refusal and ends with the longer
    /// one. Default: 5 ms to 1 s.
    #[must_use]
    pub const fn back_off(mut self, range: core::ops::RangeInclusive<Duration>) -> Self {
        self.timing.back_off_min = *range.start();
        self.timing.back_off_max = *range.end();
        self
    }

    /// The most proposals that wait at one node, other nodes' among them. Default: 64.
    #[must_use]
    pub const fn max_proposals(mut self, proposals: usize) -> Self {
        self.max_proposals = proposals;
        self
    }

    /// The longest value, in bytes. Default: 1 MiB.
    #[must_use]
    pub const fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Breaks the protocol in one classic way, so that a checker can prove that it would notice.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn danger_plant(mut self, bug: super::planted::Bug) -> Self {
        self.planted = Some(bug);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first rule that is broken.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.assemble()?;
        let timing = &config.timing;
        let times = [
            ("round_timeout", timing.round),
            ("patience", timing.patience),
            ("learn_timeout", timing.learn),
            ("back_off_min", timing.back_off_min),
        ];
        if let Some((name, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return Err(ConfigError::Zero { name });
        }
        if timing.back_off_max <= timing.back_off_min {
            return Err(ConfigError::NotSpread {
                min: timing.back_off_min,
                max: timing.back_off_max,
            });
        }
        Ok(config)
    }

    /// Checks the settings for a model checker: time stands still, and all timers are due at once.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as [`build`](Self::build).
    pub fn for_exploration(self) -> Result<Config, ConfigError> {
        let mut config = self.build()?;
        config.timing = Timing {
            round: Duration::ZERO,
            patience: Duration::ZERO,
            learn: Duration::ZERO,
            back_off_min: Duration::ZERO,
            back_off_max: Duration::ZERO,
        };
        Ok(config)
    }

    fn assemble(self) -> Result<Config, ConfigError> {
        let phases = match self.acceptors {
            Acceptors::Unknown => return Err(ConfigError::NoAcceptors),
            Acceptors::Majority(nodes) => majorities(nodes, false)?,
            Acceptors::Fast(nodes) => majorities(nodes, true)?,
            Acceptors::Phases(phases) => phases,
        };
        let acceptors = || phases.members().to_vec();
        let config = Config {
            id: self.id,
            proposers: self.proposers.unwrap_or_else(acceptors),
            learners: self.learners.unwrap_or_else(acceptors),
            phases,
            distinguished: self.distinguished,
            learning: self.learning,
            recovery: self.recovery,
            seed: self.seed,
            timing: self.timing,
            max_proposals: self.max_proposals,
            max_value_bytes: self.max_value_bytes,
            #[cfg(feature = "planted")]
            planted: self.planted,
        };
        config.check()?;
        Ok(config)
    }
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        for (role, nodes) in [("proposers", &self.proposers), ("learners", &self.learners)] {
            if nodes.is_empty() {
                return Err(ConfigError::Nobody { role });
            }
            let twice = |(place, node): (usize, &NodeId)| nodes[..place].contains(node);
            if let Some(place) = nodes.iter().enumerate().position(twice) {
                let node = nodes[place];
                return Err(ConfigError::Duplicate { role, node });
            }
        }
        if !self.is_member(self.id) {
            return Err(ConfigError::NoRole { node: self.id });
        }
        match self.distinguished {
            Some(node) if !self.proposers.contains(&node) => {
                return Err(ConfigError::NotAProposer { node });
            }
            None if self.phases.fast().is_some() => return Err(ConfigError::NoCoordinator),
            Some(_) | None => {}
        }
        let (first, learners) = (self.first_learners(), self.learners.len());
        if first > learners {
            return Err(ConfigError::TooFewLearners { first, learners });
        }
        let limits = [
            ("learning", first),
            ("max_proposals", self.max_proposals),
            ("max_value_bytes", self.max_value_bytes),
        ];
        match limits.into_iter().find(|(_, limit)| *limit == 0) {
            Some((name, _)) => Err(ConfigError::Zero { name }),
            None => Ok(()),
        }
    }
}

/// Majorities, and beside them the smallest safe fast quorums: of the nodes outside of a smallest
/// phase-1 quorum all, and of those in it more than half, so that two of them meet there.
fn majorities(nodes: Vec<NodeId>, fast: bool) -> Result<PaxosPhases, ConfigError> {
    let unusable = |error| ConfigError::Quorums(synod_quorum::SystemError::from(error));
    if !fast {
        return PaxosPhases::majority(nodes).map_err(unusable);
    }
    let all = nodes.len();
    let most = all / 2 + 1;
    let need = (all + 1).saturating_sub(most.div_ceil(2));
    let classic = Quorum::majority(nodes.iter().copied()).map_err(unusable)?;
    let fast = Quorum::count(need, nodes).map_err(unusable)?;
    Ok(PaxosPhases::with_fast(&classic, &classic, &fast)?)
}
