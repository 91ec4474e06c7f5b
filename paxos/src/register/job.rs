//! What is to be done to a register, and what it comes to once the content is known.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{Decode, Encode, Instant, Ticket};

use crate::Ballot;
use crate::register::node::Node;
use crate::register::planted::planted;
use crate::register::types::{Before, State};
use crate::register::{Change, Configuration, Decision, Refusal, Version, Versioned};

/// One change, or one piece of the node's own work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Job {
    pub(crate) purpose: Purpose,
    /// Its own proposals that may have been accepted by some and are not known to be dead.
    tried: Vec<Tried>,
    /// Acceptors have no room for what it proposes.
    pub(crate) full: bool,
    /// When it is given up.
    pub(crate) until: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Purpose {
    /// A change of the application.
    Client { ticket: Ticket, change: Change },
    /// A step of the configuration.
    Configure {
        ticket: Ticket,
        next: Box<Configuration>,
    },
    /// Chooses what there is once more, under the quorums in force.
    Rewrite,
    /// Chooses a tombstone once more, to have it in a ballot of its own on every acceptor.
    Bury,
}

/// A proposal whose outcome is open.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Tried {
    ballot: Ballot,
    value: Option<Bytes>,
}

/// What follows from the content of a register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Plan {
    /// It stays as it is; this is told once that content is certain to stay.
    Keep(Telling),
    /// This is proposed.
    Propose(Option<Bytes>),
    /// The application is asked.
    Ask,
    /// It cannot be told any more whether an earlier proposal took effect.
    GiveUp,
    /// There is nothing to do.
    Nothing,
}

/// What is told at the end of a round.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Telling {
    /// What was made, if anything, and what is there since.
    Done(Option<Version>, Option<Versioned>),
    Refused(Refusal),
    Stepped,
    Rewritten,
    Buried,
}

/// The most proposals of one change that may be open.
const TRIES: usize = 16;

impl Job {
    pub(crate) const fn new(purpose: Purpose, until: Option<Instant>) -> Self {
        Self {
            purpose,
            tried: Vec::new(),
            full: false,
            until,
        }
    }

    pub(crate) const fn is_clients(&self) -> bool {
        matches!(self.purpose, Purpose::Client { .. })
    }

    pub(crate) const fn ticket(&self) -> Option<Ticket> {
        match self.purpose {
            Purpose::Client { ticket, .. } | Purpose::Configure { ticket, .. } => Some(ticket),
            Purpose::Rewrite | Purpose::Bury => None,
        }
    }

    /// Remembers a proposal whose outcome is open.
    pub(crate) fn doubt(&mut self, ballot: Ballot, value: Option<Bytes>) {
        self.tried.push(Tried { ballot, value });
    }

    /// Whether one of its proposals may have been accepted by somebody.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        !self.tried.is_empty()
    }

    /// What follows from `base`, which a quorum has promised to keep from older ballots.
    pub(crate) fn plan(&self, node: &Node, base: &State) -> Plan {
        if !planted!(node, RetryBlindly)
            && let Some(plan) = self.look_back(base)
        {
            return plan;
        }
        let plan = match &self.purpose {
            Purpose::Client { change, .. } => plan_change(change, base),
            Purpose::Configure { next, .. } => plan_step(node, next, base),
            Purpose::Rewrite => Plan::Keep(Telling::Rewritten),
            Purpose::Bury if base.value.is_none() => Plan::Keep(Telling::Buried),
            Purpose::Bury => Plan::Nothing,
        };
        match plan {
            Plan::Propose(_) if self.full => Plan::Keep(Telling::Refused(Refusal::Full)),
            Plan::Propose(_) if self.tried.len() >= TRIES => Plan::GiveUp,
            plan => plan,
        }
    }

    /// What became of its own proposals, if that decides.
    ///
    /// Contents form a chain (§2.2, "descendants"): each is made from the one before, which it
    /// names. A proposal is in it as `base`, right before `base`, or further back. So if `base`, or
    /// what it was made from, is one of ours, it took effect. If ours has a ballot above what
    /// `base` was made from and is not `base`, it is not in the chain: whoever made `base` from
    /// that would have met it. It will not get in either, once something above is chosen in its
    /// place, and nothing is told before that. Further back nobody remembers; and what was purged is
    /// further back than anything.
    fn look_back(&self, base: &State) -> Option<Plan> {
        let made = |ballot: Ballot| {
            let tried = self.tried.iter().find(|tried| tried.ballot == ballot)?;
            let done = tried.value.clone().map(|value| Versioned {
                version: Version(ballot),
                value,
            });
            Some(Plan::Keep(match self.purpose {
                Purpose::Configure { .. } => Telling::Stepped,
                Purpose::Client { .. } | Purpose::Rewrite | Purpose::Bury => {
                    Telling::Done(Some(Version(ballot)), done)
                }
            }))
        };
        let (before, horizon) = match base.before {
            Before::Version(version) => (made(version), version),
            Before::Nothing(floor) => (None, floor),
        };
        let lost = self.tried.iter().any(|tried| tried.ballot <= horizon);
        made(base.version)
            .or(before)
            .or_else(|| lost.then_some(Plan::GiveUp))
    }

    /// What the application's answer comes to.
    pub(crate) fn decided(decision: Decision, base: &State) -> Plan {
        match decision {
            Decision::Keep => Plan::Keep(Telling::Done(None, base.seen())),
            Decision::Write(value) => Plan::Propose(Some(value)),
            Decision::Delete if base.value.is_none() => Plan::Keep(Telling::Done(None, None)),
            Decision::Delete => Plan::Propose(None),
        }
    }
}

fn plan_change(change: &Change, base: &State) -> Plan {
    let condition = match change {
        Change::Write { when, .. } | Change::Delete { when } => Some(when),
        Change::Read | Change::Custom => None,
    };
    if condition.is_some_and(|when| !when.holds(base)) {
        let current = base.seen();
        return Plan::Keep(Telling::Refused(Refusal::Condition { current }));
    }
    match change {
        Change::Read => Plan::Keep(Telling::Done(None, base.seen())),
        Change::Write { value, .. } => Plan::Propose(Some(value.clone())),
        Change::Delete { .. } if base.value.is_none() => Plan::Keep(Telling::Done(None, None)),
        Change::Delete { .. } => Plan::Propose(None),
        Change::Custom => Plan::Ask,
    }
}

/// A step is taken from the configuration that is in the register, and from that only: so there is
/// one configuration for each epoch.
fn plan_step(node: &Node, next: &Configuration, base: &State) -> Plan {
    let chosen = chosen_epoch(base);
    if chosen + 1 == next.epoch() && node.epoch() == Some(chosen) {
        Plan::Propose(Some(next.to_bytes()))
    } else {
        let epoch = node.epoch().map_or(chosen, |epoch| epoch.max(chosen));
        Plan::Keep(Telling::Refused(Refusal::Overtaken { epoch }))
    }
}

/// The configuration in its register, if there has been a step.
pub(crate) fn chosen_configuration(state: &State) -> Option<Configuration> {
    let bytes = state.value.clone()?;
    Configuration::decode_all(bytes).ok()
}

fn chosen_epoch(state: &State) -> u64 {
    chosen_configuration(state).map_or(0, |configuration| configuration.epoch())
}
