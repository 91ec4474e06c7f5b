//! Identities and positions: one newtype each, so that a term is never taken for an index.

use core::fmt;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(transparent))]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

newtype! {
    /// A member of a cluster. Any value is allowed and ids need not be dense; an id is never used
    /// again for another disk (see [`Generation`]).
    NodeId, "n"
}
newtype! {
    /// One of many replicated groups that share processes, a transport and a storage.
    GroupId, "g"
}
newtype! {
    /// The cluster that a connection belongs to; a handshake refuses any other.
    ClusterId, "c"
}
newtype! {
    /// One life of a node's storage: drawn at random when an empty storage is first used and kept
    /// in it. A node that comes back under its old id with another generation has lost its disk.
    Generation, "gen"
}
newtype! {
    /// A position in a replicated log. The first entry is at 1; [`LogIndex::START`] is the place
    /// before it.
    LogIndex, "i"
}
newtype! {
    /// One request to a machine, unique within one life of that machine. Tickets are handed out in
    /// ascending order and each resolves exactly once.
    Ticket, "t"
}
newtype! {
    /// One write handed to storage. Writes are durable in this order.
    WriteId, "w"
}
newtype! {
    /// One request for what is no longer in memory.
    LoadId, "l"
}
newtype! {
    /// One incarnation of the link to a peer.
    LinkId, "link"
}

impl LogIndex {
    /// The place before the first entry.
    pub const START: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position `count` entries further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// The position before this one; [`LogIndex::START`] stays where it is.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many entries lie after `earlier` up to and with this one; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Tickets in a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TicketRange {
    /// The first.
    pub first: Ticket,
    /// How many.
    pub count: u32,
}

impl TicketRange {
    /// A ticket alone.
    #[inline]
    #[must_use]
    pub const fn one(ticket: Ticket) -> Self {
        Self {
            first: ticket,
            count: 1,
        }
    }

    /// The ticket after the last.
    #[inline]
    #[must_use]
    pub const fn end(self) -> Ticket {
        Ticket(self.first.0 + self.count as u64)
    }

    /// Takes `ticket` in if it is the one after the last; whether it was.
    #[inline]
    pub const fn extend(&mut self, ticket: Ticket) -> bool {
        let adjacent = self.end().0 == ticket.0;
        if adjacent {
            self.count += 1;
        }
        adjacent
    }

    /// Each of them, in order.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Ticket> {
        (self.first.0..self.end().0).map(Ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_index_counts_from_the_start() {
        assert_eq!(LogIndex::START.next(), LogIndex(1));
        assert_eq!(LogIndex::START.previous(), LogIndex::START);
        assert_eq!(LogIndex(7).since(LogIndex(4)), 3);
        assert_eq!(LogIndex(4).since(LogIndex(7)), 0);
        assert_eq!(LogIndex(4).plus(3).to_string(), "i7");
    }

    #[test]
    fn tickets_in_a_row_take_in_the_next_alone() {
        let mut row = TicketRange::one(Ticket(5));
        assert!(!row.extend(Ticket(4)));
        assert!(!row.extend(Ticket(5)));
        assert!(!row.extend(Ticket(7)));
        assert!(row.extend(Ticket(6)));
        assert_eq!(row.end(), Ticket(7));
        assert!(row.iter().eq([Ticket(5), Ticket(6)]));
    }
}
