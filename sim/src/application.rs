//! The application on top of the log: a state machine, what clients ask of it, and what they may be
//! told.

use core::fmt;

use bytes::Bytes;
use synod_core::{Rng, StateMachine};

use crate::linear::Model;

/// A replicated application under test. The simulator runs its state machine on every node, behind a
/// table that makes retries apply once, and judges what clients see against the model.
pub trait Application: Sync {
    /// What every node runs.
    type Machine: StateMachine;
    /// What a correct one does.
    type Model: Model<Op: Clone + fmt::Debug, Ret: Clone + fmt::Debug, Key: fmt::Debug>;

    /// A state machine that nothing was applied to.
    fn machine(&self) -> Self::Machine;

    /// The specification.
    fn model(&self) -> Self::Model;

    /// The next thing that a client asks. `unique` never comes again in a run: written values should
    /// hold it, or a violation can hide.
    fn draw(&self, rng: &mut Rng, work: &Workload, unique: u64) -> <Self::Model as Model>::Op;

    /// How that is asked of the state machine.
    fn request(&self, op: &<Self::Model as Model>::Op) -> Request;

    /// What the state machine's response says.
    fn answer(
        &self,
        op: &<Self::Model as Model>::Op,
        response: &Bytes,
    ) -> <Self::Model as Model>::Ret;
}

/// How an operation is asked of a state machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Through the log, to [`StateMachine::apply`].
    Command(Bytes),
    /// By a linearizable read, to [`StateMachine::query`].
    Query(Bytes),
}

/// The shape of the workload, drawn for each seed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How many clients there are; each has one operation under way at a time.
    pub clients: u64,
    /// How many keys they ask for.
    pub keys: u64,
    /// How many operations of a million only read.
    pub reads_per_million: u32,
    /// Bytes added to each written value.
    pub padding: usize,
}
