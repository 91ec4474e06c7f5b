//! What a node hands to its state machine and its clients: committed entries, snapshots, answers.

use alloc::vec::Vec;

use synod_core::{
    Committed, Entries, Instant, LogEvent, LogIndex, LogLoad, Refusal, SnapshotMeta, Ticket, Wake,
};

use super::{Node, Note, Ripening};
use crate::Term;
use crate::forward;
use crate::tickets::Settled;

impl Node {
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
        self.displace_older(meta.index(), meta.stamp.into());
        self.installing = true;
        self.outbox.note_after(Note::Installed(meta.index()));
        // Only once the snapshot is current on disk: the application reads it from there.
        self.outbox.event_after(LogEvent::Restore(meta.clone()));
    }

    /// Whether it will be seen here what becomes of proposals of this node at these places.
    pub(crate) fn awaits(&self, index: LogIndex, count: u32, term: Term) -> bool {
        index > self.handed && self.tickets.is_free(index, u64::from(count), term)
    }

    /// Another node's log has proposals of this one.
    pub(crate) fn claim_elsewhere(&mut self, first: LogIndex, count: u32, term: Term, t: Ticket) {
        self.tickets.claim(first, u64::from(count), term, t);
        // The word of it may come late.
        if let Some(reached) = self.log.term_at(self.handed) {
            self.displace_older(self.handed, reached);
        }
    }

    /// Settles what cannot lie behind a committed entry.
    fn displace_older(&mut self, last: LogIndex, term: Term) {
        let outbox = &mut self.outbox;
        self.tickets.displace(last, term, |ticket| {
            outbox.event_now(LogEvent::Displaced(ticket));
        });
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
}
