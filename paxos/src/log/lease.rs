//! Leader leases (Lampson, *How to Build a Highly Available System Using Consensus*, 1996, §2.3; Gray,
//! Cheriton, *Leases*, 1989): for some time a quorum lets nobody else prepare, and so long the leader
//! knows by itself that it leads.
//!
//! With each heartbeat the leader asks for a lease. A voter that takes part in its ballot and grants it
//! promises no ballot of anybody else, and prepares none of its own, for so long from when the question
//! *came*. The leader counts from when it *asked*, less what clocks may drift apart meanwhile: so its
//! time is over first. It holds the lease while those who have granted it are a quorum of phase 2, which
//! meets every quorum of phase 1: nobody gets past phase 1, so nothing is chosen but by this leader.
//!
//! What that rests on besides: clocks that run, also while a process does not, and drift apart by no
//! more than was said. A grant is not written: who restarts lets nobody prepare for as long as it may
//! have granted.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use synod_core::{Instant, NodeId, Round};

use super::message::Body;
use super::node::Node;
use super::planted::planted;
use crate::Ballot;

/// For how long a lease is asked, and granted at most.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Terms {
    pub(crate) duration: Duration,
    pub(crate) max_drift: Duration,
}

/// What a voter has granted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Grant {
    /// Who may prepare nevertheless; nobody after a restart, which has forgotten to whom it was.
    holder: Option<NodeId>,
    ballot: Ballot,
    round: Round,
    until: Instant,
}

/// What a leader was granted.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Lease {
    /// The latest round of questions.
    round: Round,
    /// The rounds whose answers count, and when each was asked.
    asked: VecDeque<(Round, Instant)>,
    /// Until when each voter has granted it, counted from when it was asked.
    grants: Vec<(NodeId, Instant)>,
    /// It asks for none before: it hands over.
    quiet: Option<Instant>,
}

impl Lease {
    /// How many questions may be open: more are asked only where links come and go.
    const MOST: usize = 64;

    /// Asks all voters for a lease from now on.
    pub(crate) fn ask(&mut self, node: &mut Node) {
        let Some(terms) = node.config.lease else {
            return;
        };
        if self.quiet.is_some_and(|until| node.now < until) {
            return;
        }
        self.quiet = None;
        self.round.0 += 1;
        let over = |(_, at): &(Round, Instant), now| *at + terms.duration <= now;
        while self.asked.len() >= Self::MOST
            || self
                .asked
                .front()
                .is_some_and(|asked| over(asked, node.now))
        {
            self.asked.pop_front();
        }
        self.asked.push_back((self.round, node.now));
        self.say(node, terms.duration);
    }

    fn say(&self, node: &mut Node, duration: Duration) {
        let (me, round) = (node.id(), self.round);
        let nanos = nanos(duration);
        for peer in node.membership().voters().to_vec() {
            if peer != me {
                // Safe before any write: it asks.
                node.send_now(peer, Body::Lease { round, nanos });
            }
        }
    }

    /// Gives the lease up, before another node is told that it may prepare.
    pub(crate) fn give_up(&mut self, node: &mut Node) {
        if self.end(node).is_some() {
            self.say(node, Duration::ZERO);
        }
    }

    /// As [`give_up`](Self::give_up), where somebody else says so to the voters.
    pub(crate) fn end(&mut self, node: &Node) -> Option<Body> {
        node.config.lease?;
        // From here on it serves nothing by it: no earlier answer counts any more.
        self.asked.clear();
        self.grants.clear();
        self.round.0 += 1;
        self.quiet = Some(node.now + node.config.timing.round.saturating_mul(2));
        let (round, nanos) = (self.round, 0);
        Some(Body::Lease { round, nanos })
    }

    /// A voter has granted it.
    pub(crate) fn on_granted(&mut self, node: &mut Node, from: NodeId, round: Round, nanos: u64) {
        let asked = self.asked.iter().find(|(asked, _)| *asked == round);
        let (Some((_, sent)), Some(terms)) = (asked, node.config.lease) else {
            return node.drop_message();
        };
        let from_when = if planted!(node, LeaseFromAnswer) {
            node.now
        } else {
            *sent
        };
        let until = from_when + terms.duration.min(Duration::from_nanos(nanos));
        match self.grants.iter_mut().find(|(voter, _)| *voter == from) {
            Some((_, known)) => *known = until.max(*known),
            None if node.membership().is_voter(from) => self.grants.push((from, until)),
            None => node.drop_message(),
        }
    }

    /// Whether nobody else can have got past phase 1. Of this node's own promise no grant is needed: it
    /// leads no more when it gives another one.
    pub(crate) fn is_held(&self, node: &Node) -> bool {
        let (Some(terms), Some(phases)) = (node.config.lease, node.membership().phases()) else {
            return false;
        };
        let quorum = phases.phase2();
        let until = quorum.highest_by(|position| {
            let voter = quorum.members()[position];
            let grant = self.grants.iter().find(|(of, _)| *of == voter);
            match grant {
                _ if voter == node.id() => u64::MAX,
                Some((_, until)) => until.as_nanos(),
                None => 0,
            }
        });
        node.now + terms.max_drift < Instant::from_nanos(until)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Node {
    /// A start: whatever this node has granted before, it has forgotten.
    pub(crate) fn wait_for_leases(&mut self) {
        let alone = self.membership().voters() == [self.id()];
        if alone || planted!(self, GrantForgotten) {
            return;
        }
        self.grant = self.config.lease.map(|terms| Grant {
            holder: None,
            ballot: Ballot::START,
            round: Round(0),
            until: self.now + terms.duration,
        });
    }

    /// The epoch is over in which this node has granted what it has. Its voters prepare nothing any more,
    /// and no leader of it serves by a lease: the one that proposed the stop-sign does not from then on
    /// (`knows_all`), one of a higher ballot has found it and would have to choose it first, and
    /// the lease of one of a lower ballot was over before the first of these had its promises.
    ///
    /// What a restart has forgotten may have been granted in the epoch that is entered now, if that was not
    /// durable then: it is waited for all the same.
    pub(crate) fn leave_leases(&mut self) {
        self.grant.take_if(|grant| grant.holder.is_some());
    }

    /// Whether this node has granted that `proposer` does not prepare now.
    pub(crate) fn is_bound(&self, proposer: NodeId) -> bool {
        let binds = |grant: Grant| grant.until > self.now && grant.holder != Some(proposer);
        self.grant.is_some_and(binds) && !planted!(self, GrantNotKept)
    }

    /// The proposer of `ballot`, which leads, asks for a lease, or gives it up. `follows` is the highest
    /// ballot that this node has heard of anybody to stand with: if that is another one, it is not held
    /// off any longer.
    pub(crate) fn on_lease(
        &mut self,
        (from, ballot): (NodeId, Ballot),
        follows: Ballot,
        round: Round,
        nanos: u64,
    ) {
        let same = |grant: &Grant| grant.holder == Some(from) && grant.ballot == ballot;
        // A question that comes late or again: what was asked after it may have been to give it up.
        let old = self.grant.filter(same).is_some_and(|g| round <= g.round);
        // Who takes part in a higher ballot may have promised it before the lease began.
        let apt = self.is_voter() && ballot == self.promised && ballot.proposer == from;
        let Some(terms) = self.config.lease.filter(|_| apt && !old) else {
            return self.drop_message();
        };
        if nanos > 0 && (follows > ballot || !self.settled) {
            // Nor before the promise is durable: who restarts without it would take the leader of a
            // lower ballot, which asks too, for the one that it has granted a lease, and promise
            // that one a ballot above this. It is asked again with the next heartbeat.
            return;
        }
        let duration = terms.duration.min(Duration::from_nanos(nanos));
        // One that was granted to an earlier leader is over: this one has got past phase 1.
        let until = self.grant.map_or(self.now, |grant| grant.until);
        self.grant = Some(Grant {
            holder: Some(from),
            ballot,
            round,
            until: if nanos > 0 {
                until.max(self.now + duration)
            } else {
                self.now
            },
        });
        if nanos > 0 {
            let nanos = self::nanos(duration);
            // Safe before any write: a restart waits as long as if it had granted this, and still
            // promises this ballot.
            self.send_now(from, Body::Granted { round, nanos });
        }
    }
}
