//! A log that survives its nodes: what Raft, Multi-Paxos and ZAB have in common.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::{
    Entries, EntryKind, Generation, Instant, LogIndex, LogLoad, LogLoaded, LogRecord, Machine,
    NodeId, SnapshotMeta, Ticket,
};

/// A replicated log: interchangeable by type under the same driver, service and simulator.
pub trait ReplicatedLog:
    Machine<
        Command = LogCommand,
        Reply = Result<Option<Ticket>, Rejected>,
        Record = LogRecord,
        Load = LogLoad,
        Loaded = LogLoaded,
        Event = LogEvent<<Self as ReplicatedLog>::Detail>,
    >
{
    /// The protocol's own events.
    type Detail: fmt::Debug;

    /// Proposes a command for the log. The ticket resolves exactly once: as committed, displaced,
    /// refused or unknown.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the command: nothing has happened and nothing will.
    fn propose(&mut self, now: Instant, command: Bytes) -> Result<Ticket, Rejected>;

    /// Asks from which index on the state machine may answer a query at `level`.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: nothing has happened and nothing will.
    fn read(&mut self, now: Instant, level: ReadLevel) -> Result<Ticket, Rejected>;

    /// Proposes a change of the membership.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: nothing has happened and nothing will.
    fn reconfigure(&mut self, now: Instant, change: Change) -> Result<Ticket, Rejected>;

    /// Asks this leader to hand over to `to`.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: nothing has happened and nothing will.
    fn transfer(&mut self, now: Instant, to: NodeId) -> Result<(), Rejected>;

    /// Learns that the state machine has applied everything up to and with `through`: bounds
    /// memory, trimming, and what is handed out.
    fn applied(&mut self, now: Instant, through: LogIndex);

    /// What a snapshot of the state machine at `applied` is to be called; `None` if that is not a
    /// committed place of this log any more or yet. The caller fills in the size.
    fn describe(&self, applied: LogIndex) -> Option<SnapshotMeta>;

    /// Learns that this snapshot is durable and current in the same storage, so that entries that
    /// it covers may go.
    fn compact(&mut self, now: Instant, snapshot: SnapshotMeta);

    /// How things stand.
    fn status(&self) -> Status;
}

/// The methods of [`ReplicatedLog`] as data.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogCommand {
    /// See [`ReplicatedLog::propose`].
    Propose(Bytes),
    /// See [`ReplicatedLog::read`].
    Read(ReadLevel),
    /// See [`ReplicatedLog::reconfigure`].
    Reconfigure(Change),
    /// See [`ReplicatedLog::transfer`].
    Transfer(NodeId),
    /// See [`ReplicatedLog::applied`].
    Applied(LogIndex),
    /// See [`ReplicatedLog::compact`].
    Compact(SnapshotMeta),
}

impl LogCommand {
    /// Gives this command to a log: what every [`Machine::call`] of a replicated log does.
    ///
    /// # Errors
    ///
    /// What the method that it stands for returns.
    pub fn give<L: ReplicatedLog + ?Sized>(
        self,
        log: &mut L,
        now: Instant,
    ) -> Result<Option<Ticket>, Rejected> {
        match self {
            Self::Propose(command) => log.propose(now, command).map(Some),
            Self::Read(level) => log.read(now, level).map(Some),
            Self::Reconfigure(change) => log.reconfigure(now, change).map(Some),
            Self::Transfer(to) => log.transfer(now, to).map(|()| None),
            Self::Applied(through) => {
                log.applied(now, through);
                Ok(None)
            }
            Self::Compact(snapshot) => {
                log.compact(now, snapshot);
                Ok(None)
            }
        }
    }
}

/// What the application learns from a replicated log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogEvent<D> {
    /// These entries are committed, durable here, and next in order for the state machine.
    Committed(Committed),
    /// A read may be answered from a state machine that has applied `index`. It comes after
    /// [`Committed`](Self::Committed) for that index, so who applies in order may answer at once.
    Read {
        /// The read.
        ticket: Ticket,
        /// The place to have applied.
        index: LogIndex,
    },
    /// This proposal did not and will not happen: another entry took its place.
    Displaced(Ticket),
    /// This proposal or read was not accepted where it was forwarded to: it did not and will not
    /// happen.
    Refused(Ticket, Refusal),
    /// This node can no longer tell what becomes of this proposal or read. Said too where a value
    /// was committed that has the proposal's bytes and may yet be another's: bytes name nothing.
    Unknown(Ticket),
    /// The state machine must be replaced by this snapshot, which is current in the storage. By the
    /// time that this is acted on, a newer one may be: then it cannot be loaded any more, another
    /// of these events follows, and what is committed before that is skipped.
    Restore(SnapshotMeta),
    /// This node's part has changed.
    Role(RoleChange),
    /// This node has stopped for good: going on could break what was promised. Its driver ends.
    Stopped(FailStop),
    /// Something of the protocol's own.
    Detail(D),
}

/// Committed entries in order and without a gap.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Committed {
    /// The entries.
    pub entries: Entries,
    /// The ticket of the first entry, if they were proposed here; each further entry has the
    /// ticket after the one before.
    pub ticket: Option<Ticket>,
}

impl Committed {
    /// Every entry with its place and the ticket it was proposed under.
    pub fn iter(&self) -> impl Iterator<Item = (LogIndex, EntryKind, &Bytes, Option<Ticket>)> {
        self.entries
            .as_slice()
            .iter()
            .enumerate()
            .map(|(k, entry)| {
                let k = k as u64;
                let ticket = self.ticket.map(|first| Ticket(first.0 + k));
                (
                    self.entries.first().plus(k),
                    entry.kind,
                    &entry.payload,
                    ticket,
                )
            })
    }

    /// The last place.
    #[must_use]
    pub const fn last(&self) -> LogIndex {
        self.entries.last()
    }
}

/// How fresh an answer must be: the same choice for every protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReadLevel {
    /// Sees every write that was acknowledged before the read began, anywhere: leadership is
    /// confirmed by a quorum after the read arrived.
    Linearizable,
    /// As [`Linearizable`](Self::Linearizable) while clocks drift no more than the configured
    /// bound; no message is needed within a lease.
    Lease,
    /// Sees at least what the token's holder has seen or written: read-your-writes and monotonic
    /// reads on any replica.
    Session(SessionToken),
    /// Whatever this replica has, at once.
    Stale,
}

/// A place in the log that a client has seen: what a write or read returned to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionToken(pub LogIndex);

/// A change of the membership.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Change {
    /// Adds a node that receives the log and does not vote.
    AddLearner(NodeId),
    /// Removes a node that does not vote.
    RemoveLearner(NodeId),
    /// Replaces the voters.
    Voters(Vec<NodeId>),
}

/// A refusal on the spot: nothing has happened and nothing will.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{refusal}{}", Hint(*leader))]
pub struct Rejected {
    /// The command, handed back; `None` for what carries none.
    pub command: Option<Bytes>,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Why.
    pub refusal: Refusal,
}

struct Hint(Option<NodeId>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(leader) => write!(f, " (the leader is {leader})"),
            None => Ok(()),
        }
    }
}

/// Why something was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// This node does not lead and does not forward.
    #[error("this node is not the leader")]
    NotLeader,
    /// No leader is known; an election may be under way.
    #[error("no leader is known")]
    NoLeader,
    /// The command is longer than the limit.
    #[error("the command has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too much is under way; try again later.
    #[error("{what} would exceed the limit of {limit}")]
    Busy {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not available in this protocol or this version.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// Another change of the membership is not committed yet.
    #[error("another membership change is under way at {0}")]
    ChangeUnderWay(LogIndex),
    /// The change makes no sense.
    #[error("{node} {rule}")]
    BadChange {
        /// The node it is about.
        node: NodeId,
        /// What is wrong.
        rule: &'static str,
    },
    /// No answer came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// The node has stopped.
    #[error("this node has stopped")]
    Stopped,
}

/// What a node does in its protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Role {
    /// Accepts proposals and replicates them.
    Leader,
    /// Receives the log and votes.
    Follower,
    /// Tries to become leader.
    Candidate,
    /// Receives the log and does not vote.
    Learner,
    /// Has stopped for good.
    Stopped,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        })
    }
}

/// A node's part has changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RoleChange {
    /// The new part.
    pub role: Role,
    /// The term, ballot round or epoch.
    pub era: u64,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Why, for logs and traces.
    pub why: &'static str,
}

/// Why a node stopped: input that the protocol makes impossible, with the evidence.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{rule}: {evidence}")]
pub struct FailStop {
    /// The rule that was broken.
    pub rule: &'static str,
    /// What showed it.
    pub evidence: alloc::string::String,
}

/// How things stand with a replicated log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// The life of its storage.
    pub generation: Generation,
    /// Its part.
    pub role: Role,
    /// Term, ballot round or epoch.
    pub era: u64,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// The last committed entry that this node knows of.
    pub committed: LogIndex,
    /// The last entry that the state machine has applied.
    pub applied: LogIndex,
    /// The last entry that is durable here.
    pub durable: LogIndex,
    /// The last entry.
    pub last: LogIndex,
    /// The last entry that was compacted away.
    pub compacted: LogIndex,
    /// The last entry that the current snapshot covers.
    pub snapshot: LogIndex,
    /// Entries held in memory, in bytes by [`Entry::weight`](crate::Entry::weight).
    pub log_bytes: usize,
    /// Entries proposed and not committed, in bytes; 0 unless this node leads.
    pub uncommitted_bytes: usize,
    /// The others, as this leader sees them; empty unless this node leads.
    pub peers: Vec<PeerStatus>,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who receives the log and does not vote.
    pub learners: Vec<NodeId>,
    /// Messages of peers that were dropped because they made no sense.
    pub dropped_messages: u64,
}

/// How things stand with one peer, as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
    /// Whether a link to it is up.
    pub linked: bool,
    /// The last entry that is durable there.
    pub matched: LogIndex,
    /// The next entry to send.
    pub next: LogIndex,
    /// Entries on their way, in bytes.
    pub in_flight_bytes: usize,
    /// What it is being sent.
    pub state: &'static str,
    /// When it last answered.
    pub heard: Option<Instant>,
}
