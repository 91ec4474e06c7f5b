//! What sits on a machine under the driver: whoever gives it commands and acts on its events.

use core::task::Context;

use synod_core::{Batch, Instant, Link, Machine, NodeId};

use super::NodeError;

/// Whether something happened, so that another round is worthwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// Nothing; wakers are registered.
    Idle,
    /// Something.
    Busy,
    /// The driver has served its time.
    Done,
}

impl Flow {
    pub(crate) const fn of(busy: bool) -> Self {
        if busy { Self::Busy } else { Self::Idle }
    }
}

/// The part of the driver that knows what its machine is for. One driver serves any machine with a
/// plain remote control on it, and replicated logs with a state machine on it.
pub(crate) trait App<M: Machine>: Send {
    /// Before anything else.
    fn start(&mut self, machine: &mut M, now: Instant) -> Result<(), NodeError>;

    /// Gives the machine what waits for it, and registers the task to be woken for more.
    ///
    /// `clock` is read after a request was taken, never before: a read by lease is right at the time
    /// that the machine is told, and must not be asked for later than that (a process may stand still
    /// between any two instructions).
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        machine: &mut M,
        clock: &dyn Fn() -> Instant,
    ) -> Result<Flow, NodeError>;

    /// Whether the machine may be asked for more outputs, and so be given more inputs; if not, the
    /// task is woken when it may.
    fn has_room(&mut self, cx: &Context<'_>) -> bool;

    /// Acts on an event.
    fn event(&mut self, machine: &mut M, now: Instant, event: M::Event) -> Result<(), NodeError>;

    /// Sees what the machine is about to write (nothing, if it has no write ready), and adds what
    /// it wants written itself: one write, one sync. Returns whether it added something.
    fn add_records(&mut self, records: &mut Batch<M::Record>) -> bool;

    /// Learns that what it added is durable.
    fn written(&mut self, machine: &mut M, now: Instant);

    /// Something that it wants to read, and a key for the answer.
    fn next_load(&mut self) -> Option<(u64, M::Load)>;

    /// The answer to one of its loads.
    fn loaded(
        &mut self,
        machine: &mut M,
        now: Instant,
        key: u64,
        answer: Option<M::Loaded>,
    ) -> Result<(), NodeError>;

    /// Sees what the transport says of a link.
    fn link(&mut self, peer: NodeId, link: Link);

    /// When it wants to be polled at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// At the end of every turn: wakes whoever waits for what has happened.
    fn settle(&mut self, machine: &M, now: Instant, traffic: &Traffic);

    /// The driver ends, for this reason if it failed: answers everyone.
    fn end(&mut self, error: Option<&NodeError>);
}

/// What went through the driver since it started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Traffic {
    pub(crate) turns: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) writes: u64,
    pub(crate) records: u64,
    pub(crate) loads: u64,
}
