//! What a node is in every role: its durable state, its slots, its links and what waits for them.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{
    Entries, Entry, Envelope, FailStop, Generation, Ghost, Handout, Instant, LinkId, LogEvent,
    LogIndex, LogLoad, LogRecord, NodeId, Outbox, RoleChange, SnapshotId, SnapshotMeta, mix,
};

use super::fast::{Fast, Pause};
use super::lease::Grant;
use super::membership::History;
use super::planted::planted;
use super::record::{HardState, Written};
use super::slots::Slots;
use super::tickets::Tickets;
use super::{Body, Config, Cover, Detail, Epoch, Event, Membership, Message, Votes};
use crate::Ballot;

mod adopt;
mod hand;

/// What a node does to itself once a write is durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Note {
    /// Its own promise of this ballot counts.
    Promised(Ballot),
    /// Of what it holds, this much is durable. Clamped when another ballot is promised: a vote that
    /// is cast anew is not durable because an older write said so.
    Held(Cover),
    /// The snapshot that the state machine restarts from is current on disk.
    Installed(LogIndex),
    /// The proposer of a lower ballot may be told of this one.
    Refused { ballot: Ballot, to: NodeId },
    /// Its own votes in the fast ballot of this leadership count.
    Voted { ballot: Ballot, votes: Vec<Votes> },
}

/// The parts of a node that do not depend on its role.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) now: Instant,
    /// One life of this machine, from its seed.
    pub(crate) life: u64,

    // Durable.
    pub(crate) generation: Generation,
    /// The configuration that the cluster was founded with, encoded.
    founding: Bytes,
    /// Whether that is durable.
    pub(crate) founded: bool,
    /// The highest ballot that it has promised: it takes part in no lower one.
    pub(crate) promised: Ballot,
    pub(crate) known: Vec<(NodeId, Generation)>,
    pub(crate) slots: Slots,
    pub(crate) history: History,
    pub(crate) snapshot: Option<SnapshotMeta>,
    pub(crate) staged: Option<(SnapshotId, u64)>,

    // Volatile.
    /// Whose snapshot is being received, and until when its next piece may take.
    pub(crate) staging: Option<(NodeId, Instant)>,
    /// Everything up to here is chosen, and here is what was chosen.
    pub(crate) chosen: LogIndex,
    /// What a restart would know of that.
    pub(super) hinted: LogIndex,
    /// What is chosen here or accepted in the promised ballot; votes of its leadership's fast ballot only
    /// where they are known to be for what is chosen.
    pub(crate) held: Cover,
    /// What of it is durable.
    pub(crate) durable: Cover,
    /// The promise is durable.
    pub(crate) settled: bool,
    /// Configurations in slots that are not known to be chosen, in order.
    open_configs: Vec<(LogIndex, Entry)>,
    /// `held` has grown, and no note says yet what follows from that.
    pub(crate) unnoted: bool,
    pub(crate) leader: Option<NodeId>,
    /// Whom it lets prepare, and nobody else.
    pub(crate) grant: Option<Grant>,
    pub(crate) links: Vec<(NodeId, LinkId)>,
    pub(crate) outbox: Outbox<Message, LogRecord, Event, LogLoad, Note>,
    pub(crate) tickets: Tickets,
    pub(crate) handout: Handout,
    /// When this node last led or heard of its leader.
    pub(crate) touch: Instant,
    /// Peers whose storage is not the one that it was, and the life that was seen.
    pub(crate) strangers: Vec<(NodeId, Generation)>,
    /// Something may be handed out.
    pub(crate) due: bool,
    pub(crate) stopped: bool,
    pub(crate) dropped: Ghost<u64>,
    /// What is known of fast rounds.
    pub(crate) fast: Fast,
    pub(crate) pause: Pause,
    /// Planted: what was promised before it accepted in the ballot that is promised now.
    #[cfg(feature = "planted")]
    pub(crate) unasked: Option<Ballot>,
}

impl Node {
    /// How far a restart may be behind what was known to be chosen: a small record now and then,
    /// against fetching or proposing so much again.
    const HINT_EVERY: u64 = 512;

    pub(crate) fn new(config: Config, hard: HardState, slots: Slots, history: History) -> Self {
        Self {
            now: Instant::START,
            life: mix(config.seed, 0x6c69_6665),
            generation: hard.generation,
            founding: hard.founding.to_bytes(),
            founded: true,
            promised: hard.promised,
            known: hard.known,
            history,
            snapshot: None,
            staged: None,
            staging: None,
            chosen: hard.chosen,
            hinted: hard.chosen,
            held: Cover::up_to(hard.chosen),
            durable: Cover::up_to(hard.chosen),
            settled: true,
            open_configs: Vec::new(),
            unnoted: false,
            leader: None,
            grant: None,
            links: Vec::new(),
            outbox: Outbox::new(config.limits.writes_in_flight),
            tickets: Tickets::default(),
            handout: Handout::new(slots.base()),
            touch: Instant::START,
            strangers: Vec::new(),
            due: true,
            stopped: false,
            dropped: Ghost(0),
            fast: Fast::default(),
            pause: Pause::default(),
            #[cfg(feature = "planted")]
            unasked: None,
            slots,
            config,
        }
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) fn membership(&self) -> &Membership {
        self.history.current()
    }

    /// Which voters are in force here.
    pub(crate) fn epoch(&self) -> Epoch {
        self.membership().epoch()
    }

    /// Whether this node votes in the configuration in force here, with the storage that it has.
    pub(crate) fn is_voter(&self) -> bool {
        self.membership().is_voter(self.id()) && !self.is_impostor()
    }

    /// Whether the configuration in force here counts on another storage of this node. Who was
    /// taken out and came back with an empty disk goes through the epochs in which it voted with the
    /// one that it has lost; there a node that slept might take it for that one, and have choose
    /// anew what they have chosen. Such a node has founded nothing, so it is no founding voter,
    /// and later ones vote with the storage that they had when they were taken in.
    pub(crate) fn is_impostor(&self) -> bool {
        let membership = self.membership();
        membership.is_voter(self.id())
            && match membership.storage_of(self.id()) {
                Some(storage) => storage != self.generation,
                None => self.config.founding.phases().is_none(),
            }
    }

    pub(crate) fn see(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    // Links and messages.

    pub(crate) fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        let found = self.links.iter().find(|(node, _)| *node == peer);
        found.map(|(_, link)| *link)
    }

    fn envelope(&self, to: NodeId, link: LinkId, body: Body) -> Envelope<Message> {
        let message = Message {
            generation: self.generation,
            ballot: self.promised,
            epoch: self.epoch(),
            body,
        };
        Envelope {
            from: self.id(),
            to,
            link,
            message,
        }
    }

    /// Sends once everything written so far is durable: the default.
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        if let Some(link) = self.link_to(to) {
            let envelope = self.envelope(to, link, body);
            self.outbox.send_after(envelope);
        }
    }

    /// Sends without waiting for a write: each caller says why that is safe. Only the very first
    /// write is always waited for: every message names this storage, and a node that has told its
    /// name and forgets it comes back as a stranger.
    ///
    /// The ballot in it may not be durable yet: who hears of it learns that somebody prepares, which
    /// is a reason to try a higher one and nothing else.
    pub(crate) fn send_now(&mut self, to: NodeId, body: Body) {
        if !self.founded {
            return self.send(to, body);
        }
        if let Some(link) = self.link_to(to) {
            let envelope = self.envelope(to, link, body);
            self.outbox.send_now(envelope);
        }
    }

    /// As [`send_now`](Self::send_now), of an epoch that is over here.
    pub(crate) fn send_as(&mut self, epoch: Epoch, to: NodeId, body: Body) {
        if let Some(link) = self.link_to(to)
            && self.founded
        {
            let mut envelope = self.envelope(to, link, body);
            envelope.message.epoch = epoch;
            self.outbox.send_now(envelope);
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outbox.event_now(event);
    }

    pub(crate) fn detail(&mut self, detail: Detail) {
        self.outbox.event_now(LogEvent::Detail(detail));
    }

    pub(crate) fn role(&mut self, role: synod_core::Role, why: &'static str) {
        let change = RoleChange {
            role,
            era: self.promised.round,
            leader: self.leader,
            why,
        };
        self.outbox.event_now(LogEvent::Role(change));
    }

    /// A message that makes no sense, or no more.
    pub(crate) fn drop_message(&mut self) {
        self.dropped.0 += 1;
    }

    /// Input that the protocol makes impossible: going on could break what was promised.
    pub(crate) fn fail_stop(&mut self, rule: &'static str, evidence: String) {
        if !self.stopped {
            self.stopped = true;
            self.tell(LogEvent::Stopped(FailStop { rule, evidence }));
        }
    }

    // Durable state.

    pub(crate) fn write_state(&mut self) {
        self.hinted = self.chosen;
        let state = Written {
            node: self.id(),
            generation: self.generation,
            promised: self.promised,
            chosen: self.chosen,
            known: &self.known,
            founding: &self.founding,
        };
        self.outbox.write(LogRecord::State(state.to_bytes()));
    }

    /// Promises a ballot, which is higher than the one before: no lower one gets anything from this
    /// node any more (Paxos Made Simple §2.2, P1a). What it has accepted in lower ones stays, as votes.
    pub(crate) fn promise(&mut self, ballot: Ballot) {
        debug_assert!(ballot > self.promised, "promises only rise");
        self.tickets.arm(&self.slots, self.promised);
        self.promised = ballot;
        self.let_go();
        #[cfg(feature = "planted")]
        {
            self.unasked = None;
        }
        if !planted!(self, PromiseNotPersisted) {
            self.write_state();
        }
        self.settled = false;
        self.outbox.note_after(Note::Promised(ballot));
    }

    /// Of another ballot it has accepted nothing.
    pub(crate) fn let_go(&mut self) {
        let chosen = self.chosen;
        self.fast.begin(chosen);
        self.held = Cover::up_to(chosen);
        self.clamp_durable(chosen);
    }

    /// Takes back that anything behind `end` is durable. No ABA: what will be accepted there was not
    /// made durable by the writes of what was.
    pub(crate) fn clamp_durable(&mut self, end: LogIndex) {
        self.durable.clamp(end);
        for note in self.outbox.notes_mut() {
            if let Note::Held(cover) = note {
                cover.clamp(end);
            }
        }
    }

    /// Puts votes of the promised ballot, or what is chosen, on disk and in memory.
    pub(crate) fn put(&mut self, entries: Entries) {
        let (first, last) = (entries.first(), entries.last());
        self.forget_configs(first, last);
        for (index, entry) in Slots::configs(&entries) {
            self.note_config(index, entry.clone());
        }
        self.outbox.write(LogRecord::Put(entries.clone()));
        self.slots.put(entries);
        self.hold(first, last);
    }

    /// Makes votes of what is open, if anything is.
    pub(crate) fn seal(&mut self, ballot: Ballot) {
        if let Some(chunk) = self.slots.seal(ballot) {
            self.hold(chunk.first(), chunk.last());
            self.outbox.write(LogRecord::Put(chunk));
        }
    }

    /// These are chosen, or accepted in the promised ballot, and written.
    pub(crate) fn hold(&mut self, first: LogIndex, last: LogIndex) {
        self.held.add(first, last);
        self.unnoted = true;
    }

    /// Notes what is held once everything written so far is durable: one note for all that was
    /// written since the last.
    pub(crate) fn note_held(&mut self) {
        if core::mem::take(&mut self.unnoted) {
            self.outbox.note_after(Note::Held(self.held.clone()));
        }
    }

    /// So much of what is held is durable.
    pub(crate) fn persisted(&mut self, cover: &Cover) {
        self.durable.raise(cover.through());
        for (first, last) in cover.beyond() {
            self.durable.add(*first, *last);
        }
        self.due = true;
    }

    /// A leader is there: what was proposed in lower ballots and it has not found may wait for ever.
    pub(crate) fn age_claims(&mut self) {
        let until = self.now + self.config.timing.forward_timeout;
        self.tickets.age(self.promised, until);
    }

    /// Whether `generation` is the one that `from` has always had; learns it on first contact. One
    /// that has another is told so if that is to be `answered`.
    pub(crate) fn recognise(
        &mut self,
        from: NodeId,
        generation: Generation,
        answered: bool,
    ) -> bool {
        match self.known.binary_search_by_key(&from, |(node, _)| *node) {
            Ok(place) => {
                let known = self.known[place].1;
                if known != generation {
                    self.meet_stranger(from, known, generation);
                    if answered {
                        // Rests on nothing of ours that is not durable: it repeats what the peer
                        // once said.
                        self.send_now(from, Body::Stranger { known });
                    }
                }
                known == generation
            }
            Err(place) => {
                if self.membership().contains(from) {
                    self.known.insert(place, (from, generation));
                    self.write_state();
                }
                true
            }
        }
    }

    fn meet_stranger(&mut self, peer: NodeId, known: Generation, seen: Generation) {
        if !self.strangers.contains(&(peer, seen)) {
            self.strangers.retain(|(node, _)| *node != peer);
            self.strangers.push((peer, seen));
            self.detail(Detail::Amnesia { peer, known, seen });
        }
    }

    /// Tells the proposer of a lower ballot of this one, once that is durable: one word for all that
    /// it says until then, or a disk that hangs would gather them.
    pub(crate) fn refuse(&mut self, to: NodeId) {
        let told = Note::Refused {
            ballot: self.promised,
            to,
        };
        if !self.outbox.notes_mut().any(|note| *note == told) {
            self.outbox.note_after(told);
        }
    }

    /// The node's own invariants.
    pub(crate) fn check(&self) {
        self.slots.check();
        self.check_fast();
        assert!(
            self.chosen <= self.held.through(),
            "what is chosen is held: {} of {:?}",
            self.chosen,
            self.held
        );
        assert!(
            self.durable.through() <= self.held.through(),
            "what is durable is held: {:?} of {:?}",
            self.durable,
            self.held
        );
        let mut at = self.chosen.next();
        while at <= self.held.last() {
            match self.held.end_of(at) {
                Some(end) => {
                    for run in self.slots.runs_in(at, end) {
                        assert_eq!(run.first, at, "what is held is there");
                        assert_eq!(
                            Ballot::from(run.stamp).as_classic(),
                            self.promised,
                            "what is held and not chosen is of the promised ballot"
                        );
                        assert!(
                            !Ballot::from(run.stamp).is_fast()
                                || self.is_decided(run.first, run.last),
                            "a fast vote is held once its value is chosen"
                        );
                        at = run.last.next();
                    }
                    assert!(at > end, "what is held is there");
                }
                None => at = self.held.gap_end(at).map_or(at, LogIndex::next),
            }
        }
        let first = self.slots.base().next();
        if first <= self.chosen {
            assert!(
                self.slots.stretch_end(first) >= self.chosen,
                "there is no gap in what is chosen"
            );
        }
    }
}
