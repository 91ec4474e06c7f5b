//! Two-phase commit with presumed abort: a coordinator and a participant in each node.
//!
//! After Mohan, Lindsay and Obermarck, "Transaction management in the R* distributed database
//! management system" §3 (presumed abort). Work on the user's own resource is no record of ours:
//! prepare is an event, then the user's durable work, a command that says so, our record, the vote.
//! Left to the real crate: read-only votes, one-phase commit, a tree of coordinators, checkpoints
//! that bound the records, heuristic outcomes, and a limit on open transactions.

mod coordinator;
mod participant;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use core::convert::Infallible;
use core::fmt;
use core::time::Duration;

use synod_core::{Envelope, Instant, Link, LoadId, Machine, NodeId, Outbox, Output, Wake, WriteId};

use crate::cluster::Node;
use crate::links::Links;
use coordinator::Coordinated;
use participant::Taken;

/// How long votes may take, and how often is asked again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Unique for ever: a life of a coordinator is counted in its records before it is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Txn {
    coordinator: NodeId,
    life: u64,
    number: u64,
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.coordinator, self.life, self.number)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Command {
    /// Begins a transaction that all of these take part in.
    Begin(Vec<NodeId>),
    /// The user's part is durable and can be committed or undone, whatever happens.
    Prepared(Txn),
    /// The user's part cannot be done.
    Refused(Txn),
    /// The user's part is committed or undone, durably.
    Finished(Txn),
    /// After a restart: the user's resource holds this part prepared. Every resource must be asked
    /// for those; the answer is an event.
    Found(Txn),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Message {
    Prepare(Txn),
    Vote {
        txn: Txn,
        yes: bool,
    },
    Decision {
        txn: Txn,
        commit: bool,
    },
    /// The commit is finished here and forgotten.
    Done(Txn),
    /// What was decided?
    Inquire(Txn),
}

/// What a restart reads back, in order. A transaction without a record was aborted.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Record {
    /// A life of this coordinator begins.
    Life(u64),
    /// This node has voted yes.
    Prepared(Txn),
    /// This node's part is finished.
    Finished(Txn),
    /// This coordinator has committed; all of these must hear of it.
    Committed(Txn, Vec<NodeId>),
    /// All of them have.
    Forgotten(Txn),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event {
    /// The user's part shall be made durable, without taking effect.
    Prepare(Txn),
    /// It shall take effect. May come again.
    Commit(Txn),
    /// It shall be undone. May come again, and for what was never prepared.
    Abort(Txn),
    /// To who began it. Committed is final once this is said.
    Outcome { txn: Txn, committed: bool },
}

pub(crate) struct TwoPhase {
    me: NodeId,
    links: Links,
    outbox: Outbox<Message, Record, Event, Infallible, Infallible>,
    life: u64,
    number: u64,
    coordinated: BTreeMap<Txn, Coordinated>,
    taken: BTreeMap<Txn, Taken>,
    dropped: u64,
}

impl TwoPhase {
    fn restore(me: NodeId, now: Instant, records: &[Record]) -> Self {
        let mut machine = Self {
            me,
            links: Links::new(me),
            outbox: Outbox::new(1),
            life: 1,
            number: 0,
            coordinated: BTreeMap::new(),
            taken: BTreeMap::new(),
            dropped: 0,
        };
        for record in records {
            match record {
                Record::Life(life) => machine.life = life + 1,
                Record::Prepared(txn) => _ = machine.taken.insert(*txn, Taken::in_doubt(now)),
                Record::Finished(txn) => _ = machine.taken.remove(txn),
                Record::Committed(txn, participants) => {
                    let committed = Coordinated::committed(participants, now);
                    machine.coordinated.insert(*txn, committed);
                }
                Record::Forgotten(txn) => _ = machine.coordinated.remove(txn),
            }
        }
        machine.outbox.write(Record::Life(machine.life));
        machine
    }

    /// All messages wait for what was written before; where one could do without, a batch more or
    /// less does not matter here.
    fn send(&mut self, to: NodeId, message: Message) {
        if let Some(envelope) = self.links.address(to, message) {
            self.outbox.send_after(envelope);
        }
    }
}

impl Machine for TwoPhase {
    type Command = Command;
    /// The transaction that began; `None` for what begins none, and for nobody to take part.
    type Reply = Option<Txn>;
    type Message = Message;
    type Record = Record;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = Event;

    fn call(&mut self, now: Instant, command: Command) -> Option<Txn> {
        match command {
            Command::Begin(participants) => return self.begin(now, participants),
            Command::Prepared(txn) => self.prepared(now, txn),
            Command::Refused(txn) => self.refused(txn),
            Command::Finished(txn) => self.finished(txn),
            Command::Found(txn) => self.found(txn),
        }
        None
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        let from = envelope.from;
        let made_sense = self.links.is_current(&envelope)
            && match envelope.message {
                Message::Prepare(txn) => self.on_prepare(from, txn),
                Message::Decision { txn, commit } => self.on_decision(from, txn, commit),
                Message::Vote { txn, yes } => self.on_vote(now, from, txn, yes),
                Message::Done(txn) => self.on_done(from, txn),
                Message::Inquire(txn) => self.on_inquire(from, txn),
            };
        self.dropped += u64::from(!made_sense);
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        self.links.set(peer, link);
        self.outbox.purge(peer);
        if self.links.is_up(peer) {
            self.ask_again(now, Some(peer));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.give_up(now);
        self.ask_again(now, None);
    }

    fn persisted(&mut self, _: Instant, write: WriteId) {
        self.outbox.persisted(write);
    }

    fn loaded(&mut self, _: Instant, _: LoadId, answer: Option<Infallible>) {
        match answer {
            Some(never) => match never {},
            None => debug_assert!(false, "nothing was asked for"),
        }
    }

    fn poll(&mut self) -> Option<Output<Message, Record, Event, Infallible>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        let votes = self.coordinated.values().map(Coordinated::wake);
        let doubts = self.taken.values().filter_map(Taken::wake);
        votes.chain(doubts).map(Some).fold(None, Wake::earlier)
    }
}

impl Node for TwoPhase {
    type Disk = Vec<Record>;

    fn store(disk: &mut Vec<Record>, record: Record) {
        disk.push(record);
    }

    fn fetch(_: &Vec<Record>, load: &Infallible) -> Option<Infallible> {
        match *load {}
    }

    fn start(id: NodeId, now: Instant, disk: &Vec<Record>, _: u64) -> Self {
        Self::restore(id, now, disk)
    }
}
