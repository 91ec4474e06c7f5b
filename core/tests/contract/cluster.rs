//! A cluster of any machine in one thread and one seed: a wire, disks that tear, crashes, restarts.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt::Debug;
use core::mem;
use core::time::Duration;

use synod_core::{
    Batch, Envelope, Instant, Link, LinkId, LoadId, Machine, NodeId, Output, Rng, WriteId,
};

/// A machine, and what a driver knows besides: what its records and loads mean to a disk, and how a
/// restart builds it from that disk.
pub(crate) trait Node: Machine<Message: Clone + Debug, Event: Debug> + Sized {
    type Disk: Default;
    fn store(disk: &mut Self::Disk, record: Self::Record);
    fn fetch(disk: &Self::Disk, load: &Self::Load) -> Option<Self::Loaded>;
    /// `seed` is fresh for each life.
    fn start(id: NodeId, now: Instant, disk: &Self::Disk, seed: u64) -> Self;
    /// The machine's own invariants, against what is durable.
    fn check(&self, _disk: &Self::Disk) {}
}

/// What the wire does to messages besides delaying them; protocols that rest on the order within a
/// link get none of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lose: bool,
    pub(crate) duplicate: bool,
    pub(crate) reorder: bool,
}

struct Seat<N: Node> {
    machine: Option<N>,
    disk: N::Disk,
    /// Handed out and not durable: a crash keeps a prefix of the records.
    writing: VecDeque<(WriteId, Batch<N::Record>)>,
    loading: VecDeque<(LoadId, N::Load)>,
    /// A disk that takes writes and never finishes one.
    stalled: bool,
}

type Pair = (NodeId, NodeId);

pub(crate) struct Cluster<N: Node> {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    seats: BTreeMap<NodeId, Seat<N>>,
    /// The connection of each pair, smaller id first.
    connections: BTreeMap<Pair, u64>,
    /// Pairs that shall not be connected.
    cut: BTreeSet<Pair>,
    wire: Vec<(u64, Envelope<N::Message>)>,
    events: Vec<(NodeId, N::Event)>,
    count: u64,
    /// How often each kind of random step comes, in shares; drawn from the seed.
    weather: [u64; 6],
}

fn pair(a: NodeId, b: NodeId) -> Pair {
    (a.min(b), a.max(b))
}

/// The two ends of a connection number it differently: no machine may take a peer's id for its own.
fn link_id(connection: u64, at: NodeId, peer: NodeId) -> LinkId {
    LinkId(connection * 2 + u64::from(at > peer))
}

impl<N: Node> Cluster<N> {
    pub(crate) fn new(ids: &[u64], seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut one_of = |shares: [u64; 3]| *rng.pick(&shares).expect("three");
        let weather = [
            420,
            one_of([30, 100, 200]),
            one_of([40, 80, 80]),
            one_of([200, 400, 400]),
            one_of([5, 10, 20]),
            one_of([5, 15, 40]),
        ];
        let mut cluster = Self {
            now: Instant::from_millis(1),
            rng,
            faults: Faults::default(),
            seats: BTreeMap::new(),
            connections: BTreeMap::new(),
            cut: BTreeSet::new(),
            wire: Vec::new(),
            events: Vec::new(),
            count: 0,
            weather,
        };
        for id in ids {
            let seat = Seat {
                machine: None,
                disk: N::Disk::default(),
                writing: VecDeque::new(),
                loading: VecDeque::new(),
                stalled: false,
            };
            cluster.seats.insert(NodeId(*id), seat);
        }
        cluster.restart_all();
        cluster
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.seats.keys().copied().collect()
    }

    pub(crate) fn is_alive(&self, id: NodeId) -> bool {
        self.seats[&id].machine.is_some()
    }

    pub(crate) fn machine(&self, id: NodeId) -> &N {
        self.seats[&id].machine.as_ref().expect("alive")
    }

    pub(crate) fn disk(&self, id: NodeId) -> &N::Disk {
        &self.seats[&id].disk
    }

    /// What a driver does behind the machine's back: a snapshot that the application took.
    pub(crate) fn disk_mut(&mut self, id: NodeId) -> &mut N::Disk {
        &mut self.seats.get_mut(&id).expect("a seat").disk
    }

    /// Whether nothing is being written: when a driver may write for itself.
    pub(crate) fn is_idle(&self, id: NodeId) -> bool {
        self.seats[&id].writing.is_empty()
    }

    pub(crate) fn stall(&mut self, id: NodeId, stalled: bool) {
        self.seats.get_mut(&id).expect("a seat").stalled = stalled;
    }

    pub(crate) fn events(&mut self) -> Vec<(NodeId, N::Event)> {
        mem::take(&mut self.events)
    }

    pub(crate) fn wire(&self) -> impl Iterator<Item = &Envelope<N::Message>> {
        self.wire.iter().map(|(_, envelope)| envelope)
    }

    /// Takes messages off the wire.
    pub(crate) fn lose(&mut self, mut lost: impl FnMut(&Envelope<N::Message>) -> bool) {
        self.wire.retain(|(_, envelope)| !lost(envelope));
    }

    /// Gives an input to a machine that is alive and checks it afterwards.
    fn feed<T>(&mut self, id: NodeId, input: impl FnOnce(&mut N, Instant) -> T) -> Option<T> {
        self.now = self.now + Duration::from_micros(1);
        let now = self.now;
        let seat = self.seats.get_mut(&id)?;
        let machine = seat.machine.as_mut()?;
        let answer = input(machine, now);
        machine.check(&seat.disk);
        Some(answer)
    }

    pub(crate) fn call(&mut self, id: NodeId, command: N::Command) -> Option<N::Reply> {
        self.feed(id, |machine, now| machine.call(now, command))
    }

    /// Does the next thing that a machine asks for; whether there was one.
    pub(crate) fn poll(&mut self, id: NodeId) -> bool {
        let seat = self.seats.get_mut(&id).expect("a seat");
        let Some(output) = seat.machine.as_mut().and_then(Machine::poll) else {
            return false;
        };
        match output {
            Output::Send(envelope) => self.send(envelope),
            Output::Persist(write, records) => seat.writing.push_back((write, records)),
            Output::Load(load, what) => seat.loading.push_back((load, what)),
            Output::Event(event) => self.events.push((id, event)),
        }
        true
    }

    fn send(&mut self, envelope: Envelope<N::Message>) {
        let Some(connection) = self.connections.get(&pair(envelope.from, envelope.to)) else {
            return;
        };
        if envelope.link == link_id(*connection, envelope.from, envelope.to) {
            self.wire.push((*connection, envelope));
        }
    }

    /// Delivers what is at this place of the wire, if its connection still is.
    fn deliver(&mut self, at: usize) {
        let (connection, mut envelope) = self.wire.remove(at);
        if self.connections.get(&pair(envelope.from, envelope.to)) != Some(&connection) {
            return;
        }
        envelope.link = link_id(connection, envelope.to, envelope.from);
        self.feed(envelope.to, |machine, now| machine.step(now, envelope));
    }

    /// Finishes the oldest write of a node.
    pub(crate) fn persist(&mut self, id: NodeId) -> bool {
        let seat = self.seats.get_mut(&id).expect("a seat");
        if seat.stalled {
            return false;
        }
        let Some((write, records)) = seat.writing.pop_front() else {
            return false;
        };
        for record in records {
            N::store(&mut seat.disk, record);
        }
        self.feed(id, |machine, now| machine.persisted(now, write));
        true
    }

    /// Answers the oldest load of a node from what is durable now.
    fn answer(&mut self, id: NodeId) -> bool {
        let seat = self.seats.get_mut(&id).expect("a seat");
        let Some((load, what)) = seat.loading.pop_front() else {
            return false;
        };
        let answer = N::fetch(&seat.disk, &what);
        self.feed(id, |machine, now| machine.loaded(now, load, answer));
        true
    }

    /// Lets time go on to a node's deadline, and fires it.
    pub(crate) fn tick(&mut self, id: NodeId) -> bool {
        let machine = self.seats[&id].machine.as_ref();
        let Some(wake) = machine.and_then(Machine::deadline) else {
            return false;
        };
        self.now = self.now.max(wake.at);
        self.feed(id, |machine, now| machine.tick(now));
        true
    }

    /// Everything that can happen without time going by, until nothing does.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.turn() {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// One message, then all outputs, one write and one load of each node; whether there was any.
    pub(crate) fn turn(&mut self) -> bool {
        let mut busy = !self.wire.is_empty();
        if busy {
            self.deliver(0);
        }
        for id in self.ids() {
            while self.poll(id) {
                busy = true;
            }
            busy |= self.persist(id) | self.answer(id);
        }
        busy
    }

    /// Lets `time` go by, with everything that falls due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.settle();
            let due = self.most_urgent().filter(|id| {
                let wake = self.machine(*id).deadline();
                wake.is_some_and(|wake| wake.at <= until)
            });
            let Some(id) = due else { break };
            self.tick(id);
        }
        self.now = self.now.max(until);
    }

    /// The node with the earliest deadline.
    fn most_urgent(&self) -> Option<NodeId> {
        let due = self.seats.iter().filter_map(|(id, seat)| {
            let wake = seat.machine.as_ref().and_then(Machine::deadline)?;
            Some((wake.at, *id))
        });
        due.min().map(|(_, id)| id)
    }

    /// The node loses everything but its disk, unread events too; `torn` records of the writes under
    /// way get to the disk.
    pub(crate) fn crash(&mut self, id: NodeId, torn: usize) {
        let seat = self.seats.get_mut(&id).expect("a seat");
        if seat.machine.take().is_none() {
            return;
        }
        let records = mem::take(&mut seat.writing).into_iter().flat_map(|w| w.1);
        for record in records.take(torn) {
            N::store(&mut seat.disk, record);
        }
        seat.loading.clear();
        self.events.retain(|(node, _)| *node != id);
        for peer in self.ids() {
            self.disconnect(id, peer);
        }
    }

    pub(crate) fn restart(&mut self, id: NodeId) {
        if self.is_alive(id) {
            return;
        }
        let (now, seed) = (self.now, self.rng.next_u64());
        let seat = self.seats.get_mut(&id).expect("a seat");
        seat.machine = Some(N::start(id, now, &seat.disk, seed));
        for peer in self.ids() {
            self.connect(id, peer);
        }
    }

    fn restart_all(&mut self) {
        for id in self.ids() {
            self.restart(id);
        }
    }

    /// A new incarnation of the link, if both are there and may talk.
    pub(crate) fn connect(&mut self, a: NodeId, b: NodeId) {
        let allowed = a != b && !self.cut.contains(&pair(a, b));
        if !allowed || !self.is_alive(a) || !self.is_alive(b) {
            return;
        }
        self.count += 1;
        self.connections.insert(pair(a, b), self.count);
        for (at, peer) in [(a, b), (b, a)] {
            let link = Link::Up(link_id(self.count, at, peer));
            self.feed(at, |machine, now| machine.link(now, peer, link));
        }
    }

    fn disconnect(&mut self, a: NodeId, b: NodeId) {
        if self.connections.remove(&pair(a, b)).is_some() {
            for (at, peer) in [(a, b), (b, a)] {
                self.feed(at, |machine, now| machine.link(now, peer, Link::Down));
            }
        }
    }

    /// Cuts a node off from all others, or lets it back.
    pub(crate) fn isolate(&mut self, id: NodeId, off: bool) {
        for peer in self.ids() {
            if off {
                self.cut.insert(pair(id, peer));
                self.disconnect(id, peer);
            } else if self.cut.remove(&pair(id, peer)) {
                self.connect(id, peer);
            }
        }
    }

    /// All faults end and everybody is back.
    pub(crate) fn heal(&mut self) {
        self.faults = Faults::default();
        self.cut.clear();
        for id in self.ids() {
            self.stall(id, false);
        }
        self.restart_all();
        let ids = self.ids();
        for (k, a) in ids.iter().enumerate() {
            ids[k + 1..].iter().for_each(|b| self.connect(*a, *b));
        }
    }

    /// One random thing happens: an output, a write, a load, a message, a timer, or a fault. Outputs
    /// are taken one at a time, so that a crash falls between any two.
    pub(crate) fn random_step(&mut self) {
        let ids = self.ids();
        let id = *self.rng.pick(&ids).expect("a node");
        let mut lot = self.rng.below(self.weather.iter().sum());
        let share = self.weather.iter().position(|weight| {
            let hit = lot < *weight;
            lot = lot.saturating_sub(*weight);
            hit
        });
        match share {
            Some(0) => _ = self.poll(id),
            Some(1) => _ = self.persist(id),
            Some(2) => _ = self.answer(id),
            Some(3) => self.random_delivery(),
            // Most often who is due first, else the others are late.
            Some(4) if self.rng.chance(900_000) => {
                _ = self.tick(self.most_urgent().unwrap_or(id));
            }
            Some(4) => _ = self.tick(id),
            _ => self.random_fault(id),
        }
    }

    fn random_delivery(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let mut at = usize::try_from(self.rng.below(self.wire.len() as u64)).expect("small");
        if !self.faults.reorder {
            let way = |at: usize| (self.wire[at].1.from, self.wire[at].1.to);
            at = (0..=at).find(|k| way(*k) == way(at)).expect("itself");
        }
        if self.faults.lose && self.rng.chance(50_000) {
            self.wire.remove(at);
            return;
        }
        if self.faults.duplicate && self.rng.chance(50_000) {
            let again = self.wire[at].clone();
            self.wire.push(again);
        }
        self.deliver(at);
    }

    fn random_fault(&mut self, id: NodeId) {
        let peer = *self.rng.pick(&self.ids()).expect("a node");
        match self.rng.below(12) {
            0..2 => {
                let records = self.seats[&id].writing.iter().map(|w| w.1.len() as u64);
                let torn = records.sum::<u64>() + 1;
                let torn = self.rng.below(torn);
                self.crash(id, usize::try_from(torn).expect("small"));
            }
            2..6 => self.restart(id),
            6..8 => self.disconnect(id, peer),
            _ => self.connect(id, peer),
        }
    }
}
