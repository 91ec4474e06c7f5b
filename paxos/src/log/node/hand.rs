//! What a node hands to its state machine and its clients: chosen entries, snapshots, answers.

use alloc::vec::Vec;

use synod_core::{
    Committed, Entries, Instant, LogEvent, LogIndex, LogLoad, Refusal, SnapshotMeta, Ticket,
    TicketRange, Wake,
};

use super::Node;
use crate::Ballot;
use crate::log::fast::any_named;
use crate::log::planted::planted;
use crate::log::tickets::Settled;

impl Node {
    pub(crate) fn restore_at_start(&mut self, snapshot: SnapshotMeta) {
        let from = if planted!(self, HandOutTwice) {
            self.slots.base()
        } else {
            snapshot.index()
        };
        self.handout.restore_at_start(from);
        self.snapshot = Some(snapshot);
    }

    /// The state machine has applied everything up to `through`.
    pub(crate) fn applied(&mut self, through: LogIndex) {
        let before = self.handout.handed();
        if !self.handout.applied_to(through) {
            return;
        }
        // A durable state machine was there before this start: what it applied was chosen, and was
        // durable here before it was handed out.
        // No vote of a later configuration is on a disk that does not know that one to be in force, so
        // nothing of this is cut off by a stop-sign among it.
        let there = through.min(self.slots.stretch_end(self.chosen));
        if through > before && there > self.chosen {
            self.held.raise(there);
            self.durable.raise(there);
            self.choose(there);
        }
        // What waited for room may follow; before the first poll, the start's snapshot does.
        self.due |= before < self.chosen || self.handout.is_starting();
    }

    /// How far entries may be handed out: chosen, and durable here.
    fn ripe(&self) -> LogIndex {
        self.chosen.min(self.durable.through())
    }

    /// Hands out what is chosen and durable here, as much as the state machine may have before it
    /// (contract rule 7), and the reads that waited for it.
    pub(crate) fn hand_out(&mut self) {
        if let Some(snapshot) = self.handout.starts_from(self.snapshot.as_ref()) {
            self.tell(LogEvent::Restore(snapshot));
        }
        let through = self.ripe();
        let limit = self.config.limits.unapplied_bytes;
        while let Some(want) = self.handout.next(through, limit) {
            match self.slots.chunk_from(want.first) {
                Some(chunk) => self.hand(want.cut(chunk)),
                None => {
                    let load = LogLoad::Entries {
                        after: want.first.previous(),
                        through,
                        max_bytes: self.config.limits.accept_bytes,
                    };
                    self.handout.load(self.outbox.load(load));
                }
            }
        }
        while let Some((index, tickets)) = self.handout.next_ripe() {
            for ticket in tickets.iter() {
                self.tell(LogEvent::Read { ticket, index });
            }
        }
    }

    /// Hands out these entries.
    fn hand(&mut self, entries: Entries) {
        self.handout.hand(&entries);
        if any_named(&entries) {
            return self.tell_named(&entries);
        }
        let outbox = &mut self.outbox;
        self.tickets.settle(entries, |settled| {
            outbox.event_now(match settled {
                Settled::Committed(entries, ticket) => {
                    LogEvent::Committed(Committed { entries, ticket })
                }
                Settled::Displaced(ticket) => LogEvent::Displaced(ticket),
                Settled::Unknown(ticket) => LogEvent::Unknown(ticket),
            });
        });
    }

    /// Entries that were read back for the state machine.
    pub(crate) fn hand_loaded(&mut self, runs: Vec<Entries>) {
        self.due = true;
        let end = self.ripe();
        let before = self.handout.handed();
        for run in runs {
            if let Some(part) = self.handout.part_of(&run, end) {
                self.hand(part);
            }
        }
        if self.handout.handed() == before && before < end {
            self.handout.pause(self.now + self.config.timing.heartbeat);
        }
    }

    /// The state machine starts anew from a snapshot.
    pub(crate) fn hand_snapshot(&mut self, meta: &SnapshotMeta) {
        self.handout.install(meta.index());
        let outbox = &mut self.outbox;
        self.tickets.abandon(meta.index(), |ticket| {
            outbox.event_now(LogEvent::Unknown(ticket))
        });
        self.cover_offers(meta.index());
        // Only once the snapshot is current on disk: the application reads it from there.
        self.outbox.event_after(LogEvent::Restore(meta.clone()));
    }

    /// Whether it will be seen here what becomes of proposals of this node in these slots.
    pub(crate) fn awaits(&self, index: LogIndex, count: u32, ballot: Ballot) -> bool {
        index > self.handout.handed() && self.tickets.is_free(index, u64::from(count), ballot)
    }

    /// These reads may be answered once `index` is handed out.
    pub(crate) fn ripen_at(&mut self, index: LogIndex, tickets: TicketRange) {
        let until = self.now + self.config.timing.forward_timeout;
        self.handout.ripen_at(index, tickets, until, self.chosen);
        self.due = true;
    }

    /// These reads were not answered where they waited. They have changed nothing: they may be asked
    /// again.
    pub(crate) fn refuse_reads(&mut self, tickets: TicketRange, refusal: Refusal) {
        self.handout.refused(tickets.count);
        self.refuse_tickets(tickets, refusal);
    }

    /// These did not and will not happen.
    pub(crate) fn refuse_tickets(&mut self, tickets: TicketRange, refusal: Refusal) {
        for ticket in tickets.iter() {
            self.tell(LogEvent::Refused(ticket, refusal));
        }
    }

    /// Nobody will tell what becomes of these proposals.
    pub(crate) fn forget(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            self.tell(LogEvent::Unknown(ticket));
        }
    }

    /// Fires what is due whatever the role.
    pub(crate) fn tick(&mut self) {
        for late in self.handout.expire(self.now, self.chosen) {
            self.refuse_tickets(late, Refusal::TimedOut);
        }
        self.due |= self.handout.resume(self.now);
        let outbox = &mut self.outbox;
        self.tickets.expire(self.now, |ticket| {
            outbox.event_now(LogEvent::Unknown(ticket));
        });
        self.expire_passed();
    }

    /// Gives up the proposals of a node that has neither led nor heard of a leader for too long:
    /// they may have been chosen elsewhere, and nobody is there to say so.
    pub(crate) fn lose_touch(&mut self) {
        if self.lost_at().is_some_and(|at| at <= self.now) {
            let outbox = &mut self.outbox;
            self.tickets.abandon(LogIndex(u64::MAX), |ticket| {
                outbox.event_now(LogEvent::Unknown(ticket));
            });
            self.give_up_offers();
        }
    }

    fn lost_at(&self) -> Option<Instant> {
        let waits = self.tickets.any_claimed() || self.fast.offers.any();
        waits.then(|| self.touch + self.config.timing.forward_timeout)
    }

    /// When [`tick`](Self::tick) or, unless this node leads, [`lose_touch`](Self::lose_touch) has
    /// something to do.
    pub(crate) fn deadline(&self, leads: bool) -> Option<Wake> {
        let wake = |why| move |at| Wake { at, why };
        let lost = self.lost_at().filter(|_| !leads);
        let lost = lost.map(wake("proposals of a node that is cut off"));
        let aged = self.tickets.deadline();
        let aged = aged.map(wake("proposals of a ballot that is over"));
        let offers = self.fast.offers.deadline();
        let offers = offers.map(wake("values that are not known to be chosen"));
        let own = Wake::earlier(Wake::earlier(lost, aged), offers);
        Wake::earlier(own, self.handout.deadline())
    }
}
