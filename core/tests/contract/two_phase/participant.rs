//! The participant: after its yes it may only ask.

use synod_core::{Instant, NodeId, Wake};

use super::{Event, Message, PATIENCE, Record, TwoPhase, Txn};

/// A transaction that this node takes part in.
pub(super) enum Taken {
    /// The user was asked to prepare. Nothing is recorded, so this node may still forget it.
    Asked,
    /// Voted yes; the outcome is not known.
    InDoubt { due: Instant },
    /// The user was told the outcome and has not finished.
    Decided { commit: bool },
}

impl Taken {
    pub(super) const fn in_doubt(due: Instant) -> Self {
        Self::InDoubt { due }
    }

    pub(super) const fn wake(&self) -> Option<Wake> {
        match *self {
            Self::InDoubt { due } => Some(Wake {
                at: due,
                why: "in doubt",
            }),
            Self::Asked | Self::Decided { .. } => None,
        }
    }

    /// Whether it is time to ask; it is at once when the coordinator has come back.
    pub(super) fn asks(&mut self, now: Instant, back: bool) -> bool {
        match self {
            Self::InDoubt { due } if back || *due <= now => {
                *due = now + PATIENCE;
                true
            }
            _ => false,
        }
    }
}

impl TwoPhase {
    pub(super) fn on_prepare(&mut self, from: NodeId, txn: Txn) -> bool {
        if txn.coordinator != from {
            return false;
        }
        match self.taken.get(&txn) {
            None => {
                self.taken.insert(txn, Taken::Asked);
                // Rests on nothing of ours: what the user does about it is undone unless we vote.
                self.outbox.event_now(Event::Prepare(txn));
            }
            // Asked again because the vote was lost with its link.
            Some(Taken::InDoubt { .. }) => self.send(from, Message::Vote { txn, yes: true }),
            Some(Taken::Asked | Taken::Decided { .. }) => {}
        }
        true
    }

    /// The user's work is durable: now our record, then the vote.
    pub(super) fn prepared(&mut self, now: Instant, txn: Txn) {
        if !matches!(self.taken.get(&txn), Some(Taken::Asked)) {
            return; // decided meanwhile, and the user was told
        }
        self.taken.insert(txn, Taken::in_doubt(now + PATIENCE));
        self.outbox.write(Record::Prepared(txn));
        self.send(txn.coordinator, Message::Vote { txn, yes: true });
    }

    pub(super) fn refused(&mut self, txn: Txn) {
        if matches!(self.taken.get(&txn), Some(Taken::Asked)) {
            self.taken.remove(&txn);
            self.send(txn.coordinator, Message::Vote { txn, yes: false });
        }
    }

    pub(super) fn on_decision(&mut self, from: NodeId, txn: Txn, commit: bool) -> bool {
        if txn.coordinator != from {
            return false;
        }
        match (self.taken.get(&txn), commit) {
            (Some(Taken::InDoubt { .. }), _) | (Some(Taken::Asked), false) => {
                self.decide(txn, commit);
            }
            // Nobody commits without this node's vote.
            (Some(Taken::Asked), true) => return false,
            (Some(Taken::Decided { .. }), _) => {}
            // Finished before; the coordinator has not heard.
            (None, true) => self.send(from, Message::Done(txn)),
            (None, false) => {}
        }
        true
    }

    /// Rests on the coordinator's record, not on ours: after a crash this node asks again and hears
    /// the same.
    fn decide(&mut self, txn: Txn, commit: bool) {
        self.taken.insert(txn, Taken::Decided { commit });
        let event = if commit {
            Event::Commit(txn)
        } else {
            Event::Abort(txn)
        };
        self.outbox.event_now(event);
    }

    /// The user's work has taken effect or is undone: nothing is left to ask about.
    pub(super) fn finished(&mut self, txn: Txn) {
        let Some(Taken::Decided { commit }) = self.taken.get(&txn) else {
            return;
        };
        let commit = *commit;
        self.taken.remove(&txn);
        self.outbox.write(Record::Finished(txn));
        if commit {
            self.send(txn.coordinator, Message::Done(txn));
        }
    }

    /// A part that the user's resource holds after a restart: without our record we never voted,
    /// so it is to be undone. (Ours with a record is in doubt and will be decided.)
    pub(super) fn found(&mut self, txn: Txn) {
        if !self.taken.contains_key(&txn) {
            self.outbox.event_now(Event::Abort(txn));
        }
    }
}
