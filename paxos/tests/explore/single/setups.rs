//! The explored decrees.

use synod_core::{Envelope, Generation, LinkId, NodeId};
use synod_paxos::single::planted::Bug;
use synod_paxos::single::{Body, Config, Message, Recovery};
use synod_quorum::{PaxosPhases, Quorum};

/// A decree and its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    acceptors: u64,
    proposers: &'static [u64],
    /// Proposers that are asked for a value of their own.
    pub(crate) values: &'static [u64],
    /// The acceptors in a fast quorum, if there are fast rounds.
    fast: Option<usize>,
    recovery: Recovery,
    /// The highest round that a proposer opens.
    pub(crate) rounds: u64,
    pub(crate) crashes: u8,
    /// Whether a learner may ask for a ballot at any time.
    nudged: bool,
    /// Whether it begins with an open fast ballot, that every acceptor has promised.
    pub(crate) opened: bool,
    /// Whether votes are lost on their way: what was chosen is counted from what was sent.
    pub(crate) blind: bool,
    /// Whose timers fire; everybody's if it is nobody's.
    pub(crate) awake: &'static [u64],
    /// Whether only the coordinator learns.
    lone: bool,
    /// How it begins: see [`Model::scripts`](crate::model::Model::scripts).
    pub(crate) script: &'static str,
    pub(crate) bug: Option<Bug>,
}

const CLASSIC: Setup = Setup {
    name: "3 acceptors, proposers apart, 2 rounds",
    acceptors: 3,
    proposers: &[11, 12],
    values: &[11, 12],
    fast: None,
    recovery: Recovery::Coordinated,
    rounds: 4,
    crashes: 0,
    nudged: false,
    opened: false,
    blind: false,
    awake: &[],
    lone: false,
    script: "",
    bug: None,
};

const FAST: Setup = Setup {
    name: "fast, 4 acceptors, 2 values",
    acceptors: 4,
    proposers: &[11, 12],
    values: &[11, 12],
    fast: Some(3),
    recovery: Recovery::Coordinated,
    rounds: 2,
    crashes: 0,
    nudged: false,
    opened: false,
    blind: false,
    awake: &[],
    lone: false,
    script: "",
    bug: None,
};

/// Three of four acceptors have chosen a value in a fast ballot, and the first voted for another.
pub(crate) const ONE_APART: &str = "
    11 proposes
    12 proposes
    1 any 1f.11
    2 any 1f.11
    3 any 1f.11
    4 any 1f.11
    1 propose - 12
    2 propose - 11
    3 propose - 11
    4 propose - 11
";

/// Of four acceptors two voted for one value in a fast ballot, and two for another.
pub(crate) const TWO_AND_TWO: &str = "
    11 proposes
    12 proposes
    1 any 1f.11
    2 any 1f.11
    3 any 1f.11
    4 any 1f.11
    1 propose - 12
    2 propose - 11
    3 propose - 11
    4 propose - 12
";

impl Setup {
    /// Two proposers and three acceptors on nodes of their own.
    pub(crate) const fn classic() -> Self {
        CLASSIC
    }

    /// The same with restarts.
    pub(crate) const fn crashing() -> Self {
        Self {
            name: "the same, 1 round each, 1 crash",
            rounds: 2,
            crashes: 1,
            ..CLASSIC
        }
    }

    /// Three nodes, each with all roles; two of them propose.
    pub(crate) const fn together() -> Self {
        Self {
            name: "3 nodes of all roles, 2 propose, 2 rounds",
            proposers: &[1, 2, 3],
            values: &[1, 2],
            ..CLASSIC
        }
    }

    /// A learner asks proposers for ballots.
    pub(crate) const fn nudged() -> Self {
        Self {
            name: "3 acceptors, 1 value, the other proposer is asked for ballots",
            values: &[11],
            nudged: true,
            ..CLASSIC
        }
    }

    pub(crate) const fn fast() -> Self {
        FAST
    }

    pub(crate) const fn fast_uncoordinated() -> Self {
        Self {
            name: "fast, 4 acceptors, 2 values, uncoordinated recovery",
            recovery: Recovery::Uncoordinated,
            rounds: 4,
            ..FAST
        }
    }

    pub(crate) const fn fast_crashing() -> Self {
        Self {
            name: "fast, 4 acceptors, 2 values, 1 crash",
            crashes: 1,
            ..FAST
        }
    }

    pub(crate) const fn fast_of_five() -> Self {
        Self {
            name: "fast, 5 acceptors, 2 values",
            acceptors: 5,
            fast: Some(4),
            ..FAST
        }
    }

    pub(crate) const fn with(self, bug: Option<Bug>) -> Self {
        Self { bug, ..self }
    }

    pub(crate) const fn with_rounds(self, rounds: u64) -> Self {
        Self { rounds, ..self }
    }

    pub(crate) const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Votes are lost, and only these nodes' timers fire.
    pub(crate) const fn blind(self, awake: &'static [u64]) -> Self {
        Self {
            blind: true,
            awake,
            ..self
        }
    }

    /// Only the coordinator learns, and only its timers fire.
    pub(crate) const fn calm(self) -> Self {
        Self {
            awake: &[11],
            lone: true,
            ..self
        }
    }

    pub(crate) const fn after(self, script: &'static str) -> Self {
        Self { script, ..self }
    }

    pub(crate) const fn opened(self, name: &'static str) -> Self {
        Self {
            name,
            opened: true,
            ..self
        }
    }

    /// The coordinator opens its fast ballot, and every acceptor promises it.
    pub(crate) fn opening(&self) -> String {
        if !self.opened {
            return String::new();
        }
        let coordinator = self.proposers[0];
        let ballot = format!("1f.{coordinator}");
        let mut script = format!("{coordinator} ticks\n");
        for acceptor in 1..=self.acceptors {
            script += &format!("{acceptor} prepare {ballot}\n");
        }
        for acceptor in 1..=self.acceptors {
            script += &format!("{coordinator} promise {ballot} {acceptor}\n");
        }
        script
    }

    /// How many acceptors have no other role: the first nodes.
    pub(crate) fn acceptors_apart(&self) -> usize {
        let apart = self.proposers.iter().all(|id| *id > self.acceptors);
        if apart { self.acceptors as usize } else { 0 }
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        let mut ids: Vec<_> = (1..=self.acceptors).map(NodeId).collect();
        ids.extend(self.proposers.iter().map(|id| NodeId(*id)));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(crate) fn config(&self, id: NodeId) -> Config {
        let acceptors = || (1..=self.acceptors).map(NodeId);
        let majority = Quorum::majority(acceptors()).unwrap();
        let proposers = self.proposers.iter().map(|id| NodeId(*id));
        let phases = match self.fast {
            None => PaxosPhases::majority(acceptors()).unwrap(),
            Some(need) => {
                let fast = Quorum::count(need, acceptors()).unwrap();
                PaxosPhases::with_fast(&majority, &majority, &fast).unwrap()
            }
        };
        let mut builder = Config::builder(id)
            .quorums(phases)
            .proposers(proposers.clone())
            .learners(proposers.take(if self.lone { 1 } else { usize::MAX }))
            .recovery(self.recovery);
        if self.fast.is_some() {
            builder = builder.distinguished(NodeId(self.proposers[0]));
        }
        if let Some(bug) = self.bug {
            builder = builder.danger_plant(bug);
        }
        builder.for_exploration().unwrap()
    }

    /// Messages that somebody may send at any time.
    pub(crate) fn spontaneous(&self) -> Vec<Envelope<Message>> {
        if !self.nudged {
            return Vec::new();
        }
        let (from, to) = (NodeId(self.proposers[0]), NodeId(self.proposers[1]));
        let message = Message {
            generation: Generation(from.0),
            body: Body::Complete,
        };
        vec![Envelope {
            from,
            to,
            link: LinkId(1),
            message,
        }]
    }
}
