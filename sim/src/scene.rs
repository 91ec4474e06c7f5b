//! What stands on the machines: clients, an application, and what must hold over all nodes.

use synod_core::Rng;

use crate::plan::{Fault, Plan};
use crate::subject::{Event, Record, Subject};
use crate::world::Stage;

/// Makes the scene of each run. An [`Application`](crate::Application) is one for replicated logs, a
/// [`Service`](crate::Service) behind [`Clients`](crate::Clients) for machines that answer one
/// command at a time; write your own for what is neither.
pub trait Scenery<S: Subject>: Sync {
    /// The scene of one run.
    type Scene<'a>: Scene<S>
    where
        Self: 'a,
        S: 'a;

    /// A scene in which nothing has happened.
    fn scene<'a>(&'a self, subject: &'a S, plan: &Plan) -> Self::Scene<'a>;

    /// Which faults mean something here. Without bursts, learners and transfers, unless it says so:
    /// these are the scene's own to bring about.
    fn plays(&self, fault: Fault) -> bool {
        !matches!(fault, Fault::Burst | Fault::Learner | Fault::Transfer)
    }
}

/// What stands on the machines in one run. The simulator tells it what happens; through the
/// [`Stage`] it sees all nodes, gives them commands, puts its own doings on the agenda, and says
/// what is wrong.
///
/// Everything in it must follow from what it is told and from the stage's randomness, or a seed
/// would not repeat itself.
pub trait Scene<S: Subject>: Sized {
    /// What it puts on the agenda, such as a client's turn.
    type Item;

    /// The run begins; the nodes start soon. Puts the first things on the agenda.
    fn opens(&mut self, stage: &mut Stage<'_, S, Self::Item>);

    /// Something that it had put on the agenda happens, or what it had a disk store is durable.
    fn happens(&mut self, stage: &mut Stage<'_, S, Self::Item>, item: Self::Item);

    /// A machine tells its application something.
    fn event(&mut self, stage: &mut Stage<'_, S, Self::Item>, node: usize, event: Event<S>);

    /// A node has started, from what was on its disk.
    fn starts(&mut self, stage: &mut Stage<'_, S, Self::Item>, node: usize) {
        let _ = (stage, node);
    }

    /// A node's life has ended, and with it what was in its memory.
    fn ends(&mut self, stage: &mut Stage<'_, S, Self::Item>, node: usize) {
        let _ = (stage, node);
    }

    /// A node's disk is lost, and with it whatever the scene thinks of as on it.
    fn forgets(&mut self, stage: &mut Stage<'_, S, Self::Item>, node: usize) {
        let _ = (stage, node);
    }

    /// A machine has handed out records to be written; its
    /// [`Stored::shadow`](crate::check::Stored::shadow) does not have them yet.
    fn writes(&mut self, stage: &mut Stage<'_, S, Self::Item>, node: usize, records: &[Record<S>]) {
        let _ = (stage, node, records);
    }

    /// Whether [`Subject::check`] is due before [`steps`](Self::steps): always, unless it is too
    /// slow for that.
    fn checks(&mut self, node: usize) -> bool {
        let _ = node;
        true
    }

    /// A node has taken a step, and all its outputs are carried out: here is the place for what must
    /// hold after every step, over all nodes.
    fn steps(&mut self, stage: &mut Stage<'_, S, Self::Item>, node: usize) {
        let _ = (stage, node);
    }

    /// The node that leads, if one does: faults that are for leaders hit it.
    fn leads(&self, stage: &Stage<'_, S, Self::Item>) -> Option<usize> {
        let _ = stage;
        None
    }

    /// Many clients ask at once: `at` one node, or anywhere.
    fn burst(&mut self, stage: &mut Stage<'_, S, Self::Item>, at: Option<usize>, rng: &mut Rng) {
        let _ = (stage, at, rng);
    }

    /// A learner is added or removed, or the leader is asked to hand over to `node`: what
    /// [`Scenery::plays`] has said yes to.
    fn provoke(
        &mut self,
        stage: &mut Stage<'_, S, Self::Item>,
        fault: Fault,
        node: usize,
        rng: &mut Rng,
    ) {
        let _ = (stage, fault, node, rng);
    }

    /// Faults are over: all that is still to be done is brought to an end.
    fn calms(&mut self, stage: &mut Stage<'_, S, Self::Item>);

    /// What keeps the run from being over. Asked once faults are over, until it says `None`; in 30
    /// virtual seconds from then on it must.
    fn unrest(&self, stage: &Stage<'_, S, Self::Item>) -> Option<String>;

    /// Everything has come to rest: judges what was seen.
    fn judge(&mut self, stage: &mut Stage<'_, S, Self::Item>);
}
