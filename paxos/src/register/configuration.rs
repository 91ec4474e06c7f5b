//! Who decides: the acceptors and their quorums, and the steps by which they change.
//!
//! A configuration is the value of a register ([`Key::Configuration`](crate::register::Key)), so
//! that there is one for each epoch whoever asks for a step. Acceptors answer only messages of
//! their own epoch, and never go back to an earlier one.
//!
//! Why a step loses nothing (CASPaxos §2.3; Howard et al., *Flexible Paxos*, 2016; Lamport, Malkhi,
//! Zhou, *Vertical Paxos*, 2009). Read the epoch as the highest part of each ballot: votes are
//! compared by epoch, then by ballot. What is left is one Paxos in which each ballot has quorums of
//! its own, and that is safe if a quorum of phase 1 meets every quorum of phase 2 by which a lower
//! ballot may have chosen something:
//!
//! 1. [`Configuration::step`] proves that the new quorums of phase 1 meet the new ones of phase 2,
//!    and those of the configuration before.
//! 2. What was chosen in earlier epochs rests on quorums of phase 2 of which step 1 says nothing:
//!    a configuration remembers these as [`unsettled`](Configuration::unsettled), and a step must
//!    meet them, too. [`Step::Settle`] is the paper's rescan: each state is chosen once more in
//!    the epoch at hand, and only then are the old quorums forgotten. The paper's warning of §2.3.2
//!    (acceptors replaced one after the other until all data is gone) is that proof, refused.
//! 3. A node that joins starts empty, whatever it once held: [`Member::since`] tells it. So it must
//!    not be one on which something unsettled rests. (It starts empty because a register may have
//!    been purged while it was away.)
//! 4. Of a register that was purged nothing is left but the floors of those who held it (`purge.rs`).
//!    Every phase-1 quorum has one of them for as long as their quorums are unsettled, by 1 and 2. When
//!    they are settled, the floors of a phase-1 quorum become that of the configuration
//!    ([`Configuration::floor`]), which all its acceptors take on. Otherwise, once the last of them is
//!    replaced, a register would be made anew with a version below that of its last life, and a
//!    fencing number would go back.
//!
//! The paper takes the steps proposer by proposer, so that old and new quorums are in use at the same
//! time, and needs them to meet in both directions. With epochs one direction suffices.

use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode, NodeId};
use synod_quorum::{PaxosPhases, Quorum, QuorumError, SystemError};

use crate::Ballot;

/// An acceptor of a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Member {
    /// Which node.
    pub node: NodeId,
    /// The epoch since which it has been one without a break.
    pub since: u64,
}

/// The acceptors and quorums of one epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Configuration {
    epoch: u64,
    phases: PaxosPhases,
    members: Vec<Member>,
    unsettled: Vec<Quorum>,
    floor: Ballot,
}

/// How a configuration changes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Step {
    /// Other acceptors or quorums.
    Phases(PaxosPhases),
    /// Chooses every state once more under the quorums in force (the paper's rescan), so that
    /// nothing rests on earlier ones.
    Settle,
}

/// Why a step would lose what was chosen, or is none. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A later ballot would not hear of what was chosen.
    #[error("what was chosen would be lost: {0}")]
    Loses(SystemError),
    /// Something chosen may rest on what the node held before, and a node joins empty.
    #[error("{node} cannot come back before the configuration is settled")]
    TooEarly {
        /// Which one.
        node: NodeId,
    },
    /// Too many systems are unsettled.
    #[error("{count} earlier quorum systems are unsettled, the limit is {limit}: settle first")]
    Unsettled {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// There is nothing to do.
    #[error("the step changes nothing")]
    Nothing,
}

impl Configuration {
    /// The most earlier quorum systems that may be unsettled.
    pub const MAX_UNSETTLED: usize = 4;

    /// The longest encoding that is read, in bytes.
    pub(crate) const MAX_BYTES: usize = 1 << 16;

    /// That of the founders, in epoch 0.
    #[must_use]
    pub fn founding(phases: PaxosPhases) -> Self {
        let phases = classic(&phases).unwrap_or(phases);
        let member = |node: &NodeId| Member {
            node: *node,
            since: 0,
        };
        let members = phases.members().iter().map(member).collect();
        Self {
            epoch: 0,
            phases,
            members,
            unsettled: Vec::new(),
            floor: Ballot::START,
        }
    }

    /// A majority of `nodes` for each phase, in epoch 0.
    ///
    /// # Errors
    ///
    /// No node, a node twice, or too many.
    pub fn majority(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, QuorumError> {
        PaxosPhases::majority(nodes).map(Self::founding)
    }

    /// The number of steps since the founding.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Its quorums.
    #[must_use]
    pub const fn phases(&self) -> &PaxosPhases {
        &self.phases
    }

    /// Its acceptors, ascending.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Since when `node` has been an acceptor.
    #[must_use]
    pub fn member_since(&self, node: NodeId) -> Option<u64> {
        let place = self.members.binary_search_by_key(&node, |it| it.node);
        place.ok().map(|place| self.members[place].since)
    }

    /// The phase-2 quorums of earlier epochs on which something chosen may still rest.
    #[must_use]
    pub fn unsettled(&self) -> &[Quorum] {
        &self.unsettled
    }

    /// What each of its acceptors promises for every register that is not there: no register that was
    /// purged before it was last settled is made anew with an older version.
    #[must_use]
    pub const fn floor(&self) -> Ballot {
        self.floor
    }

    pub(crate) fn raise_floor(&mut self, floor: Ballot) {
        self.floor = self.floor.max(floor);
    }

    /// The configuration after a step. [`Step::Settle`] is taken here without its work: a node
    /// does that first.
    ///
    /// # Errors
    ///
    /// [`StepError`]: the quorums are not proved to meet where the argument at the head of this
    /// file needs it.
    pub fn step(&self, step: &Step) -> Result<Self, StepError> {
        match step {
            Step::Phases(phases) => self.with_phases(phases),
            Step::Settle if self.unsettled.is_empty() => Err(StepError::Nothing),
            Step::Settle => Ok(Self {
                epoch: self.epoch + 1,
                unsettled: Vec::new(),
                ..self.clone()
            }),
        }
    }

    fn with_phases(&self, phases: &PaxosPhases) -> Result<Self, StepError> {
        let phases = &classic(phases).map_err(StepError::Loses)?;
        if *phases == self.phases {
            return Err(StepError::Nothing);
        }
        let mut unsettled = self.unsettled.clone();
        if *phases.phase2() != *self.phases.phase2() && !unsettled.contains(self.phases.phase2()) {
            unsettled.push(self.phases.phase2().clone());
        }
        for old in &unsettled {
            PaxosPhases::new(phases.phase1(), old).map_err(StepError::Loses)?;
        }
        if unsettled.len() > Self::MAX_UNSETTLED {
            return Err(StepError::Unsettled {
                count: unsettled.len(),
                limit: Self::MAX_UNSETTLED,
            });
        }
        let epoch = self.epoch + 1;
        let mut members = Vec::with_capacity(phases.members().len());
        for &node in phases.members() {
            let since = self.member_since(node);
            if since.is_none() && unsettled.iter().any(|old| old.position(node).is_some()) {
                return Err(StepError::TooEarly { node });
            }
            members.push(Member {
                node,
                since: since.unwrap_or(epoch),
            });
        }
        Ok(Self {
            epoch,
            phases: phases.clone(),
            members,
            unsettled,
            floor: self.floor,
        })
    }

    /// The next step on the way to `target`, or `None` once it is in force and settled.
    ///
    /// At most four steps lead there. Where the target cannot be reached in one (CASPaxos §2.3.1,
    /// from an odd to an even number), it goes by quorums of phase 2 that are quorums of both, the
    /// old and the new, and by a rescan.
    ///
    /// # Errors
    ///
    /// [`StepError`] if no such way can be proved.
    pub fn toward(&self, target: &PaxosPhases) -> Result<Option<Step>, StepError> {
        if self.phases == *target {
            return Ok((!self.unsettled.is_empty()).then_some(Step::Settle));
        }
        let direct = Step::Phases(target.clone());
        if self.step(&direct).is_ok() {
            return Ok(Some(direct));
        }
        if !self.unsettled.is_empty() {
            return Ok(Some(Step::Settle));
        }
        let both = Quorum::joint(self.phases.phase2(), target.phase2())
            .map_err(|error| StepError::Loses(error.into()))?;
        let between = PaxosPhases::new(self.phases.phase1(), &both).map_err(StepError::Loses)?;
        let step = Step::Phases(between);
        self.step(&step).map(|_| Some(step))
    }
}

/// Version 1.
impl Encode for Configuration {
    fn encode(&self, out: &mut BytesMut) {
        1_u8.encode(out);
        self.epoch.encode(out);
        put(self.phases.phase1(), out);
        put(self.phases.phase2(), out);
        let members = self.members.iter();
        let members: Vec<_> = members.map(|member| (member.node, member.since)).collect();
        members.encode(out);
        synod_core::codec::encode_len(self.unsettled.len(), out);
        self.unsettled.iter().for_each(|quorum| put(quorum, out));
        self.floor.encode(out);
    }
}

impl Decode for Configuration {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let found = u8::decode(input)?;
        if found != 1 {
            return Err(DecodeError::Version {
                what: "configuration",
                found,
                supported: 1,
            });
        }
        let epoch = u64::decode(input)?;
        let (phase1, phase2) = (take(input)?, take(input)?);
        let phases = PaxosPhases::new(&phase1, &phase2)
            .map_err(|_| invalid("has quorums that do not meet"))?;
        let members: Vec<(NodeId, u64)> = Vec::decode(input)?;
        let named = members.iter().map(|(node, _)| node);
        if !named.eq(phases.members()) || members.iter().any(|(_, since)| *since > epoch) {
            return Err(invalid("names other members than its quorums"));
        }
        let count = synod_core::codec::decode_count(input, "unsettled quorums")?;
        if count > Self::MAX_UNSETTLED {
            return Err(DecodeError::TooLong {
                what: "unsettled quorums",
                len: count as u64,
                limit: Self::MAX_UNSETTLED as u64,
            });
        }
        let mut unsettled = vec![];
        for _ in 0..count {
            unsettled.push(take(input)?);
        }
        let member = |(node, since)| Member { node, since };
        Ok(Self {
            epoch,
            phases,
            members: members.into_iter().map(member).collect(),
            unsettled,
            floor: Ballot::decode(input)?,
        })
    }
}

/// Without fast quorums: there are no fast rounds here.
fn classic(phases: &PaxosPhases) -> Result<PaxosPhases, SystemError> {
    match phases.fast() {
        Some(_) => PaxosPhases::new(phases.phase1(), phases.phase2()),
        None => Ok(phases.clone()),
    }
}

fn put(quorum: &Quorum, out: &mut BytesMut) {
    Bytes::from(quorum.encode()).encode(out);
}

fn take(input: &mut Bytes) -> Result<Quorum, DecodeError> {
    let bytes = Bytes::decode(input)?;
    if bytes.len() > Configuration::MAX_BYTES {
        return Err(DecodeError::TooLong {
            what: "quorum system",
            len: bytes.len() as u64,
            limit: Configuration::MAX_BYTES as u64,
        });
    }
    Quorum::decode(&bytes).map_err(|_| invalid("has a quorum system that cannot be read"))
}

const fn invalid(why: &'static str) -> DecodeError {
    DecodeError::Invalid {
        what: "configuration",
        why,
    }
}
