//! What a node is in every role: its durable state, its log, its links and what waits for them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use synod_core::{
    Entries, Entry, Envelope, FailStop, Generation, Ghost, Handout, Instant, LinkId, LogEvent,
    LogIndex, LogLoad, LogRecord, NodeId, Outbox, RoleChange, SnapshotId, SnapshotMeta, mix,
};

use crate::log::Log;
use crate::membership::History;
use crate::record::HardState;
use crate::tickets::Tickets;
use crate::{Body, Config, Detail, Event, Membership, Message, Position, Term};

mod hand;

/// What a node does to itself once a write is durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Note {
    /// Its own vote in this term counts.
    Voted(Term),
    /// Its log is durable up to `stored`, and a leader of the term in `ack` may be told that the log
    /// matches its own up to the place there. Clamped when the log is truncated: an entry written
    /// over is not durable because an older write said so.
    Written {
        stored: Option<LogIndex>,
        ack: Option<(Term, LogIndex)>,
    },
    /// The snapshot that the state machine restarts from is current on disk.
    Installed(LogIndex),
    /// The leader of this term may be told that its log parts from this one before the place `asked`.
    Refused {
        term: Term,
        asked: LogIndex,
        hint: Position,
    },
    /// A leader of an earlier term may be told of this one.
    Deposed { term: Term, leader: NodeId },
    /// A leader of this term may be told how much of a snapshot is here.
    Staged {
        term: Term,
        id: SnapshotId,
        offset: u64,
    },
}

/// The parts of a node that do not depend on its role.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) now: Instant,
    /// One life of this machine, from its seed.
    pub(crate) life: u64,

    // Durable (Raft figure 2).
    pub(crate) generation: Generation,
    /// Whether that is durable.
    pub(crate) founded: bool,
    pub(crate) term: Term,
    pub(crate) vote: Option<NodeId>,
    pub(crate) known: Vec<(NodeId, Generation)>,
    pub(crate) log: Log,
    pub(crate) history: History,
    pub(crate) snapshot: Option<SnapshotMeta>,
    pub(crate) staged: Option<(SnapshotId, u64)>,

    // Volatile.
    pub(crate) commit: LogIndex,
    pub(crate) leader: Option<NodeId>,
    pub(crate) links: Vec<(NodeId, LinkId)>,
    pub(crate) outbox: Outbox<Message, LogRecord, Event, LogLoad, Note>,
    /// Entries are written up to here, and no note says yet what follows from that.
    unnoted: Option<LogIndex>,
    pub(crate) tickets: Tickets,
    /// What was handed out to the state machine, and what waits for it.
    pub(crate) handout: Handout,
    /// When this node last led or heard of its leader.
    pub(crate) touch: Instant,
    /// Peers whose storage is not the one that it was, and the life that was seen.
    pub(crate) strangers: Vec<(NodeId, Generation)>,
    /// Something may be handed out.
    pub(crate) due: bool,
    pub(crate) stopped: bool,
    pub(crate) dropped: Ghost<u64>,
}

impl Node {
    pub(crate) fn new(config: Config, hard: HardState, log: Log, history: History) -> Self {
        let base = log.base().index;
        Self {
            now: Instant::START,
            life: mix(config.seed, 0x6c69_6665),
            generation: hard.generation,
            founded: true,
            term: hard.term,
            vote: hard.vote,
            known: hard.known,
            history,
            snapshot: None,
            staged: None,
            commit: base,
            leader: None,
            links: Vec::new(),
            outbox: Outbox::new(config.limits.writes_in_flight),
            unnoted: None,
            tickets: Tickets::default(),
            handout: Handout::new(base),
            touch: Instant::START,
            strangers: Vec::new(),
            due: true,
            stopped: false,
            dropped: Ghost(0),
            log,
            config,
        }
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) fn membership(&self) -> &Membership {
        self.history.current()
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.membership().is_voter(self.id())
    }

    pub(crate) fn see(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    // Links and messages.

    pub(crate) fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        self.links
            .iter()
            .find(|(node, _)| *node == peer)
            .map(|(_, link)| *link)
    }

    pub(crate) fn envelope(&self, to: NodeId, link: LinkId, body: Body) -> Envelope<Message> {
        let message = Message {
            generation: self.generation,
            term: self.term,
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
    pub(crate) fn send_now(&mut self, to: NodeId, body: Body) {
        if !self.founded {
            return self.send(to, body);
        }
        if let Some(link) = self.link_to(to) {
            let envelope = self.envelope(to, link, body);
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
            era: self.term.0,
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

    /// Tells a leader of an earlier term of this one, once that is durable: one word for all that
    /// it says until then, or a disk that hangs would gather them.
    pub(crate) fn depose(&mut self, leader: NodeId) {
        let told = Note::Deposed {
            term: self.term,
            leader,
        };
        if !self.outbox.notes_mut().any(|note| *note == told) {
            self.outbox.note_after(told);
        }
    }

    // Durable state.

    pub(crate) fn write_state(&mut self) {
        let hard = HardState {
            node: self.id(),
            generation: self.generation,
            term: self.term,
            vote: self.vote,
            known: self.known.clone(),
            founding: self.config.founding.clone(),
        };
        self.outbox.write(LogRecord::State(hard.to_bytes()));
    }

    /// Writes a run of entries.
    pub(crate) fn write_entries(&mut self, entries: Entries) {
        let last = entries.last();
        self.outbox.write(LogRecord::Put(entries));
        self.unnoted = Some(last);
    }

    /// Notes what is to be done once everything written so far is durable: one note for all that
    /// was written since the last.
    pub(crate) fn note_written(&mut self, ack: Option<LogIndex>) {
        let stored = self.unnoted.take();
        let ack = ack.map(|matched| (self.term, matched));
        if stored.is_some() || ack.is_some() {
            self.outbox.note_after(Note::Written { stored, ack });
        }
    }

    /// Lets no write that is under way speak of what lies behind `end`: that is another entry now.
    pub(crate) fn clamp_notes(&mut self, end: LogIndex) {
        self.unnoted = self.unnoted.map(|index| index.min(end));
        for note in self.outbox.notes_mut() {
            if let Note::Written { stored, ack } = note {
                *stored = stored.map(|index| index.min(end));
                *ack = ack.map(|(term, matched)| (term, matched.min(end)));
            }
        }
    }

    /// Appends a leader's entries: log, configurations, disk.
    pub(crate) fn append(&mut self, entries: Entries) {
        for (index, entry) in Log::configs(&entries) {
            self.adopt(index, entry);
        }
        self.log.append(entries.clone());
        self.write_entries(entries);
    }

    /// A configuration is in force from the moment it is appended (dissertation §4.1).
    pub(crate) fn adopt(&mut self, index: LogIndex, entry: &Entry) {
        match synod_core::Decode::decode_all(entry.payload.clone()) {
            Ok(membership) => {
                self.history.push(index, membership);
                self.membership_changed();
            }
            Err(error) => {
                let evidence = format!("the configuration at {index}: {error}");
                self.fail_stop("configurations in the log are readable", evidence);
            }
        }
    }

    pub(crate) fn membership_changed(&mut self) {
        let membership = self.history.current();
        let detail = Detail::Membership {
            index: self.history.since(),
            voters: membership.voters().to_vec(),
            learners: membership.learners().to_vec(),
        };
        // A node that was taken out may come back under its id as a new learner with a new disk.
        let me = self.config.id;
        let before = self.known.len();
        self.known
            .retain(|(node, _)| *node == me || membership.contains(*node));
        if self.known.len() < before {
            // Durably: else a restart would remember the old disk and turn the new one away.
            self.write_state();
        }
        self.detail(detail);
    }

    /// Drops the log from `from` on: its leader has other entries there (Raft §5.3).
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        let through = self.log.last();
        self.log.truncate(from);
        self.outbox.write(LogRecord::Truncate { from });
        // No ABA: what is written over from here on was not made durable by older writes.
        self.clamp_notes(from.previous());
        self.detail(Detail::Truncated { from, through });
        if self.history.truncate(from) {
            self.membership_changed();
        }
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

    /// When a follower whose leader falls silent stands for election: drawn anew for each term and
    /// attempt (Raft §5.2).
    pub(crate) fn election_timeout(&self, attempt: u64) -> core::time::Duration {
        let timing = &self.config.timing;
        let spread = timing.election_max.saturating_sub(timing.election_min);
        let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        let draw = mix(self.config.seed, mix(self.term.0, attempt));
        let extra = if spread == 0 { 0 } else { draw % spread };
        timing.election_min + core::time::Duration::from_nanos(extra)
    }

    pub(crate) fn last_position(&self) -> Position {
        self.log.last_position()
    }

    /// The node's own invariants.
    pub(crate) fn check(&self) {
        self.log.check();
        assert!(
            self.commit <= self.log.last(),
            "what is committed is in the log"
        );
        self.handout.check();
        assert!(
            self.handout.handed() <= self.commit.max(self.handout.applied()),
            "only what is committed is handed out"
        );
    }
}
