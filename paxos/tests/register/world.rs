//! A cluster in one hand: network, disks, clock, clients and an operator, all from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Batch, Envelope, Instant, Link, LinkId, Machine, NodeId, Output, Rng, Ticket, WriteId,
};
use synod_paxos::Ballot;
use synod_paxos::register::planted::Bug;
use synod_paxos::register::{
    Body, CasPaxos, Change, Command, Condition, Config, Decision, Event, Key, Message, Record,
    Refusal, Restored, State, Step, Version, Versioned,
};
use synod_quorum::PaxosPhases;
use synod_sim::history::{self, ClientId, History, OpId};
use synod_sim::linear::{Checker, Verdict};

use crate::model::{Kind, Op, Registers, Ret};

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Steps of the configuration, with five nodes instead of three.
    pub(crate) steps: bool,
    /// Deletes among the operations.
    pub(crate) deletes: bool,
    pub(crate) bug: Option<Bug>,
}

/// What a run has seen.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) mismatched: u64,
    pub(crate) asked: u64,
    pub(crate) purged: u64,
    pub(crate) stepped: u64,
    pub(crate) overtaken: u64,
    pub(crate) settled: u64,
    pub(crate) crashed: u64,
    pub(crate) torn: u64,
    pub(crate) messages: u64,
}

#[derive(Clone, Debug)]
enum Due {
    Deliver(Envelope<Message>),
    Persisted(NodeId, u64, WriteId),
    Tick(NodeId, u64),
    Ask(u64),
    Answer(NodeId, u64, Command),
    Crash,
    Fall(NodeId, u64),
    Restart(NodeId),
    Cut,
    Operate,
}

struct Node {
    machine: Option<CasPaxos>,
    disk: Restored,
    writing: Option<(WriteId, Batch<Record>)>,
    life: u64,
    /// Which operation a ticket is for, and the value that a custom change puts.
    tickets: BTreeMap<Ticket, OpId>,
    steps: BTreeMap<Ticket, Step>,
    /// What was there when a custom change was asked.
    asked: BTreeMap<Ballot, Option<u64>>,
}

pub(crate) struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    count: u64,
    agenda: BTreeMap<(u64, u64), Due>,
    nodes: BTreeMap<NodeId, Node>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    loss: u32,
    repeats: u32,
    lates: u32,
    crashes: u32,
    falls: u32,
    pause: u64,
    haste: u64,
    disk_ms: u64,
    calm: bool,
    history: History<Op, Ret>,
    /// The operation of each client.
    open: BTreeMap<u64, OpId>,
    /// The last versions that clients have seen.
    versions: BTreeMap<u64, Version>,
    /// The highest version of each register that somebody was told of: a fencing number.
    fences: BTreeMap<u8, Version>,
    /// What it was when an operation was asked for.
    fenced: BTreeMap<OpId, Version>,
    values: u64,
    keys: u64,
    /// What was proposed in each ballot.
    proposed: BTreeMap<(Key, Ballot), State>,
    /// Which life has used a ballot.
    used: BTreeMap<Ballot, u64>,
    target: Option<PaxosPhases>,
    pub(crate) seen: Seen,
    trouble: Option<String>,
    trace: bool,
}

const MS: u64 = 1_000_000;
const CLIENTS: u64 = 4;
/// When faults end.
const STORM: u64 = 3_000 * MS;
/// When everything must have come to rest.
const END: u64 = 12_000 * MS;

fn bytes(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

fn number(versioned: &Versioned) -> u64 {
    u64::from_le_bytes(versioned.value.as_ref().try_into().unwrap())
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let some = |rng: &mut Rng, most: u64| u32::try_from(rng.below(most)).unwrap();
        let mut world = Self {
            plan,
            now: 0,
            count: 0,
            agenda: BTreeMap::new(),
            nodes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            loss: some(&mut rng, 3) * 80_000,
            repeats: some(&mut rng, 2) * 100_000,
            lates: some(&mut rng, 3) * 50_000,
            crashes: some(&mut rng, 3),
            falls: some(&mut rng, 3) * 15_000,
            pause: rng.within(20, 150),
            haste: 1 + rng.below(4),
            disk_ms: rng.below(3) * 10,
            calm: false,
            history: History::new(),
            open: BTreeMap::new(),
            versions: BTreeMap::new(),
            fences: BTreeMap::new(),
            fenced: BTreeMap::new(),
            values: 0,
            keys: 1 + rng.below(2),
            proposed: BTreeMap::new(),
            used: BTreeMap::new(),
            target: None,
            seen: Seen::default(),
            trouble: None,
            trace: std::env::var_os("SYNOD_TRACE").is_some(),
            rng,
        };
        let count = if plan.steps { 5 } else { 3 };
        for id in 1..=count {
            let node = Node {
                machine: None,
                disk: Restored::new(),
                writing: None,
                life: 0,
                tickets: BTreeMap::new(),
                steps: BTreeMap::new(),
                asked: BTreeMap::new(),
            };
            world.nodes.insert(NodeId(id), node);
        }
        for id in 1..=count {
            world.restart(NodeId(id));
        }
        for client in 0..CLIENTS {
            world.at(10, Due::Ask(client));
        }
        world.at(200, Due::Crash);
        world.at(150, Due::Cut);
        if plan.steps {
            world.at(100, Due::Operate);
        }
        world
    }

    fn config(&self, id: NodeId, life: u64) -> Config {
        let ms = Duration::from_millis;
        // Small batches of everything, so that limits are met.
        let mut builder = Config::builder(id)
            .seed(synod_core::mix(self.plan.seed, id.0 * 1000 + life))
            .retry_interval(ms(30))
            .backoff(ms(2)..=ms(60))
            .change_timeout(ms(300))
            .purge_delay(ms(60))
            .max_promises(2)
            .max_caches(2);
        if !self.plan.steps || id.0 <= 3 {
            builder = builder.acceptors([1, 2, 3].map(NodeId));
        }
        if let Some(bug) = self.plan.bug {
            builder = builder.danger_plant(bug);
        }
        builder.build().unwrap()
    }

    fn at(&mut self, ms: u64, due: Due) {
        self.at_nanos(ms * MS, due);
    }

    fn at_nanos(&mut self, nanos: u64, due: Due) {
        self.count += 1;
        self.agenda.insert((self.now + nanos, self.count), due);
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn stamp(&self) -> history::Instant {
        history::Instant::from_nanos(self.now)
    }

    fn fail(&mut self, what: String) {
        if self.trouble.is_none() {
            self.trouble = Some(what);
        }
    }

    fn log(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>6} ms  {}", self.now / MS, what());
        }
    }

    // Nodes.

    fn restart(&mut self, id: NodeId) {
        let life = self.nodes[&id].life + 1;
        let config = self.config(id, life);
        let now = self.instant();
        self.log(|| format!("{id} starts, life {life}"));
        let disk = self.nodes[&id].disk.clone();
        let machine = match CasPaxos::new(config, disk, now) {
            Ok(machine) => machine,
            Err(error) => return self.fail(format!("{id} does not start: {error}")),
        };
        let node = self.nodes.get_mut(&id).unwrap();
        node.machine = Some(machine);
        node.life = life;
        let others: Vec<NodeId> = self.nodes.keys().copied().filter(|it| *it != id).collect();
        for other in others {
            // One link for ever: what was sent in an earlier life may arrive in a later one.
            self.with(id, |machine, now| {
                machine.link(now, other, Link::Up(LinkId(1)))
            });
        }
    }

    fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.machine.take().is_none() {
            return;
        }
        if let Some((_, mut batch)) = node.writing.take() {
            let keep = usize::try_from(self.rng.below(batch.len() as u64 + 1)).unwrap();
            self.seen.torn += u64::from(keep > 0 && keep < batch.len());
            batch.truncate(keep);
            batch.into_iter().for_each(|record| node.disk.apply(record));
        }
        node.life += 1;
        self.seen.crashed += 1;
        let lost = std::mem::take(&mut node.tickets);
        node.steps.clear();
        node.asked.clear();
        self.log(|| format!("{id} crashes"));
        for op in lost.into_values() {
            self.end(op, None);
        }
    }

    /// Gives an input to a node and does what it says.
    fn with(&mut self, id: NodeId, input: impl FnOnce(&mut CasPaxos, Instant)) {
        let now = self.instant();
        let Some(machine) = self
            .nodes
            .get_mut(&id)
            .and_then(|node| node.machine.as_mut())
        else {
            return;
        };
        input(machine, now);
        self.drain(id);
    }

    fn drain(&mut self, id: NodeId) {
        loop {
            let node = self.nodes.get_mut(&id).unwrap();
            let Some(output) = node.machine.as_mut().and_then(CasPaxos::poll) else {
                break;
            };
            match output {
                Output::Send(envelope) => self.send(envelope),
                Output::Persist(write, batch) => {
                    assert!(node.writing.is_none(), "one write at a time");
                    node.writing = Some((write, batch));
                    let life = node.life;
                    let delay = self.rng.below(self.disk_ms * MS + 1);
                    self.at_nanos(delay, Due::Persisted(id, life, write));
                }
                Output::Load(_, never) => match never {},
                Output::Event(event) => self.on_event(id, event),
            }
        }
        let node = self.nodes.get_mut(&id).unwrap();
        let (life, now) = (node.life, self.now);
        if let Some(machine) = &node.machine {
            machine.check();
            if let Some(wake) = machine.deadline() {
                let wait = wake.at.as_nanos().saturating_sub(now);
                self.at_nanos(wait, Due::Tick(id, life));
            }
        }
    }

    fn persisted(&mut self, id: NodeId, life: u64, write: WriteId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.life != life {
            return;
        }
        let (_, batch) = node.writing.take().unwrap();
        batch.into_iter().for_each(|record| node.disk.apply(record));
        self.with(id, |machine, now| machine.persisted(now, write));
        let node = &self.nodes[&id];
        let machine = node.machine.as_ref().unwrap();
        if node.writing.is_none() && self.plan.bug.is_none() {
            let twin = Restored::new();
            let twin = machine
                .storage()
                .records()
                .into_iter()
                .fold(twin, |mut twin, record| {
                    twin.apply(record);
                    twin
                });
            assert_eq!(&twin, machine.storage(), "few records say the same");
            assert_eq!(
                &node.disk,
                machine.storage(),
                "what is written is what is there"
            );
        }
    }

    // The network.

    fn send(&mut self, envelope: Envelope<Message>) {
        self.seen.messages += 1;
        self.log(|| {
            format!(
                "{} -> {}: {:?}",
                envelope.from, envelope.to, envelope.message
            )
        });
        let ballot = match &envelope.message.body {
            Body::Prepare { ballot, .. } => Some(*ballot),
            Body::Accept(accept) => Some(accept.ballot),
            _ => None,
        };
        if let Some(ballot) = ballot {
            let life = self.nodes[&envelope.from].life;
            let first = *self.used.entry(ballot).or_insert(life);
            if first != life {
                self.fail(format!("{ballot} is used in lives {first} and {life}"));
            }
        }
        if let Body::Accept(accept) = &envelope.message.body {
            let place = (accept.key.clone(), accept.ballot);
            let before = self.proposed.insert(place, accept.state.clone());
            if before.is_some_and(|before| before != accept.state) {
                self.fail(format!("two proposals in {}", accept.ballot));
            }
        }
        let matters = matches!(
            envelope.message.body,
            Body::Accept(_) | Body::Promised { .. } | Body::Accepted { .. }
        );
        if matters && self.now < STORM && self.rng.chance(self.falls) {
            // Right after it has said something that it must not forget.
            let life = self.nodes[&envelope.from].life;
            self.at(0, Due::Fall(envelope.from, life));
        }
        let cut = self.cuts.contains(&(envelope.from, envelope.to));
        if cut || !self.calm && self.rng.chance(self.loss) {
            return;
        }
        if !self.calm && self.rng.chance(self.repeats) {
            let delay = self.delay();
            self.at_nanos(delay, Due::Deliver(envelope.clone()));
        }
        let delay = self.delay();
        self.at_nanos(delay, Due::Deliver(envelope));
    }

    fn delay(&mut self) -> u64 {
        if !self.calm && self.rng.chance(self.lates) {
            return self.rng.within(50 * MS, 1_500 * MS);
        }
        self.rng.within(MS / 2, 12 * MS)
    }

    // Clients.

    fn ask(&mut self, client: u64) {
        let pause = self.rng.within(5, self.pause);
        self.at(pause, Due::Ask(client));
        if self.open.contains_key(&client) || self.now > STORM {
            return;
        }
        let up: Vec<NodeId> = self.up();
        let Some(&id) = self.rng.pick(&up) else {
            return;
        };
        self.values += 1;
        let value = self.values;
        let key = u8::try_from(self.rng.below(self.keys)).unwrap();
        let expected = self.expected();
        let (kind, change) = self.draw(value, expected);
        let op = Op { key, kind };
        self.request(client, id, op, change);
    }

    fn up(&self) -> Vec<NodeId> {
        let ready = |node: &Node| {
            let machine = node.machine.as_ref();
            machine.is_some_and(|machine| machine.configuration().is_some())
        };
        let up = self.nodes.iter().filter(|(_, node)| ready(node));
        up.map(|(id, _)| *id).collect()
    }

    /// A value that was there lately.
    fn expected(&mut self) -> u64 {
        let latest: Vec<u64> = self.versions.keys().rev().take(3).copied().collect();
        self.rng.pick(&latest).copied().unwrap_or(0)
    }

    fn draw(&mut self, value: u64, expected: u64) -> (Kind, Change) {
        let write = |value, when| Change::Write {
            value: bytes(value),
            when,
        };
        let when = Condition::Always;
        match self.rng.below(if self.plan.deletes { 12 } else { 10 }) {
            0..=2 => (Kind::Read, Change::Read),
            3 | 4 => (Kind::Write(value), write(value, when)),
            5 => (Kind::Create(value), write(value, Condition::Absent)),
            6 => {
                let change = write(value, Condition::Value(bytes(expected)));
                (Kind::Cas(expected, value), change)
            }
            7 => match self.versions.get(&expected) {
                Some(version) => {
                    let change = write(value, Condition::Version(*version));
                    (Kind::Cas(expected, value), change)
                }
                None => (Kind::Read, Change::Read),
            },
            8 | 9 => (Kind::Custom(value), Change::Custom),
            _ => (Kind::Delete, Change::Delete { when }),
        }
    }

    fn request(&mut self, client: u64, id: NodeId, op: Op, change: Change) {
        let opened = self.history.invoke(ClientId(client), op, self.stamp());
        self.log(|| format!("client {client} at {id}: {op:?} ({opened:?})"));
        self.open.insert(client, opened);
        if let Some(fence) = self.fences.get(&op.key) {
            self.fenced.insert(opened, *fence);
        }
        let key = Bytes::copy_from_slice(&[b'k', op.key]);
        let now = self.instant();
        let node = self.nodes.get_mut(&id).unwrap();
        let machine = node.machine.as_mut().unwrap();
        match machine.call(now, Command::Change { key, change }) {
            Ok(ticket) => {
                node.tickets.insert(ticket.unwrap(), opened);
            }
            Err(_) => {
                self.history.fail(opened);
                self.open.remove(&client);
            }
        }
        self.drain(id);
    }

    /// An operation has come to its end: with an answer, or nobody knows.
    fn end(&mut self, op: OpId, ret: Option<Ret>) {
        let now = self.stamp();
        match ret {
            Some(ret) => self.history.complete(op, ret, now),
            None => self.history.unknown(op),
        }
        self.log(|| format!("{op:?}: {ret:?}"));
        self.open.retain(|_, open| *open != op);
    }

    /// Versions only grow: what was made is above all that was told of before it was asked for, and
    /// what is there is not below.
    fn fence(&mut self, op: OpId, made: Option<Version>, current: Option<Version>) {
        let before = self.fenced.get(&op).copied();
        if made.is_some_and(|made| Some(made) <= before)
            || current.is_some_and(|current| Some(current) < before)
        {
            self.fail(format!(
                "{op:?} made {made:?} and found {current:?} after {before:?}"
            ));
        }
        let key = self.history.get(op).op().key;
        if let Some(last) = made.max(current) {
            let fence = self.fences.entry(key).or_insert(last);
            *fence = last.max(*fence);
        }
    }

    fn remember(&mut self, current: Option<&Versioned>) -> Option<u64> {
        let current = current?;
        let value = number(current);
        if let Some(known) = self.versions.insert(value, current.version)
            && known != current.version
        {
            self.fail(format!(
                "{value} has versions {known} and {}",
                current.version
            ));
        }
        Some(value)
    }

    fn take(&mut self, id: NodeId, ticket: Ticket) -> Option<OpId> {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.steps.remove(&ticket).is_some() {
            return None;
        }
        let op = node.tickets.remove(&ticket);
        if op.is_none() {
            self.fail(format!("{id}: {ticket} is settled twice"));
        }
        op
    }

    fn on_event(&mut self, id: NodeId, event: Event) {
        self.log(|| format!("{id}: {event:?}"));
        match event {
            Event::Done {
                ticket,
                made,
                current,
            } => {
                let Some(op) = self.take(id, ticket) else {
                    return;
                };
                self.seen.done += 1;
                self.fence(op, made, current.as_ref().map(|it| it.version));
                let current = self.remember(current.as_ref());
                let asked = &self.nodes[&id].asked;
                let asked = made.and_then(|made| asked.get(&made.0).copied());
                let ret = match self.history.get(op).op().kind {
                    Kind::Read => Ret::Value(current),
                    Kind::Custom(_) => Ret::Replaced(asked.unwrap()),
                    Kind::Write(_) | Kind::Create(_) | Kind::Cas(..) | Kind::Delete => Ret::Done,
                };
                self.end(op, Some(ret));
            }
            Event::Refused { ticket, why } => match why {
                Refusal::Condition { current } => {
                    let Some(op) = self.take(id, ticket) else {
                        return;
                    };
                    self.seen.mismatched += 1;
                    self.fence(op, None, current.as_ref().map(|it| it.version));
                    let current = self.remember(current.as_ref());
                    self.end(op, Some(Ret::Mismatch(current)));
                }
                why => {
                    self.seen.overtaken += u64::from(matches!(why, Refusal::Overtaken { .. }));
                    if let Some(op) = self.take(id, ticket) {
                        self.seen.refused += 1;
                        self.history.fail(op);
                        self.open.retain(|_, open| *open != op);
                    }
                }
            },
            Event::Unknown { ticket } => {
                if let Some(op) = self.take(id, ticket) {
                    self.seen.unknown += 1;
                    self.end(op, None);
                }
            }
            Event::Ask {
                ticket,
                ballot,
                current,
            } => {
                self.seen.asked += 1;
                // Not remembered: what it shows need not be chosen until the change is done.
                let current = current.as_ref().map(number);
                let node = self.nodes.get_mut(&id).unwrap();
                let (life, op) = (node.life, node.tickets[&ticket]);
                node.asked.insert(ballot, current);
                let Kind::Custom(value) = self.history.get(op).op().kind else {
                    unreachable!("only custom changes ask")
                };
                let command = Command::Decide {
                    ticket,
                    ballot,
                    decision: Decision::Write(bytes(value)),
                };
                let pause = self.rng.below(30);
                self.at(pause, Due::Answer(id, life, command));
            }
            Event::Stepped { ticket, .. } => {
                let step = self.nodes.get_mut(&id).unwrap().steps.remove(&ticket);
                match step {
                    Some(Step::Settle) => self.seen.settled += 1,
                    Some(Step::Phases(_)) => self.seen.stepped += 1,
                    None => self.fail(format!("{id}: {ticket} is settled twice")),
                }
            }
            Event::Purged { .. } => self.seen.purged += 1,
            Event::Configured(_) | Event::Settling { .. } => {}
            Event::Amnesia { .. } => self.fail(format!("{id} takes a node for another")),
            Event::Stopped(stop) => self.fail(format!("{id} stopped: {stop:?}")),
        }
    }

    // Faults and the operator.

    fn storm(&mut self) {
        if self.now > STORM {
            return;
        }
        if self.crashes > 0 {
            let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            let id = *self.rng.pick(&ids).unwrap();
            self.crash(id);
            let down = self.rng.within(5, 400);
            self.at(down, Due::Restart(id));
        }
        let pause = self.rng.within(50, 1_200 / u64::from(self.crashes.max(1)));
        self.at(pause, Due::Crash);
    }

    fn cut(&mut self) {
        self.cuts.clear();
        if self.now > STORM {
            return;
        }
        if self.rng.chance(500_000) {
            let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            for &from in &ids {
                for &to in &ids {
                    if self.rng.chance(250_000) {
                        self.cuts.insert((from, to));
                    }
                }
            }
        }
        let pause = self.rng.within(50, 600);
        self.at(pause, Due::Cut);
    }

    /// Takes steps towards a membership drawn at random, at whatever node.
    fn operate(&mut self) {
        let pause = self.rng.within(10, 200) / self.haste;
        self.at(pause, Due::Operate);
        let up = self.up();
        let Some(&id) = self.rng.pick(&up) else {
            return;
        };
        if self.target.is_none() && self.now < STORM {
            let mut ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            self.rng.shuffle(&mut ids);
            ids.truncate(usize::try_from(self.rng.within(2, 5)).unwrap());
            self.target = PaxosPhases::majority(ids).ok();
        }
        let Some(target) = self.target.clone() else {
            return;
        };
        let now = self.instant();
        let node = self.nodes.get_mut(&id).unwrap();
        let machine = node.machine.as_mut().unwrap();
        match machine.configuration().unwrap().toward(&target) {
            Ok(Some(step)) => {
                if let Ok(ticket) = machine.call(now, Command::Configure(step.clone())) {
                    node.steps.insert(ticket.unwrap(), step);
                }
                self.drain(id);
            }
            Ok(None) | Err(_) => self.target = None,
        }
    }

    // The run.

    fn step(&mut self) -> bool {
        let Some(((at, _), due)) = self.agenda.pop_first() else {
            return false;
        };
        self.now = at;
        match due {
            Due::Deliver(envelope) => {
                let to = envelope.to;
                self.with(to, |machine, now| machine.step(now, envelope));
            }
            Due::Persisted(id, life, write) => self.persisted(id, life, write),
            Due::Tick(id, life) => {
                let now = self.instant();
                let node = &self.nodes[&id];
                let due = node.machine.as_ref().and_then(CasPaxos::deadline);
                if node.life == life && due.is_some_and(|wake| wake.at <= now) {
                    self.with(id, |machine, now| machine.tick(now));
                }
            }
            Due::Ask(client) => self.ask(client),
            Due::Answer(id, life, command) => {
                if self.nodes[&id].life == life {
                    self.with(id, |machine, now| drop(machine.call(now, command)));
                }
            }
            Due::Crash => self.storm(),
            Due::Fall(id, life) => {
                if self.nodes[&id].life == life {
                    self.crash(id);
                    let down = self.rng.within(1, 40);
                    self.at(down, Due::Restart(id));
                }
            }
            Due::Restart(id) => {
                if self.nodes[&id].machine.is_none() {
                    self.restart(id);
                }
            }
            Due::Cut => self.cut(),
            Due::Operate => self.operate(),
        }
        true
    }

    fn until(&mut self, end: u64) {
        while self.trouble.is_none()
            && self
                .agenda
                .first_key_value()
                .is_some_and(|((at, _), _)| *at <= end)
        {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Runs to the end; what is wrong, if something is.
    pub(crate) fn run(mut self) -> Result<Seen, String> {
        self.until(STORM);
        self.calm = true;
        self.cuts.clear();
        let down: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in down {
            if self.trouble.is_none() && self.nodes[&id].machine.is_none() {
                self.restart(id);
            }
        }
        self.until(STORM + 2_000 * MS);
        if self.trouble.is_none() && !self.open.is_empty() {
            self.fail(format!("never settled: {:?}", self.open));
        }
        self.final_reads();
        if self.trouble.is_none() {
            self.rest();
        }
        match self.trouble {
            Some(trouble) => Err(trouble),
            None => self.judge(),
        }
    }

    /// In calm weather every node that is a proposer reads everything.
    fn final_reads(&mut self) {
        for id in self.up() {
            for key in 0..self.keys {
                if self.trouble.is_some() {
                    return;
                }
                let key = u8::try_from(key).unwrap();
                let kind = Kind::Read;
                self.request(100 + id.0, id, Op { key, kind }, Change::Read);
                let end = self.now + 2_000 * MS;
                self.until(end);
                let last = self.history.iter().last().unwrap().1;
                if self.trouble.is_none() && last.ret().is_none() {
                    self.fail(format!("{id} cannot read {key} in calm weather"));
                }
            }
        }
    }

    /// Nothing goes on for ever, and tombstones do not stay.
    fn rest(&mut self) {
        let end = self.now.max(END);
        self.until(end);
        if self.plan.bug.is_some() || self.trouble.is_some() {
            return;
        }
        let mut stale = Vec::new();
        for (id, node) in &self.nodes {
            let machine = node.machine.as_ref().unwrap();
            assert_eq!(machine.changes(), 0, "{id} still changes something");
            for (key, register) in &machine.storage().registers {
                let vote = register.vote.as_ref();
                if vote.is_some_and(|vote| vote.state.value.is_none()) {
                    stale.push((*id, key.clone(), register.clone()));
                }
            }
        }
        if !stale.is_empty() {
            // A purge that was cut off between two acceptors leaves one to those that hold it.
            for id in self.up() {
                self.with(id, |machine, now| drop(machine.call(now, Command::Collect)));
                let end = self.now + 1_000 * MS;
                self.until(end);
            }
            for (id, key, register) in stale {
                let held = self.nodes[&id].machine.as_ref().unwrap();
                if held.storage().registers.get(&key) == Some(&register) {
                    self.fail(format!("{id} keeps a tombstone of {key:?}: {register:?}"));
                }
            }
        }
    }

    fn judge(self) -> Result<Seen, String> {
        match Checker::new(Registers)
            .step_limit(2_000_000)
            .check(&self.history)
        {
            Verdict::Linearizable(_) => Ok(self.seen),
            Verdict::NotLinearizable(violation) => {
                let ops = violation.ops.iter();
                let ops: Vec<String> = ops
                    .map(|id| format!("{id:?} {:?}", self.history.get(*id)))
                    .collect();
                Err(format!("not linearizable:\n{}", ops.join("\n")))
            }
            Verdict::Unknown { .. } => Err("too hard to judge".into()),
        }
    }
}
