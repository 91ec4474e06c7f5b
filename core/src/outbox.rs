//! Persist before you speak, by construction: the one place where outputs wait for writes.

use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};
use core::mem;

use crate::{Batch, Envelope, LoadId, NodeId, Output, WriteId};

/// The outputs of a machine, those that must wait for a write among them.
///
/// `M` message, `R` record, `E` event, `L` load, `N` private note: what the machine must do to
/// itself once a write is durable (count its own vote, advance its durable index). A note is handed
/// back by [`persisted`](Self::persisted), never sent as a message to itself.
///
/// The rule for its users: what rests on a record goes through one of the `after_…` methods, which
/// hold it back until everything written so far is durable. [`send_now`](Self::send_now) is for
/// what is safe whatever the disk does, and each call says why in a comment.
///
/// ```
/// use synod_core::{Envelope, LinkId, NodeId, Outbox, Output, WriteId};
///
/// let mut outbox: Outbox<&str, &str, &str, (), ()> = Outbox::new(1);
/// let vote = Envelope { from: NodeId(1), to: NodeId(2), link: LinkId(1), message: "granted" };
/// outbox.write("term 3, voted for 2");
/// outbox.send_after(vote.clone());
///
/// let Some(Output::Persist(write, _)) = outbox.poll() else { panic!("the write comes first") };
/// assert_eq!(outbox.poll(), None, "the vote waits for the disk");
/// outbox.persisted(write);
/// assert_eq!(outbox.poll(), Some(Output::Send(vote)));
/// ```
#[derive(Clone, Debug)]
pub struct Outbox<M, R, E, L, N> {
    ready: VecDeque<Output<M, R, E, L>>,
    notes: VecDeque<N>,
    gathering: Batch<R>,
    held: VecDeque<(WriteId, Held<M, E, N>)>,
    /// The last write handed out.
    issued: WriteId,
    /// The last write known to be durable.
    durable: WriteId,
    depth: u64,
    loads: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Held<M, E, N> {
    Send(Envelope<M>),
    Event(E),
    Note(N),
}

impl<M, R, E, L, N> Outbox<M, R, E, L, N> {
    /// An empty outbox that hands out up to `depth` writes before the first is durable. With 1, the
    /// default of all our machines, the next batch gathers while a write runs: group commit.
    ///
    /// # Panics
    ///
    /// If `depth` is 0: nothing could ever be written.
    #[must_use]
    pub fn new(depth: u64) -> Self {
        assert!(depth > 0, "an outbox needs room for one write in flight");
        Self {
            ready: VecDeque::new(),
            notes: VecDeque::new(),
            gathering: Batch::new(),
            held: VecDeque::new(),
            issued: WriteId(0),
            durable: WriteId(0),
            depth,
            loads: 0,
        }
    }

    /// Adds a record to the write that gathers, and says which write that will be.
    pub fn write(&mut self, record: R) -> WriteId {
        self.gathering.push(record);
        self.latest()
    }

    /// Sends without waiting for any write. Each call carries the argument why that is safe. It
    /// overtakes what [`send_after`](Self::send_after) holds back for the same peer: a protocol that
    /// rests on the order of a link must not mix the two where order matters.
    pub fn send_now(&mut self, envelope: Envelope<M>) {
        self.ready.push_back(Output::Send(envelope));
    }

    /// Sends once everything written so far is durable.
    pub fn send_after(&mut self, envelope: Envelope<M>) {
        if self.is_settled() {
            self.ready.push_back(Output::Send(envelope));
        } else {
            self.held.push_back((self.latest(), Held::Send(envelope)));
        }
    }

    /// Tells the application without waiting for any write.
    pub fn event_now(&mut self, event: E) {
        self.ready.push_back(Output::Event(event));
    }

    /// Tells the application once everything written so far is durable.
    pub fn event_after(&mut self, event: E) {
        if self.is_settled() {
            self.ready.push_back(Output::Event(event));
        } else {
            self.held.push_back((self.latest(), Held::Event(event)));
        }
    }

    /// Hands `note` back through [`next_note`](Self::next_note) once everything written so far is
    /// durable.
    pub fn note_after(&mut self, note: N) {
        if self.is_settled() {
            self.notes.push_back(note);
        } else {
            self.held.push_back((self.latest(), Held::Note(note)));
        }
    }

    /// Asks for what is no longer in memory.
    pub fn load(&mut self, load: L) -> LoadId {
        self.loads += 1;
        let id = LoadId(self.loads);
        self.ready.push_back(Output::Load(id, load));
        id
    }

    /// Learns that `write` and all before it are durable, and lets go what waited for them.
    ///
    /// # Panics
    ///
    /// If `write` was never handed out: the caller is broken, and to go on would mean to speak of
    /// what is not on disk.
    pub fn persisted(&mut self, write: WriteId) {
        assert!(
            write <= self.issued,
            "{write} was never handed out, the last was {}",
            self.issued
        );
        self.durable = self.durable.max(write);
        while let Some((after, _)) = self.held.front()
            && *after <= self.durable
        {
            match self.held.pop_front() {
                Some((_, Held::Send(envelope))) => self.ready.push_back(Output::Send(envelope)),
                Some((_, Held::Event(event))) => self.ready.push_back(Output::Event(event)),
                Some((_, Held::Note(note))) => self.notes.push_back(note),
                None => break,
            }
        }
    }

    /// The next private note whose write is durable. A machine drains these in
    /// [`Machine::persisted`](crate::Machine::persisted) and after every
    /// [`note_after`](Self::note_after).
    pub fn next_note(&mut self) -> Option<N> {
        self.notes.pop_front()
    }

    /// All notes that wait, to be clamped when what they speak of is truncated: a write that was
    /// overtaken says nothing about what was written over it.
    pub fn notes_mut(&mut self) -> impl Iterator<Item = &mut N> {
        let held = self.held.iter_mut().filter_map(|(_, held)| match held {
            Held::Note(note) => Some(note),
            Held::Send(_) | Held::Event(_) => None,
        });
        held.chain(&mut self.notes)
    }

    /// Drops what is meant for `peer`: its link has a new incarnation or is gone.
    pub fn purge(&mut self, peer: NodeId) {
        self.ready
            .retain(|output| !matches!(output, Output::Send(e) if e.to == peer));
        self.held
            .retain(|(_, held)| !matches!(held, Held::Send(e) if e.to == peer));
    }

    /// Whether everything written so far is durable.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.durable == self.issued && self.gathering.is_empty()
    }

    /// Whether the next [`poll`](Self::poll) has something other than a write to hand out.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether a write may be handed out now: a machine that gathers lazily adds its records first.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.issued.0 - self.durable.0 < self.depth
    }

    /// The next thing to do: what is ready, then the write that gathered, if there is room for it.
    pub fn poll(&mut self) -> Option<Output<M, R, E, L>> {
        if let Some(output) = self.ready.pop_front() {
            return Some(output);
        }
        if self.gathering.is_empty() || !self.has_room() {
            return None;
        }
        self.issued.0 += 1;
        Some(Output::Persist(self.issued, mem::take(&mut self.gathering)))
    }

    /// The write that everything said so far must wait for.
    fn latest(&self) -> WriteId {
        WriteId(self.issued.0 + u64::from(!self.gathering.is_empty()))
    }
}

/// Ids are counted from the last durable write and the last load, so that two machines which
/// differ only in how much they have written and read are equal: a model checker depends on it.
impl<M: PartialEq, R: PartialEq, E: PartialEq, L: PartialEq, N: PartialEq> PartialEq
    for Outbox<M, R, E, L, N>
{
    fn eq(&self, other: &Self) -> bool {
        let base = |outbox: &Self, id: WriteId| id.0.saturating_sub(outbox.durable.0);
        self.ready.len() == other.ready.len()
            && self
                .ready
                .iter()
                .zip(&other.ready)
                .all(|(a, b)| match (a, b) {
                    (Output::Load(a, load), Output::Load(b, its)) => {
                        self.loads - a.0 == other.loads - b.0 && load == its
                    }
                    (a, b) => a == b,
                })
            && self.notes == other.notes
            && self.gathering == other.gathering
            && base(self, self.issued) == base(other, other.issued)
            && self.depth == other.depth
            && self.held.len() == other.held.len()
            && self
                .held
                .iter()
                .zip(&other.held)
                .all(|(a, b)| base(self, a.0) == base(other, b.0) && a.1 == b.1)
    }
}

impl<M: Eq, R: Eq, E: Eq, L: Eq, N: Eq> Eq for Outbox<M, R, E, L, N> {}

impl<M: Hash, R: Hash, E: Hash, L: Hash, N: Hash> Hash for Outbox<M, R, E, L, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ready.len().hash(state);
        for output in &self.ready {
            match output {
                Output::Load(id, load) => ((self.loads - id.0), load).hash(state),
                output => output.hash(state),
            }
        }
        self.notes.hash(state);
        self.gathering.hash(state);
        (self.issued.0 - self.durable.0).hash(state);
        self.held.len().hash(state);
        for (after, held) in &self.held {
            (after.0 - self.durable.0).hash(state);
            held.hash(state);
        }
    }
}
