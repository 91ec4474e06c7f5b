//! A machine that is no log under the simulator: registers that any node writes and reads through a
//! majority (Attiya, Bar-Noy and Dolev 1995; Lynch and Shvartsman 1997), with planted bugs.

extern crate alloc;

use alloc::collections::{BTreeMap, BTreeSet};
use core::convert::Infallible;
use core::time::Duration;

use synod_core::{
    Envelope, Instant, Link, LinkId, LoadId, Machine, NodeId, Outbox, Output, Rng, Ticket, Wake,
    WriteId, mix,
};
use synod_sim::linear::{Register, RegisterOp, RegisterRet};
use synod_sim::{
    Campaign, Clients, Effort, Keyed, Latest, Service, Settled, Simulation, Start, Subject,
    Workload,
};

const RETRY: Duration = Duration::from_millis(100);
/// How many operations a node takes on at once.
const MOST: usize = 8;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Bug {
    MajorityMinusOne,
    AckBeforeSync,
    NoWriteBack,
    /// Two writes of one node can have the same mark.
    MarkUsedTwice,
}

/// What a key holds: the highest mark wins.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Default)]
struct Value {
    mark: (u64, u64),
    value: u64,
}

#[derive(Clone, PartialEq, Debug)]
struct Put(u64, Value);

impl Keyed for Put {
    type Key = u64;

    fn key(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Message {
    Ask(Ticket, u64),
    Tell(Ticket, Value),
    Store(Ticket, u64, Value),
    Stored(Ticket),
}

/// An operation under way: first all are asked, then they store.
struct Op {
    key: u64,
    /// What is written; a read stores what it has found.
    new: Option<u64>,
    best: Value,
    stores: bool,
    heard: BTreeSet<NodeId>,
}

struct Abd {
    id: NodeId,
    others: Vec<NodeId>,
    seed: u64,
    bug: Option<Bug>,
    links: BTreeMap<NodeId, LinkId>,
    values: BTreeMap<u64, Value>,
    ops: BTreeMap<Ticket, Op>,
    last: Ticket,
    retry_at: Option<Instant>,
    outbox: Outbox<Message, Put, (Ticket, RegisterRet<u64>), Infallible, Ticket>,
}

impl Abd {
    fn new(start: Start<'_, Vec<Put>>, bug: Option<Bug>) -> Self {
        let others = start.voters.iter().filter(|id| **id != start.id);
        Self {
            id: start.id,
            others: others.copied().collect(),
            seed: start.seed,
            bug,
            links: BTreeMap::new(),
            values: start
                .restored
                .into_iter()
                .map(|put| (put.0, put.1))
                .collect(),
            ops: BTreeMap::new(),
            last: Ticket(0),
            retry_at: None,
            outbox: Outbox::new(1),
        }
    }

    fn envelope(&self, to: NodeId, message: Message) -> Option<Envelope<Message>> {
        let (from, link) = (self.id, *self.links.get(&to)?);
        Some(Envelope {
            from,
            to,
            link,
            message,
        })
    }

    /// Says what an operation needs to know to those who have not answered.
    fn say(&mut self, ticket: Ticket) {
        let Some(op) = self.ops.get(&ticket) else {
            return;
        };
        let message = match op.stores {
            false => Message::Ask(ticket, op.key),
            true => Message::Store(ticket, op.key, op.best),
        };
        let silent = self.others.iter().filter(|id| !op.heard.contains(id));
        for to in silent.copied().collect::<Vec<_>>() {
            if let Some(envelope) = self.envelope(to, message.clone()) {
                self.outbox.send_after(envelope);
            }
        }
    }

    fn keep(&mut self, key: u64, value: Value) {
        let known = self.values.entry(key).or_default();
        if known.mark < value.mark {
            *known = value;
            self.outbox.write(Put(key, value));
        }
    }

    /// One more node has answered this phase of an operation.
    fn heard(&mut self, now: Instant, ticket: Ticket, from: NodeId, stores: bool) {
        let members = self.others.len() + 1;
        let majority = members / 2 + 1;
        let needed =
            majority - usize::from(self.bug == Some(Bug::MajorityMinusOne) && majority > 1);
        let Some(op) = self.ops.get_mut(&ticket).filter(|op| op.stores == stores) else {
            return;
        };
        op.heard.insert(from);
        if op.heard.len() < needed {
            return;
        }
        let done = op.stores || op.new.is_none() && self.bug == Some(Bug::NoWriteBack);
        if done {
            let answer = match op.new {
                Some(_) => RegisterRet::Written,
                None => RegisterRet::Value(op.best.value),
            };
            self.ops.remove(&ticket);
            return self.outbox.event_now((ticket, answer));
        }
        if let Some(value) = op.new {
            let own = match self.bug {
                Some(Bug::MarkUsedTwice) => self.id.0,
                _ => mix(self.seed, ticket.0),
            };
            op.best = Value {
                mark: (op.best.mark.0 + 1, own),
                value,
            };
        }
        (op.stores, op.heard) = (true, BTreeSet::new());
        let (key, best) = (op.key, op.best);
        self.keep(key, best);
        self.outbox.note_after(ticket);
        self.say(ticket);
        self.counts(now);
    }

    /// Counts itself where its own write is durable.
    fn counts(&mut self, now: Instant) {
        while let Some(ticket) = self.outbox.next_note() {
            self.heard(now, ticket, self.id, true);
        }
        self.retry_at = (!self.ops.is_empty()).then(|| self.retry_at.unwrap_or(now + RETRY));
    }
}

impl Machine for Abd {
    type Command = RegisterOp<u64, u64>;
    type Reply = Option<Ticket>;
    type Message = Message;
    type Record = Put;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = (Ticket, RegisterRet<u64>);

    fn call(&mut self, now: Instant, command: Self::Command) -> Option<Ticket> {
        let (key, new) = match command {
            RegisterOp::Read { key } => (key, None),
            RegisterOp::Write { key, value } => (key, Some(value)),
            RegisterOp::Cas { .. } => unreachable!("it is not asked"),
        };
        if self.ops.len() == MOST {
            return None;
        }
        self.last.0 += 1;
        let best = self.values.get(&key).copied().unwrap_or_default();
        let heard = BTreeSet::new();
        self.ops.insert(
            self.last,
            Op {
                key,
                new,
                best,
                stores: false,
                heard,
            },
        );
        self.say(self.last);
        self.heard(now, self.last, self.id, false);
        self.counts(now);
        Some(self.last)
    }

    fn step(&mut self, now: Instant, Envelope { from, message, .. }: Envelope<Message>) {
        let answer = match message {
            Message::Ask(ticket, key) => {
                Message::Tell(ticket, self.values.get(&key).copied().unwrap_or_default())
            }
            Message::Store(ticket, key, value) => {
                self.keep(key, value);
                Message::Stored(ticket)
            }
            Message::Tell(ticket, value) => {
                let op = self.ops.get_mut(&ticket).filter(|op| !op.stores);
                if let Some(op) = op.filter(|op| op.best.mark < value.mark) {
                    op.best = value;
                }
                return self.heard(now, ticket, from, false);
            }
            Message::Stored(ticket) => return self.heard(now, ticket, from, true),
        };
        match (self.envelope(from, answer), self.bug) {
            (Some(envelope), Some(Bug::AckBeforeSync)) => self.outbox.send_now(envelope),
            (Some(envelope), _) => self.outbox.send_after(envelope),
            (None, _) => {}
        }
    }

    fn link(&mut self, _: Instant, peer: NodeId, link: Link) {
        self.outbox.purge(peer);
        match link {
            Link::Up(link) => self.links.insert(peer, link),
            Link::Down => self.links.remove(&peer),
        };
    }

    fn tick(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = Some(now + RETRY);
            for ticket in self.ops.keys().copied().collect::<Vec<_>>() {
                self.say(ticket);
            }
        }
    }

    fn persisted(&mut self, now: Instant, write: WriteId) {
        self.outbox.persisted(write);
        self.counts(now);
    }

    fn loaded(&mut self, _: Instant, _: LoadId, answer: Option<Infallible>) {
        match answer {
            Some(impossible) => match impossible {},
            None => unreachable!("this machine loads nothing"),
        }
    }

    fn poll(&mut self) -> Option<Output<Message, Put, Self::Event, Infallible>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        self.retry_at.map(|at| Wake { at, why: "retry" })
    }
}

#[derive(Clone, Copy)]
struct OnAbd(Option<Bug>);

impl Subject for OnAbd {
    type Machine = Abd;
    type Disk = Latest<Put>;

    fn start(&self, start: Start<'_, Vec<Put>>) -> Abd {
        Abd::new(start, self.0)
    }
}

struct Registers;

impl Service<OnAbd> for Registers {
    type Model = Register<u64, u64>;

    fn model(&self) -> Register<u64, u64> {
        Register::new(0)
    }

    fn draw(&self, rng: &mut Rng, work: &Workload, unique: u64) -> RegisterOp<u64, u64> {
        // Some keys are asked for all the time, others so seldom that a lost write stays seen.
        let key = match rng.chance(500_000) {
            true => rng.below(work.keys),
            false => work.keys + rng.below(50),
        };
        match rng.chance(work.reads_per_million) {
            true => RegisterOp::Read { key },
            false => RegisterOp::Write { key, value: unique },
        }
    }

    fn command(&self, op: &RegisterOp<u64, u64>) -> RegisterOp<u64, u64> {
        op.clone()
    }

    fn reply(&self, ticket: Option<Ticket>) -> Result<Ticket, Settled<RegisterRet<u64>>> {
        ticket.ok_or(Settled::Refused)
    }

    fn event(
        &self,
        (ticket, answer): (Ticket, RegisterRet<u64>),
    ) -> Option<(Ticket, Settled<RegisterRet<u64>>)> {
        Some((ticket, Settled::Done(answer)))
    }
}

fn simulation(bug: Option<Bug>) -> Simulation<OnAbd, Clients<Registers>> {
    Simulation::new(OnAbd(bug), Clients(Registers))
}

#[test]
fn no_seed_breaks_registers() {
    let summary = Campaign::from_env("registers", 300).run(&simulation(None));
    println!("{summary}");
    assert!(summary.failure.is_none(), "see above");
    // One seed that is repeated need not see it all.
    if summary.seeds >= 300 {
        let marks = &summary.marks;
        assert_eq!(marks.get("histories too long to search"), 0);
        let missed = summary.missed(&[
            ("crashes in recovery", 1_000),
            ("messages doubled", 10_000),
            ("messages lost", 10_000),
            ("pauses", 1_000),
            ("requests refused", 1_000),
            ("torn writes", 50),
            ("writes failed", 50),
        ]);
        assert!(missed.is_empty(), "the simulator is blind: {missed:#?}");
    }
}

#[test]
fn each_bug_planted_in_registers_is_found() {
    for bug in [
        Bug::MajorityMinusOne,
        Bug::AckBeforeSync,
        Bug::NoWriteBack,
        Bug::MarkUsedTwice,
    ] {
        let campaign = Campaign::new("registers", 300).shrink(None);
        let summary = campaign.run(&simulation(Some(bug)));
        let (place, failure, _) = summary.failure.expect("it is found");
        println!("{bug:?}: seed {}, {}", place + 1, failure.breach.rule);
        assert_eq!(failure.breach.rule, "histories are linearizable");
    }
}

#[test]
fn a_seed_of_registers_repeats_itself_and_a_failure_becomes_small() {
    let report = simulation(None).twice(1).expect("the runs are the same");
    assert!(report.operations > 100);

    let simulation = simulation(Some(Bug::MajorityMinusOne));
    let found = Campaign::new("registers", 300).shrink(None);
    let (_, failure, _) = found.run(&simulation).failure.expect("it is found");
    let seed = failure.plan.seed;
    let effort = Effort {
        runs: 300,
        time: Duration::from_secs(60),
    };
    let shrunk = simulation.shrink(seed, effort).expect("the seed fails");
    let (faults, asked) = shrunk.left();
    println!("{faults}, {asked} of {:?}", shrunk.before);
    assert!((faults + asked) * 4 <= shrunk.before.0 + shrunk.before.1);
    let again = simulation.replay(seed, &shrunk.schedule, 60);
    let again = again.expect_err("what is left still breaks it");
    assert_eq!(again.breach.rule, failure.breach.rule);
    assert!(again.trace.to_string().contains("BROKEN"));
}
