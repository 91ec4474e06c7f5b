//! What this node has offered is handed out: whose it is, its name says.

use alloc::vec::Vec;

use synod_core::{Committed, Entries, Entry, EntryKind, LogEvent, LogIndex, Ticket};

use super::{Asker, Name};
use crate::log::message::Body;
use crate::log::node::Node;
use crate::log::tickets::Settled;

/// Whether any of these carries a name.
pub(crate) fn any_named(entries: &Entries) -> bool {
    let named = |entry: &Entry| match entry.kind {
        EntryKind::Named => true,
        EntryKind::Blank => !entry.payload.is_empty(),
        EntryKind::Command | EntryKind::Config => false,
    };
    entries.as_slice().iter().any(named)
}

impl Node {
    /// Tells of chosen entries without the names that they carry, and answers whoever asked here for what
    /// a name stands for.
    pub(crate) fn tell_named(&mut self, entries: &Entries) {
        let (mut first, mut run) = (entries.first(), Vec::<Entry>::new());
        let mut ticket: Option<Ticket> = None;
        for (at, entry) in entries.iter() {
            let own = self.own_ticket(at, entry);
            let follows = match (ticket, own) {
                (Some(ticket), Some(own)) => ticket.0 + run.len() as u64 == own.0,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !follows && !run.is_empty() {
                self.tell_run(Entries::new(first, entries.stamp(), run.drain(..)), ticket);
            }
            if run.is_empty() {
                (first, ticket) = (at, own);
            }
            run.push(Name::strip(entry));
        }
        self.tell_run(Entries::new(first, entries.stamp(), run), ticket);
    }

    fn tell_run(&mut self, entries: Entries, first: Option<Ticket>) {
        if entries.is_empty() {
            return;
        }
        let (from, outbox) = (entries.first(), &mut self.outbox);
        self.tickets.settle(entries, |settled| {
            outbox.event_now(match settled {
                Settled::Committed(entries, ticket) => {
                    let own = first.map(|first| Ticket(first.0 + entries.first().since(from)));
                    let ticket = own.or(ticket);
                    LogEvent::Committed(Committed { entries, ticket })
                }
                Settled::Displaced(ticket) => LogEvent::Displaced(ticket),
                Settled::Unknown(ticket) => LogEvent::Unknown(ticket),
            });
        });
    }

    /// The ticket that an entry was proposed under here, if that waits. A barrier answers its reads: it
    /// was offered after they were asked for, in a slot that was not chosen then, so everything that
    /// anybody had been told of lies before it.
    fn own_ticket(&mut self, at: LogIndex, entry: &Entry) -> Option<Ticket> {
        let name = Name::of(entry).filter(|name| name.life == self.life)?;
        if entry.kind == EntryKind::Named {
            let waits = name.number < Name::OWN && self.fast.offers.handed(name.number);
            return waits.then_some(Ticket(name.number));
        }
        for asker in self.fast.offers.lifted(name.number) {
            match asker {
                Asker::Here(tickets) => self.ripen_at(at, tickets),
                Asker::Peer { node, life, ticket } => {
                    let index = Ok(at);
                    // Safe before any write: the barrier is chosen.
                    self.send_now(node, Body::ReadAt { life, ticket, index });
                }
            }
        }
        None
    }
}
