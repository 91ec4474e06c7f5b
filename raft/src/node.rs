//! What a node is in every role: its durable state, its log, its links and what waits for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use synod_core::{
    Committed, Entries, Entry, Envelope, FailStop, Generation, Ghost, Instant, LinkId, LoadId,
    LogEvent, LogIndex, LogLoad, LogRecord, NodeId, Outbox, Refusal, RoleChange, SnapshotId,
    SnapshotMeta, Ticket, Wake, mix,
};

use crate::forward;
use crate::log::Log;
use crate::membership::History;
use crate::record::HardState;
use crate::tickets::{Settled, Tickets};
use crate::{Body, Config, Detail, Event, Membership, Message, Position, Term};

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
    /// A leader of this term may be told how much of a snapshot is here.
    Staged {
        term: Term,
        id: SnapshotId,
        offset: u64,
    },
}

/// Reads that wait for an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Ripening {
    count: u32,
    /// When they are given up, if the index is not known to be committed by then.
    until: Instant,
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
    /// The last entry handed out to the state machine.
    pub(crate) handed: LogIndex,
    /// The last entry that the state machine has applied.
    pub(crate) applied: LogIndex,
    /// What was handed out and is not applied: the last index and the bytes of each event.
    unapplied: VecDeque<(LogIndex, usize)>,
    unapplied_bytes: usize,
    /// Entries that the state machine is to have and that are not in memory.
    pub(crate) handing: Option<LoadId>,
    /// The start's snapshot is still to be restored, unless the state machine is already past it.
    restoring: bool,
    /// A snapshot is taking the place of the log: nothing is handed out before it is durable.
    pub(crate) installing: bool,
    /// Reads that may be answered once this much is handed out, by their first ticket.
    ripening: BTreeMap<(LogIndex, Ticket), Ripening>,
    /// No read has to be given up before.
    ripen_by: Option<Instant>,
    /// Storage did not have what is to be handed out: it is asked again then.
    hand_again: Option<Instant>,
    /// When this node last led or heard of its leader.
    pub(crate) touch: Instant,
    pub(crate) pending_reads: usize,
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
            handed: base,
            // Not the base: a state machine in memory holds nothing until it says so, and needs the
            // snapshot even if the log ends right there.
            applied: LogIndex::START,
            unapplied: VecDeque::new(),
            unapplied_bytes: 0,
            handing: None,
            restoring: false,
            installing: false,
            ripening: BTreeMap::new(),
            ripen_by: None,
            hand_again: None,
            touch: Instant::START,
            pending_reads: 0,
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

    /// Whether `generation` is the one that `from` has always had; learns it on first contact.
    pub(crate) fn recognise(&mut self, from: NodeId, generation: Generation) -> bool {
        match self.known.binary_search_by_key(&from, |(node, _)| *node) {
            Ok(place) => {
                let known = self.known[place].1;
                if known != generation {
                    self.meet_stranger(from, known, generation);
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
        // Rests on nothing of ours that is not durable: it repeats what the peer once said.
        self.send_now(peer, Body::Stranger { known });
    }

    // Commit, and the state machine.

    /// Learns that everything up to `index` is committed.
    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        debug_assert!(index <= self.log.last(), "what is committed is in the log");
        if index > self.commit {
            self.commit = index;
            self.due = true;
        }
    }

    pub(crate) fn restore_at_start(&mut self, snapshot: SnapshotMeta) {
        self.commit = self.commit.max(snapshot.index());
        self.handed = self.commit;
        self.snapshot = Some(snapshot);
        self.restoring = true;
    }

    /// The state machine has applied everything up to `through`.
    pub(crate) fn applied(&mut self, through: LogIndex) {
        if through <= self.applied {
            return;
        }
        self.applied = through;
        // What waited for room may follow; before the first poll, the start's snapshot does.
        self.due |= self.handed < self.commit || self.restoring;
        while let Some((last, bytes)) = self.unapplied.front()
            && *last <= through
        {
            self.unapplied_bytes -= bytes;
            self.unapplied.pop_front();
        }
        // A durable state machine was there before this start: what it applied was committed.
        if through > self.handed {
            self.handed = through;
            self.commit = self.commit.max(through.min(self.log.last()));
        }
    }

    /// Hands out what is committed and durable here, as much as the state machine may have before
    /// it (contract rule 7), and the reads that waited for it.
    pub(crate) fn hand_out(&mut self) {
        if self.restoring {
            self.restoring = false;
            if let Some(snapshot) = &self.snapshot
                && self.applied < snapshot.index()
            {
                let event = LogEvent::Restore(snapshot.clone());
                self.tell(event);
            }
        }
        if self.installing {
            return;
        }
        let end = self.commit.min(self.log.durable());
        while self.handed < end
            && self.handing.is_none()
            && self.hand_again.is_none()
            && self.unapplied_bytes < self.config.limits.unapplied_bytes
        {
            match self.log.chunk_from(self.handed.next()) {
                Some(chunk) => {
                    let room = self.config.limits.unapplied_bytes - self.unapplied_bytes;
                    let part = if chunk.last() > end {
                        chunk.through(end)
                    } else {
                        chunk
                    };
                    let part = if part.weight() > room {
                        part.within(part.first(), room)
                    } else {
                        part
                    };
                    self.hand(part);
                }
                None => {
                    let after = self.handed;
                    let max_bytes = self.config.limits.append_bytes;
                    let load = LogLoad::Entries {
                        after,
                        through: end,
                        max_bytes,
                    };
                    self.handing = Some(self.outbox.load(load));
                }
            }
        }
        self.ripen();
    }

    /// Hands out these entries.
    pub(crate) fn hand(&mut self, entries: Entries) {
        debug_assert_eq!(
            entries.first(),
            self.handed.next(),
            "entries are handed out in order"
        );
        self.handed = entries.last();
        self.unapplied.push_back((entries.last(), entries.weight()));
        self.unapplied_bytes += entries.weight();
        let outbox = &mut self.outbox;
        self.tickets.settle(entries, |settled| {
            outbox.event_now(match settled {
                Settled::Committed(entries, ticket) => {
                    LogEvent::Committed(Committed { entries, ticket })
                }
                Settled::Displaced(ticket) => LogEvent::Displaced(ticket),
            });
        });
    }

    /// Entries that were read back for the state machine.
    pub(crate) fn hand_loaded(&mut self, runs: Vec<Entries>) {
        let end = self.commit.min(self.log.durable());
        let before = self.handed;
        for run in runs {
            if run.contains(self.handed.next()) {
                let part = run.after(self.handed).through(end);
                if !part.is_empty() {
                    self.hand(part);
                }
            }
        }
        if self.handed == before && before < end {
            // The storage does not have what it should: asking at once would only keep it busy.
            self.hand_again = Some(self.now + self.config.timing.heartbeat);
        }
    }

    /// The state machine starts anew from a snapshot.
    pub(crate) fn hand_snapshot(&mut self, meta: &SnapshotMeta) {
        self.handed = meta.index();
        self.unapplied.clear();
        self.unapplied_bytes = 0;
        self.handing = None;
        self.hand_again = None;
        self.restoring = false;
        let outbox = &mut self.outbox;
        self.tickets.abandon(meta.index(), |ticket| {
            outbox.event_now(LogEvent::Unknown(ticket))
        });
        self.installing = true;
        self.outbox.note_after(Note::Installed(meta.index()));
        // Only once the snapshot is current on disk: the application reads it from there.
        self.outbox.event_after(LogEvent::Restore(meta.clone()));
    }

    /// `count` reads may be answered once `index` is handed out.
    pub(crate) fn ripe_at(&mut self, index: LogIndex, first: Ticket, count: u32) {
        let until = self.now + self.config.timing.forward_timeout;
        if index > self.commit {
            // By a client's token, or by another node's word: it may never come here.
            self.ripen_by = Some(self.ripen_by.map_or(until, |by| by.min(until)));
        }
        self.ripening
            .insert((index, first), Ripening { count, until });
        self.due = true;
    }

    /// Gives up what has waited too long.
    fn give_up(&mut self) {
        if self.ripen_by.is_some_and(|by| by <= self.now) {
            self.ripen_by = None;
            let mut late = Vec::new();
            for (&(index, first), read) in &self.ripening {
                if index <= self.commit {
                    continue;
                }
                if read.until <= self.now {
                    late.push((index, first, read.count));
                } else {
                    let by = self.ripen_by.map_or(read.until, |by| by.min(read.until));
                    self.ripen_by = Some(by);
                }
            }
            for (index, first, count) in late {
                self.ripening.remove(&(index, first));
                forward::refuse(self, first, count, Refusal::TimedOut);
            }
        }
    }

    /// Fires what is due whatever the role.
    pub(crate) fn tick(&mut self) {
        self.give_up();
        if self.hand_again.is_some_and(|at| at <= self.now) {
            self.hand_again = None;
            self.due = true;
        }
    }

    /// Gives up the proposals of a node that has neither led nor heard of a leader for too long:
    /// they may have been committed elsewhere, and nobody is there to say so.
    pub(crate) fn lose_touch(&mut self) {
        if self.lost_at().is_some_and(|at| at <= self.now) {
            let outbox = &mut self.outbox;
            self.tickets.abandon(LogIndex(u64::MAX), |ticket| {
                outbox.event_now(LogEvent::Unknown(ticket));
            });
        }
    }

    fn lost_at(&self) -> Option<Instant> {
        let waits = self.tickets.any_claimed();
        waits.then(|| self.touch + self.config.timing.forward_timeout)
    }

    /// When [`tick`](Self::tick) or, unless this node leads, [`lose_touch`](Self::lose_touch) has
    /// something to do.
    pub(crate) fn deadline(&self, leads: bool) -> Option<Wake> {
        let wake = |why| move |at| Wake { at, why };
        let lost = self.lost_at().filter(|_| !leads);
        let lost = lost.map(wake("proposals of a node that is cut off"));
        let reads = self.ripen_by.map(wake("reads ahead of this node"));
        let again = self
            .hand_again
            .map(wake("entries that storage did not have"));
        Wake::earlier(Wake::earlier(lost, reads), again)
    }

    fn ripen(&mut self) {
        while let Some(((index, _), _)) = self.ripening.first_key_value()
            && *index <= self.handed
        {
            let Some(((index, first), read)) = self.ripening.pop_first() else {
                break;
            };
            for k in 0..u64::from(read.count) {
                self.pending_reads -= 1;
                self.tell(LogEvent::Read {
                    ticket: Ticket(first.0 + k),
                    index,
                });
            }
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
        assert!(
            self.handed <= self.commit.max(self.applied),
            "only what is committed is handed out"
        );
        assert_eq!(
            self.unapplied_bytes,
            self.unapplied.iter().map(|(_, bytes)| bytes).sum::<usize>()
        );
    }
}
