//! What this node has offered is handed out: whose it is, its name says.

use alloc::vec::Vec;

use synod_core::{Committed, Entries, Entry, EntryKind, LogEvent, Ticket};

use super::Name;
use crate::log::node::Node;
use crate::log::tickets::Settled;

/// Whether any of these carries a name.
pub(crate) fn any_named(entries: &Entries) -> bool {
    let named = |entry: &Entry| match entry.kind {
        EntryKind::Named => true,
        EntryKind::Blank | EntryKind::Command | EntryKind::Config => false,
    };
    entries.as_slice().iter().any(named)
}

impl Node {
    /// Tells of chosen entries without the names that they carry, with the tickets of those that are this
    /// node's.
    pub(crate) fn tell_named(&mut self, entries: &Entries) {
        let (mut first, mut run) = (entries.first(), Vec::<Entry>::new());
        let mut ticket: Option<Ticket> = None;
        for (at, entry) in entries.iter() {
            let own = self.own_ticket(entry);
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

    /// The ticket that an entry was proposed under here, if that waits.
    fn own_ticket(&mut self, entry: &Entry) -> Option<Ticket> {
        let name = Name::of(entry).filter(|name| name.life == self.life)?;
        let waits = entry.kind == EntryKind::Named && self.fast.offers.handed(name.number);
        waits.then_some(Ticket(name.number))
    }
}
