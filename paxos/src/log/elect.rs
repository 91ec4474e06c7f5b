//! Who should lead: the ballot leader election of Omni-Paxos (Ng, Haridi, Carbone, *Omni-Paxos:
//! Breaking the Barriers of Partial Connectivity*, EuroSys 2023, §5.2).
//!
//! In each round a voter asks all others; who answers within the round is connected with it in both
//! directions. A voter is *content* if it hears its leader and that leader is content, and a leader if
//! enough follow it. Who is not content takes over if nobody that it hears is, and if those are a
//! quorum of phase 1: so one that has a quorum replaces a leader that has none, and one that merely
//! does not hear a leader with a quorum leaves it alone. Nobody compares logs: phase 1 fetches
//! what the new leader lacks.
//!
//! A leader that hears of a voter which has promised a higher ballot and hears nobody lead in that
//! takes over from itself: else that voter's vote would be missing until the next election.
//!
//! Only what a node says of itself raises the ballot that others follow, and what they have
//! promised; rumours do not, or ballots could outbid each other for ever (omnipaxos #1).

use alloc::vec::Vec;

use synod_core::{Instant, NodeId, Round, mix};
use synod_quorum::NodeSet;

use super::message::Body;
use super::node::Node;
use crate::Ballot;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Election {
    round: Round,
    /// When the round is over.
    pub(crate) ends: Instant,
    answers: Vec<Answer>,
    /// The ballot that this node stands with; its round is 0 if it does not.
    pub(crate) stands: Ballot,
    /// The ballot whose proposer it takes for the leader.
    pub(crate) follows: Ballot,
    pub(crate) content: bool,
    /// It follows another ballot since this round: give that one time to say that it is there.
    fresh: bool,
    /// A higher ballot is around: what this node stands with next is above it.
    floor: Ballot,
    /// It lets others of a higher priority go first since the last round.
    waited: bool,
    /// For how many rounds in a row it has led while there was one to hand over to.
    heir_for: u32,
    /// How often it has handed over because of priorities.
    heirs: u32,
}

/// What this node makes of the ballot that it stands with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Nothing: it has given it up, or stands with none.
    No,
    /// Phase 1.
    Preparing,
    /// Phase 2.
    Leading,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Answer {
    pub(crate) from: NodeId,
    pub(crate) stands: Ballot,
    pub(crate) follows: Ballot,
    pub(crate) content: bool,
    pub(crate) priority: u32,
}

impl Election {
    /// Nothing is known yet; the first round begins when it is asked for.
    pub(crate) fn new(node: &Node) -> Self {
        Self {
            round: Round(0),
            ends: node.now,
            answers: Vec::new(),
            // A proposer that starts again does not lead on with its last ballot.
            stands: Ballot {
                round: 0,
                proposer: node.id(),
            },
            follows: node.promised,
            content: false,
            fresh: false,
            floor: Ballot::START,
            waited: false,
            heir_for: 0,
            heirs: 0,
        }
    }

    /// Begins a round.
    pub(crate) fn begin(&mut self, node: &mut Node) {
        self.round.0 += 1;
        self.answers.clear();
        let length = node.config.timing.round;
        let spread = u64::try_from(length.as_nanos() / 4).unwrap_or(u64::MAX);
        let draw = mix(node.config.seed, mix(self.round.0, 0x726f_756e));
        let extra = if spread == 0 { 0 } else { draw % spread };
        self.ends = node.now + length + core::time::Duration::from_nanos(extra);
        let me = node.id();
        for peer in node.membership().voters().to_vec() {
            if peer != me {
                self.ask(node, peer);
            }
        }
    }

    /// Another epoch: answers of the one before do not count. Whoever leads next has a round to say so.
    pub(crate) fn enter(&mut self, node: &mut Node) {
        let me = node.id();
        let alone = node.membership().voters() == [me];
        self.content = !alone;
        self.fresh = !alone;
        self.answers.clear();
        self.ends = node.now;
        if node.is_voter() && !alone {
            self.begin(node);
        }
    }

    /// Asks one voter in this round.
    pub(crate) fn ask(&self, node: &mut Node, peer: NodeId) {
        // Safe before any write: a question promises nothing.
        node.send_now(peer, Body::Ask { round: self.round });
    }

    /// Answers a question.
    pub(crate) fn on_ask(&self, node: &mut Node, from: NodeId, round: Round) {
        let beat = Body::Beat {
            round,
            stands: self.stands,
            follows: self.follows,
            content: self.content,
            priority: node.config.priority,
        };
        if node.membership().contains(from) {
            // Safe before any write: nothing but the choice of who prepares next rests on it.
            node.send_now(from, beat);
        } else {
            // Once it is durable that this epoch has begun: who is left out goes when it hears that.
            // (One voter makes way for another and goes, while that one's disk fails: back in the
            // epoch before, it would wait for ever.)
            node.send(from, beat);
        }
    }

    /// An answer; it counts if it is the first of a voter in this round.
    pub(crate) fn on_beat(&mut self, node: &mut Node, round: Round, answer: Answer) {
        let Answer { from, stands, .. } = answer;
        let again = self.answers.iter().any(|answer| answer.from == from);
        let sound = stands.proposer == from && node.membership().is_voter(from);
        if round != self.round || again || !sound {
            return node.drop_message();
        }
        self.answers.push(answer);
    }

    /// This node has promised a ballot: it follows it.
    pub(crate) fn promised(&mut self, ballot: Ballot) {
        if ballot > self.follows {
            self.follows = ballot;
            self.content = true;
            self.fresh = true;
        }
    }

    /// Someone has promised a higher ballot than this node stands with.
    pub(crate) fn outbid(&mut self, by: Ballot) {
        self.floor = self.floor.max(by);
    }

    /// The end of a round; says whether this node should take over.
    pub(crate) fn judge(&mut self, node: &Node, standing: Standing) -> bool {
        let Some(phases) = node.membership().phases() else {
            return false;
        };
        let heard = self.answers.iter().map(|answer| answer.stands);
        // One that stands with nothing leads nobody.
        if let Some(highest) = heard.filter(|ballot| ballot.round > 0).max() {
            self.promised(highest);
        }
        let with_me = |nodes: &mut dyn Iterator<Item = NodeId>| -> NodeSet {
            phases.phase1().set(nodes.chain([node.id()]))
        };
        self.content = if core::mem::take(&mut self.fresh) {
            true
        } else if self.follows == self.stands && standing == Standing::No {
            false
        } else if self.follows == self.stands {
            let followers = self
                .answers
                .iter()
                .filter(|answer| answer.follows <= self.stands);
            let followers = with_me(&mut followers.map(|answer| answer.from));
            let needed = if standing == Standing::Leading {
                phases.phase2()
            } else {
                phases.phase1()
            };
            // One who prepares leaves a higher ballot alone that somebody is content with. One who leads
            // does not lead any more then: it has lost its quorum, and would keep what it was asked
            // without an answer for ever where it never hears of the new leader itself (M - V - L: L
            // leads, V comes to follow M, and M and L hear nothing of each other). V is content, so L
            // does not take over either.
            needed.is_quorum(followers)
                || (standing != Standing::Leading
                    && self
                        .answers
                        .iter()
                        .any(|answer| answer.follows > self.stands && answer.content))
        } else {
            self.answers
                .iter()
                .any(|answer| answer.stands == self.follows && answer.content)
        };
        if self.content && standing == Standing::Leading {
            // A voter that has promised a ballot of nobody who leads takes part in no lower one: the
            // leader has to go above it to have that one's vote again.
            let stranded = self.answers.iter().filter(|answer| !answer.content);
            let above = stranded.map(|answer| answer.follows).max();
            if let Some(above) = above.filter(|above| *above > self.stands) {
                self.outbid(above);
                return true;
            }
        }
        let alone = self.answers.iter().all(|answer| !answer.content);
        let connected = with_me(&mut self.answers.iter().map(|answer| answer.from));
        !self.content && alone && phases.phase1().is_quorum(connected)
    }

    /// Whether this node, which may take over, lets somebody of a higher priority go first: for one round,
    /// since that one may hear less than this node does.
    pub(crate) fn lets_others_go_first(&mut self, node: &Node, standing: Standing) -> bool {
        let priority = node.config.priority;
        let higher = self.answers.iter().any(|other| other.priority > priority);
        self.waited = higher && standing == Standing::No && !self.waited;
        self.waited
    }

    /// Nobody is to take over.
    pub(crate) const fn calm(&mut self) {
        self.waited = false;
    }

    /// Whom a leader that is content should hand over to: a voter of a higher priority that follows it
    /// and is `apt`. Only when one has been there for some rounds, and each time for twice as many, up to
    /// 256: whatever becomes of who takes over (it may hear too few to lead), priorities change the
    /// leader no more often than that.
    pub(crate) fn heir(
        &mut self,
        node: &Node,
        standing: Standing,
        apt: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        const SETTLED: u32 = 8;
        let priority = node.config.priority;
        let higher = self.answers.iter().filter(|answer| {
            let follows = answer.follows == self.stands && answer.content;
            answer.priority > priority && follows && apt(answer.from)
        });
        let heir = higher.max_by_key(|answer| (answer.priority, answer.from));
        let Some(heir) = heir.filter(|_| standing == Standing::Leading && self.content) else {
            self.heir_for = 0;
            return None;
        };
        self.heir_for = self.heir_for.saturating_add(1);
        if self.heir_for < SETTLED << self.heirs.min(5) {
            return None;
        }
        (self.heir_for, self.heirs) = (0, self.heirs.saturating_add(1));
        Some(heir.from)
    }

    /// A ballot of this node above all that it has heard of.
    pub(crate) fn stand(&mut self, node: &Node) -> Ballot {
        let highest = self.follows.max(self.stands).max(self.floor);
        self.stands = highest.max(node.promised).next_classic(node.id());
        self.follows = self.stands;
        self.content = true;
        self.fresh = true;
        self.heir_for = 0;
        self.stands
    }
}
