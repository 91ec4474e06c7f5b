//! What the search has to know of a protocol.

use core::fmt::Debug;
use core::hash::Hash;

use synod_core::{Envelope, NodeId};

use crate::world::{Action, World};

/// A rule that is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Breach(pub(crate) String);

/// A protocol, its nodes and the bounds within which it is explored.
pub(crate) trait Model: Sized {
    /// A node: the machine, its disk, what it was asked.
    type Member: Eq + Hash + Debug;
    /// What peers exchange.
    type Message: Clone + Eq + Hash + Debug;
    /// What can be done to a node besides bringing it a message.
    type Deed: Copy + Eq + Hash + Debug;
    /// What a step shows to the outside, besides messages.
    type Sight: Debug;
    /// What has happened and no node shows any more, and how much of everything may still happen.
    type Past: Clone + Eq + Hash + Debug;

    fn ids(&self) -> Vec<NodeId>;

    /// A node with an empty disk whose first write is durable.
    fn found(&self, place: usize) -> Outcome<Self>;

    fn past(&self) -> Self::Past;

    /// Messages that somebody may send at any time.
    fn spontaneous(&self) -> Vec<Envelope<Self::Message>> {
        Vec::new()
    }

    /// How it begins, and how that goes on: see [`World::play`]. Nodes that the first part has not told
    /// apart are alike.
    fn scripts(&self) -> (String, String) {
        (String::new(), String::new())
    }

    /// How many of the first nodes are alike at the beginning: of those that nothing has told apart
    /// yet only the first acts.
    fn alike(&self) -> usize {
        0
    }

    /// What may be done to a node.
    fn deeds(&self, scene: &Scene<'_, Self>, place: usize, out: &mut Vec<Self::Deed>);

    /// How many of the records that a crash leaves of a write are tried; 0 if nobody crashes any more.
    fn tears(&self, past: &Self::Past) -> u8;

    /// Whether a node may crash while it does this, and not only before and after.
    fn is_torn(&self, input: &Input<Self::Deed>) -> bool;

    /// Whether a message never arrives.
    fn is_lost(&self, message: &Self::Message) -> bool;

    /// Whether this is a step even if it changes no node.
    fn counts(&self, action: &Action<Self::Deed>) -> bool;

    /// A step of a node; `None` if it leads out of bounds.
    fn give(
        &self,
        place: usize,
        member: &Self::Member,
        given: Given<'_, Self>,
    ) -> Option<Outcome<Self>>;

    /// The same, but it crashes in its first write with so many of its records kept, and starts. With
    /// nothing given, it crashes now. `None` if there are not so many records.
    fn crash(
        &self,
        place: usize,
        member: &Self::Member,
        given: Option<Given<'_, Self>>,
        kept: usize,
    ) -> Option<Outcome<Self>>;

    /// Takes in a step that was just made, and judges where it leads.
    fn update(&self, past: &mut Self::Past, change: &Change<'_, Self>) -> Result<(), Breach>;

    /// Whether it has learned something.
    fn has_learned(&self, member: &Self::Member) -> bool;

    /// Whether a script means this message by `what` of a ballot.
    fn is_called(&self, message: &Self::Message, what: &str, ballot: &str) -> bool;

    /// What a script means by `word`.
    fn deed(&self, word: &str, past: &Self::Past) -> Self::Deed;

    fn tell_message(&self, message: &Self::Message) -> String;

    fn tell_deed(&self, deed: Self::Deed) -> String;
}

/// What is given to a node, by number or by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Input<D> {
    Message(u32),
    Deed(D),
}

/// What is given to a node.
pub(crate) enum Given<'a, M: Model> {
    Message(&'a Envelope<M::Message>),
    Deed(M::Deed),
}

/// What a step leads to.
pub(crate) struct Outcome<M: Model> {
    pub(crate) member: M::Member,
    pub(crate) sent: Vec<Envelope<M::Message>>,
    pub(crate) sights: Vec<M::Sight>,
}

/// The whole cluster.
pub(crate) struct Scene<'a, M: Model> {
    pub(crate) world: &'a World<M>,
    pub(crate) members: &'a [u32],
    pub(crate) net: &'a [u32],
    pub(crate) past: &'a M::Past,
}

impl<'a, M: Model> Scene<'a, M> {
    pub(crate) fn member(&self, place: usize) -> &'a M::Member {
        &self.world.members[self.members[place] as usize]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &'a M::Member> {
        let count = self.world.ids.len();
        let (world, members) = (self.world, &self.members[..count]);
        members.iter().map(|id| &*world.members[*id as usize])
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &'a Envelope<M::Message>> {
        let world = self.world;
        self.net.iter().map(|id| &world.messages[*id as usize])
    }
}

/// A step that was just made.
pub(crate) struct Change<'a, M: Model> {
    /// Afterwards, with the past of before.
    pub(crate) scene: Scene<'a, M>,
    pub(crate) action: &'a Action<M::Deed>,
    pub(crate) place: usize,
    pub(crate) before: &'a M::Member,
    pub(crate) after: &'a M::Member,
    /// What the step has sent, if any of it was not sent before.
    pub(crate) news: &'a [u32],
    pub(crate) sights: &'a [M::Sight],
}
