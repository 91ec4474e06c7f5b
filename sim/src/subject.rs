//! What is simulated: a machine, and how its nodes start.

use alloc::boxed::Box;
use core::fmt;

use bytes::{Bytes, BytesMut};
use synod_core::frame::{read_frame, write_frame};
use synod_core::{
    Decode, Encode, Envelope, GroupId, Instant, LogImage, Machine, NodeId, ReadLevel,
    ReplicatedLog, Restored, Rng,
};

use crate::check::Observer;
use crate::device::Device;
use crate::disk::Disk;
use crate::plan::{Budget, Plan};

/// What peers of a subject exchange.
pub type Message<S> = <<S as Subject>::Machine as Machine>::Message;
/// What a subject writes.
pub type Record<S> = <<S as Subject>::Machine as Machine>::Record;
/// What a subject reads back.
pub type Load<S> = <<S as Subject>::Machine as Machine>::Load;
/// What an application learns from a subject.
pub type Event<S> = <<S as Subject>::Machine as Machine>::Event;
/// What an application asks of a subject.
pub type Command<S> = <<S as Subject>::Machine as Machine>::Command;
/// What it is told at once.
pub type Reply<S> = <<S as Subject>::Machine as Machine>::Reply;
/// What a start of a subject finds on its disk.
pub type Found<S> = <<S as Subject>::Disk as Disk>::Restored;

/// A machine under test.
pub trait Subject: Sync {
    /// One node of it.
    type Machine: Machine<
            Message: Clone + fmt::Debug + PartialEq,
            Record: Clone + fmt::Debug,
            Load: fmt::Debug,
            Loaded: fmt::Debug,
        >;

    /// What its records mean: [`LogImage`] for a replicated log, [`Latest`](crate::Latest) and
    /// [`Journal`](crate::Journal) for most others.
    type Disk: Disk<
            Record = <Self::Machine as Machine>::Record,
            Load = <Self::Machine as Machine>::Load,
            Loaded = <Self::Machine as Machine>::Loaded,
        >;

    /// Starts a node from what its disk holds: the first time from an empty one. A log is told next
    /// how far its state machine is.
    ///
    /// # Panics
    ///
    /// If the node refuses to start: a failure of the run.
    fn start(&self, start: Start<'_, Found<Self>>) -> Self::Machine;

    /// Checks the invariants of one node alone; called after every step. For logs, while they are
    /// short; the longer a log, the more steps pass in between (one for 16 entries).
    ///
    /// # Panics
    ///
    /// If one is broken: a failure of the run.
    fn check(&self, machine: &Self::Machine) {
        let _ = machine;
    }

    /// How many nodes found a cluster: each seed draws one of these.
    fn sizes(&self) -> &[usize] {
        &[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 6, 7]
    }

    /// Whether the protocol rests on links that keep order and lose nothing in one incarnation. If
    /// not, most seeds reorder, repeat and lose single messages.
    fn needs_order(&self) -> bool {
        false
    }

    /// What the protocol survives with so many founding nodes, beyond crashes and what networks do.
    /// Nothing, unless it says so.
    fn budget(&self, voters: usize) -> Budget {
        let _ = voters;
        Budget::default()
    }

    /// What the nodes of a run promise to keep within; checked after every step.
    fn bounds(&self, plan: &Plan) -> Bounds {
        let _ = plan;
        Bounds::default()
    }

    /// To whom the sender of this message binds itself, and for which era: in an era a node binds
    /// itself once, over all its lives (Raft §5.2: one vote per term).
    fn vow(&self, envelope: &Envelope<Message<Self>>) -> Option<(u64, NodeId)> {
        let _ = envelope;
        None
    }

    /// How messages become bytes, if they do: then some seeds send bytes and flip bits in them.
    fn wire(&self) -> Option<&dyn Wire<Message<Self>>> {
        None
    }

    /// The storage of a node, if not the simulator's own: where yours is tested. Asked once for each
    /// disk; `seed` is for its faults.
    fn device(&self, id: NodeId, seed: u64) -> Option<Box<dyn Device<Self::Disk>>> {
        let _ = (id, seed);
        None
    }

    /// The coverage mark that an event counts for.
    fn mark(&self, event: &Event<Self>) -> Option<&'static str> {
        let _ = event;
        None
    }
}

/// A replicated log under test: what an [`Application`](crate::Application) stands on.
pub trait LogSubject: Subject<Machine: ReplicatedLog, Disk = LogImage> {
    /// What watches the whole cluster besides the checks for any replicated log.
    fn observers(&self) -> Vec<Box<dyn Observer>> {
        Vec::new()
    }

    /// The level at which a client asks for a read that must be linearizable: another one that the log
    /// says to be, under what this plan does to clocks, is judged by the same measure.
    fn strict_level(&self, plan: &Plan, rng: &mut Rng) -> ReadLevel {
        let _ = (plan, rng);
        ReadLevel::Linearizable
    }
}

/// How a node starts.
#[derive(Clone, Debug)]
pub struct Start<'a, R = Restored> {
    /// Which node.
    pub id: NodeId,
    /// The nodes that found the cluster. Who is not among them joins it later, as a learner.
    pub voters: &'a [NodeId],
    /// What its disk holds.
    pub restored: R,
    /// Fresh for every life of every node.
    pub seed: u64,
    /// The same for all nodes and lives of a run: to draw settings from.
    pub world: u64,
    /// What the run is like: to draw settings that fit it.
    pub plan: &'a Plan,
    /// The time on the node's own clock.
    pub now: Instant,
}

impl<R> Start<'_, R> {
    /// The node's place among all of the run: what roles can be given out by.
    #[must_use]
    pub fn place(&self) -> usize {
        let before = self.plan.nodes.iter().take_while(|id| **id != self.id);
        before.count()
    }
}

/// What no node may exceed. The first two are of logs, in the units of
/// [`Status`](synod_core::Status).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Entries proposed and not committed at a leader, in bytes.
    pub uncommitted_bytes: usize,
    /// Entries on their way to one peer, in bytes.
    pub in_flight_bytes: usize,
    /// Writes under way at once.
    pub writes: usize,
    /// Outputs that one input leads to.
    pub outputs: usize,
}

impl Default for Bounds {
    /// None, but for 100,000 outputs of one input.
    fn default() -> Self {
        Self {
            uncommitted_bytes: usize::MAX,
            in_flight_bytes: usize::MAX,
            writes: usize::MAX,
            outputs: 100_000,
        }
    }
}

/// How messages become bytes and are read back: a transport without its sockets.
pub trait Wire<M>: Sync {
    /// A message as it leaves.
    fn encode(&self, message: &M) -> Bytes;

    /// The message that arrived.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes; the link that they came on ends.
    fn decode(&self, bytes: Bytes) -> Result<M, String>;
}

/// The family's own frames: length, checksum, version, group, and the message in its codec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framed(pub GroupId);

impl Framed {
    /// Far above what the simulator's messages take, far below what a damaged length can ask for.
    const LIMIT: usize = 64 << 20;
}

impl<M: Encode + Decode> Wire<M> for Framed {
    fn encode(&self, message: &M) -> Bytes {
        let mut out = BytesMut::new();
        write_frame(self.0, &mut out, |out| message.encode(out));
        out.freeze()
    }

    fn decode(&self, mut bytes: Bytes) -> Result<M, String> {
        let told = |error: synod_core::DecodeError| error.to_string();
        let (group, body) = read_frame(&mut bytes, Self::LIMIT).map_err(told)?;
        if group != self.0 || !bytes.is_empty() {
            return Err(format!(
                "a frame of {group} with {} more bytes",
                bytes.len()
            ));
        }
        M::decode_all(body).map_err(told)
    }
}
