//! The coordinator: asks all, decides once, and remembers a commit until all have it.

use alloc::collections::BTreeSet;

use synod_core::{Instant, NodeId, Wake};

use super::{Event, Message, PATIENCE, Record, TwoPhase, Txn};

/// A transaction that began here.
pub(super) struct Coordinated {
    participants: Vec<NodeId>,
    phase: Phase,
    /// When to give up on votes, or to tell the outcome again.
    due: Instant,
}

enum Phase {
    Voting { yes: BTreeSet<NodeId> },
    Committed { told: BTreeSet<NodeId> },
}

impl Coordinated {
    pub(super) fn committed(participants: &[NodeId], due: Instant) -> Self {
        Self {
            participants: participants.to_vec(),
            phase: Phase::Committed {
                told: BTreeSet::new(),
            },
            due,
        }
    }

    pub(super) const fn wake(&self) -> Wake {
        let why = match self.phase {
            Phase::Voting { .. } => "votes are missing",
            Phase::Committed { .. } => "not all have the commit",
        };
        Wake { at: self.due, why }
    }
}

impl TwoPhase {
    pub(super) fn begin(&mut self, now: Instant, participants: Vec<NodeId>) -> Option<Txn> {
        if participants.is_empty() || participants.contains(&self.me) {
            return None;
        }
        self.number += 1;
        let txn = Txn {
            coordinator: self.me,
            life: self.life,
            number: self.number,
        };
        // Rests on the record of this life: else the next one could use the number again.
        for participant in &participants {
            self.send(*participant, Message::Prepare(txn));
        }
        let voting = Coordinated {
            participants,
            phase: Phase::Voting {
                yes: BTreeSet::new(),
            },
            due: now + PATIENCE,
        };
        self.coordinated.insert(txn, voting);
        Some(txn)
    }

    pub(super) fn on_vote(&mut self, now: Instant, from: NodeId, txn: Txn, vote: bool) -> bool {
        let Some(coordinated) = self.coordinated.get_mut(&txn) else {
            return self.on_inquire(from, txn); // aborted, or forgotten: then it knows
        };
        let Phase::Voting { yes } = &mut coordinated.phase else {
            return true; // again
        };
        if !coordinated.participants.contains(&from) {
            return false;
        }
        if !vote {
            self.abort(txn);
            return true;
        }
        yes.insert(from);
        if yes.len() == coordinated.participants.len() {
            self.commit(now, txn);
        }
        true
    }

    /// The commit record is the decision: nobody hears of it before it is durable.
    fn commit(&mut self, now: Instant, txn: Txn) {
        let coordinated = self.coordinated.get_mut(&txn).expect("complete");
        let participants = coordinated.participants.clone();
        *coordinated = Coordinated::committed(&participants, now + PATIENCE);
        let record = Record::Committed(txn, participants.clone());
        self.outbox.write(record);
        let committed = true;
        self.outbox.event_after(Event::Outcome { txn, committed });
        for participant in participants {
            let commit = true;
            self.send(participant, Message::Decision { txn, commit });
        }
    }

    /// No record: that is what presumed abort means.
    fn abort(&mut self, txn: Txn) {
        let Some(coordinated) = self.coordinated.remove(&txn) else {
            return;
        };
        let committed = false;
        self.outbox.event_after(Event::Outcome { txn, committed });
        for participant in coordinated.participants {
            let commit = false;
            self.send(participant, Message::Decision { txn, commit });
        }
    }

    pub(super) fn on_done(&mut self, from: NodeId, txn: Txn) -> bool {
        let Some(coordinated) = self.coordinated.get_mut(&txn) else {
            return true; // again
        };
        let Phase::Committed { told } = &mut coordinated.phase else {
            return false;
        };
        told.insert(from);
        if coordinated.participants.iter().all(|p| told.contains(p)) {
            self.coordinated.remove(&txn);
            // Nothing waits for it: told again, a participant only says so again.
            self.outbox.write(Record::Forgotten(txn));
        }
        true
    }

    /// Answers what was decided; nothing while votes are missing. What is not remembered was
    /// aborted, or everybody has it.
    pub(super) fn on_inquire(&mut self, from: NodeId, txn: Txn) -> bool {
        if txn.coordinator != self.me {
            return false;
        }
        let commit = match self.coordinated.get(&txn).map(|c| &c.phase) {
            Some(Phase::Voting { .. }) => return true,
            Some(Phase::Committed { .. }) => true,
            None => false,
        };
        self.send(from, Message::Decision { txn, commit });
        true
    }

    /// Aborts what waits too long for votes.
    pub(super) fn give_up(&mut self, now: Instant) {
        let open = self.coordinated.iter();
        let late = open.filter(|(_, c)| c.due <= now && matches!(c.phase, Phase::Voting { .. }));
        let late: Vec<Txn> = late.map(|(txn, _)| *txn).collect();
        late.into_iter().for_each(|txn| self.abort(txn));
    }

    /// Tells commits again, and asks again about doubts: those that are due, or all of one peer.
    pub(super) fn ask_again(&mut self, now: Instant, peer: Option<NodeId>) {
        let mut say = Vec::new();
        for (txn, coordinated) in &mut self.coordinated {
            let due = coordinated.due <= now;
            if due {
                coordinated.due = now + PATIENCE;
            }
            for participant in &coordinated.participants {
                let wanted = peer.map_or(due, |peer| peer == *participant);
                let message = match &coordinated.phase {
                    Phase::Voting { yes } if !yes.contains(participant) => Message::Prepare(*txn),
                    Phase::Committed { told } if !told.contains(participant) => Message::Decision {
                        txn: *txn,
                        commit: true,
                    },
                    _ => continue,
                };
                if wanted {
                    say.push((*participant, message));
                }
            }
        }
        for (txn, taken) in &mut self.taken {
            if taken.asks(now, peer == Some(txn.coordinator)) {
                say.push((txn.coordinator, Message::Inquire(*txn)));
            }
        }
        for (to, message) in say {
            self.send(to, message);
        }
    }
}
