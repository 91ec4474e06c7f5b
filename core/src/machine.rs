//! The one contract of the family: inputs go in, outputs come out.

use crate::{Batch, Instant, LinkId, LoadId, NodeId, Wake, WriteId};

/// A protocol as a plain value that owns no socket, disk, clock, thread, lock or random source.
///
/// Whoever runs it, the driver of `synod-node`, the simulator of `synod-sim` or a loop of your own,
/// does the same four things in any rhythm:
///
/// 1. gives it what happened, through [`call`](Self::call), [`step`](Self::step),
///    [`link`](Self::link), [`tick`](Self::tick), [`persisted`](Self::persisted) and
///    [`loaded`](Self::loaded);
/// 2. drains [`poll`](Self::poll) and does what each [`Output`] says;
/// 3. calls [`tick`](Self::tick) at [`deadline`](Self::deadline);
/// 4. drops it when the storage fails: there is no half-alive machine.
///
/// Several inputs may come between two drains: that is how batches form. Order between outputs
/// needs no care: what must not leave before a write is durable is kept inside until
/// [`persisted`](Self::persisted) names that write.
pub trait Machine {
    /// What the application asks: data, so that it can be recorded and replayed.
    type Command;
    /// The immediate answer to a command.
    type Reply;
    /// What peers exchange.
    type Message;
    /// What must become durable.
    type Record;
    /// A request for what is no longer in memory (uninhabited where a machine has none).
    type Load;
    /// The answer to a load.
    type Loaded;
    /// What the application learns.
    type Event;

    /// Takes a command of the application and answers at once; what comes of it later arrives as
    /// events.
    fn call(&mut self, now: Instant, command: Self::Command) -> Self::Reply;

    /// Takes a peer's message. Nonsense is dropped and counted, never a panic.
    fn step(&mut self, now: Instant, envelope: Envelope<Self::Message>);

    /// Learns that the link to `peer` has a new incarnation or is gone. What was meant for the old
    /// incarnation is purged.
    fn link(&mut self, now: Instant, peer: NodeId, link: Link);

    /// Fires all timers that are due. Spurious calls do nothing.
    fn tick(&mut self, now: Instant);

    /// Learns that this write and all before it are durable.
    fn persisted(&mut self, now: Instant, write: WriteId);

    /// Learns the answer to a load; `None` if that has been compacted meanwhile: the machine
    /// decides anew what to do.
    fn loaded(&mut self, now: Instant, load: LoadId, answer: Option<Self::Loaded>);

    /// The next thing to do, or `None` until the next input.
    #[allow(clippy::type_complexity)]
    fn poll(&mut self) -> Option<Output<Self::Message, Self::Record, Self::Event, Self::Load>>;

    /// When [`tick`](Self::tick) wants to be called. Pure; may change with every input. `None`: an
    /// idle machine, it costs nothing.
    fn deadline(&self) -> Option<Wake>;
}

/// One thing for the surroundings of a machine to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output<M, R, E, L> {
    /// May leave at once, on the link that it names or not at all.
    Send(Envelope<M>),
    /// Store these records in order, then call [`Machine::persisted`] with the id. A storage may
    /// tear a write between records only, and keep a prefix.
    Persist(WriteId, Batch<R>),
    /// Read this, then call [`Machine::loaded`] with the id.
    Load(LoadId, L),
    /// May be acted on at once. After a restart an event can come again.
    Event(E),
}

/// A message with its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Envelope<M> {
    /// Who sent it.
    pub from: NodeId,
    /// Who shall have it.
    pub to: NodeId,
    /// The incarnation of the link that it belongs to, as its end at hand counts them. A transport
    /// drops what is not for the current one.
    pub link: LinkId,
    /// What it says.
    pub message: M,
}

/// What a transport says of the link to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// A new incarnation is up; whatever was sent on an older one will not arrive any more.
    Up(LinkId),
    /// There is no way to the peer now.
    Down,
}

/// Everything that can happen to a machine: one list of `(Instant, Input)` replays a run bit for
/// bit.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Input<C, M, D> {
    /// See [`Machine::call`].
    Call(C),
    /// See [`Machine::step`].
    Step(Envelope<M>),
    /// See [`Machine::link`].
    Link(NodeId, Link),
    /// See [`Machine::tick`].
    Tick,
    /// See [`Machine::persisted`].
    Persisted(WriteId),
    /// See [`Machine::loaded`].
    Loaded(LoadId, Option<D>),
}

impl<C, M, D> Input<C, M, D> {
    /// Gives this input to a machine; the reply, if it was a command.
    pub fn feed<T>(self, machine: &mut T, now: Instant) -> Option<T::Reply>
    where
        T: Machine<Command = C, Message = M, Loaded = D> + ?Sized,
    {
        match self {
            Self::Call(command) => return Some(machine.call(now, command)),
            Self::Step(envelope) => machine.step(now, envelope),
            Self::Link(peer, link) => machine.link(now, peer, link),
            Self::Tick => machine.tick(now),
            Self::Persisted(write) => machine.persisted(now, write),
            Self::Loaded(load, answer) => machine.loaded(now, load, answer),
        }
        None
    }
}
