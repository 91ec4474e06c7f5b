//! What a leader and its peers say to each other comes to an end, brings everybody up to date, and
//! gathers nowhere.

use bytes::Bytes;
use synod_core::{
    Change, Envelope, Lane, Link, LinkId, LogImage, LogIndex, LogLoad, LogRecord, Machine, NodeId,
    OldLog, ReadLevel, ReplicatedLog, Rng, Role, SnapshotMeta,
};
use synod_raft::{Body, ConfigBuilder, Round};

use crate::cluster::{Cluster, Server, ms, n};
use crate::replication::conflict;
use crate::solo::{Solo, append, appended, appends, at, vote};

const STATE: &[u8] = b"sixteen bytes...";

/// Takes a snapshot at `index` and compacts.
fn compact(raft: &mut synod_raft::Raft, image: &mut LogImage, now: synod_core::Instant, at: u64) {
    let Some(mut meta) = raft.describe(LogIndex(at)) else {
        return;
    };
    meta.size = STATE.len() as u64;
    let stage = LogRecord::Stage {
        lane: Lane::Taken,
        id: meta.id,
        offset: 0,
        chunk: Bytes::from_static(STATE),
    };
    let activate = LogRecord::Activate {
        meta: meta.clone(),
        log: OldLog::Keep,
    };
    for record in [stage, activate] {
        image.apply(record).unwrap();
    }
    raft.compact(now, meta);
}

/// A leader whose log begins at five; node 3 has one entry, and its link is new.
fn ahead_of_three() -> (Solo, SnapshotMeta) {
    let mut solo = Solo::leading(|builder| builder.retained_entries(0).snapshot_chunk_bytes(4));
    solo.raft.link(solo.now, n(3), Link::Up(LinkId(1)));
    solo.pump();
    assert_eq!(
        appends(&solo.take(), 3),
        [(1, 0, 1)],
        "a probe, which is lost"
    );
    for k in 0..4 {
        solo.propose(&format!("c{k}"));
    }
    solo.settle();
    solo.say(2, 1, appended(5, 0));
    solo.settle();
    let mut meta = solo.raft.describe(LogIndex(5)).unwrap();
    meta.size = STATE.len() as u64;
    compact(&mut solo.raft, &mut solo.image, solo.now, 5);
    solo.settle();
    assert_eq!(solo.status().compacted, LogIndex(5));
    solo.take();
    (solo, meta)
}

/// A probe was lost and its place compacted. Reads ask at the place where the log begins, and keep
/// the leader from ever counting the probe as lost: the refusal has to count for what was asked.
#[test]
fn reads_keep_nobody_from_the_snapshot() {
    let (mut solo, _) = ahead_of_three();
    for _ in 0..50 {
        solo.wait(ms(20));
        solo.raft.read(solo.now, ReadLevel::Linearizable).unwrap();
        solo.pump();
        solo.say(2, 1, appended(5, 0));
        for (before, ..) in appends(&solo.take(), 3) {
            solo.say(3, 1, conflict(before, at(1, 1)));
        }
    }
    assert!(
        matches!(solo.loads[..], [(_, LogLoad::Snapshot { .. })]),
        "{:?}",
        solo.status().peers
    );
}

/// An answer that comes while a piece is read back makes that one the wrong one, no more: the next
/// is read, not all of it again after a heartbeat.
#[test]
fn a_late_answer_about_a_piece_does_not_start_the_snapshot_anew() {
    let (mut solo, meta) = ahead_of_three();
    let got = |offset| Body::SnapshotGot {
        id: meta.id,
        offset,
        round: Round(0),
    };
    let wanted = |solo: &Solo| match solo.loads[..] {
        [(_, LogLoad::Snapshot { offset, .. })] => Some(offset),
        _ => None,
    };
    solo.wait(ms(50));
    solo.wait(ms(50));
    solo.say(3, 1, conflict(5, at(1, 1)));
    assert_eq!(wanted(&solo), Some(0));
    solo.say(3, 1, got(4));
    solo.load();
    assert_eq!(wanted(&solo), Some(4), "{:?}", solo.status().peers);
}

/// Two nodes that each know another storage under the other's name (old disks that came back) say so
/// once, not for ever.
#[test]
fn two_strangers_do_not_go_on_telling_each_other() {
    let (mut one, mut two) = (Solo::new(1, 3), Solo::new(2, 3));
    one.wake();
    let mut said = 0;
    for _ in 0..10 {
        for (from, to) in [(1, 2), (2, 1)] {
            let (sender, receiver) = match from {
                1 => (&mut one, &mut two),
                _ => (&mut two, &mut one),
            };
            for (_, message) in sender.take_messages().into_iter().filter(|m| m.0 == n(to)) {
                said += 1;
                let envelope = Envelope {
                    from: n(from),
                    to: n(to),
                    link: LinkId(1),
                    message,
                };
                receiver.raft.step(receiver.now, envelope);
                receiver.settle();
            }
        }
    }
    assert!((1..=3).contains(&said), "{said} messages");
}

/// Nor do refusals gather at a node whose disk hangs before it has followed in this term.
#[test]
fn a_disk_that_hangs_gathers_no_refusals() {
    let mut solo = Solo::new(1, 3);
    for place in 0..100 {
        solo.say(2, 4, append(at(9 + place % 2, 4), 4, 0, 0));
    }
    assert_eq!(solo.take(), [], "the term is not durable");
    solo.settle();
    assert_eq!(solo.take(), [(2, conflict(10, at(0, 0)))], "the latest");
}

/// Nor what a leader of an earlier term is to be told.
#[test]
fn a_disk_that_hangs_gathers_no_answers_to_an_old_leader() {
    let mut solo = Solo::new(1, 3);
    solo.say(3, 7, vote(false, at(5, 6)));
    for _ in 0..100 {
        solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    }
    assert_eq!(solo.take(), [], "the term is not durable");
    solo.settle();
    let told = solo.take_to(2);
    assert_eq!(told, [appended(0, 0)], "it must learn of the term");
    solo.say(2, 1, append(at(0, 0), 1, 1, 0));
    assert_eq!(solo.take_to(2), [appended(0, 0)], "each time it asks");
}

struct Talk {
    cluster: Cluster,
    rng: Rng,
}

impl Talk {
    fn new(seed: u64) -> Self {
        let small = |builder: ConfigBuilder| {
            builder
                .retained_entries(2)
                .snapshot_chunk_bytes(3)
                .max_log_bytes(150)
                .max_append_bytes(100)
                .max_in_flight(4, 1000)
        };
        let mut cluster = Cluster::with(3, small);
        cluster.start(n(4), LogImage::new(), 0);
        cluster.connect();
        cluster.elect();
        let rng = Rng::new(seed);
        Self { cluster, rng }
    }

    fn any(&mut self) -> NodeId {
        n(self.rng.within(1, 4))
    }

    fn server(&mut self, id: NodeId) -> &mut Server {
        self.cluster.servers.get_mut(&id).unwrap()
    }

    fn leader(&self) -> Option<NodeId> {
        self.cluster.leader()
    }

    fn pump(&mut self) {
        for id in 1..=4 {
            self.cluster.pump(n(id));
        }
    }

    /// Answers what is to be read back with nothing, as often as not.
    fn disk(&mut self, id: NodeId, broken: bool) -> bool {
        let now = self.cluster.now;
        let mut any = false;
        if broken && self.rng.chance(500_000) {
            let server = self.server(id);
            for (load, _) in std::mem::take(&mut server.loads) {
                server.raft.loaded(now, load, None);
                any = true;
            }
        }
        self.cluster.sync(id) || any
    }

    fn deliver(&mut self, repeat: u32, lose: u32) -> bool {
        let len = self.cluster.network.len() as u64;
        if len == 0 {
            return false;
        }
        // Mostly in order.
        let place = if self.rng.chance(700_000) {
            0
        } else {
            self.rng.below(len) as usize
        };
        let envelope = self.cluster.network[place].clone();
        let again = self.rng.chance(repeat);
        if !again {
            self.cluster.network.remove(place);
        }
        if !self.rng.chance(lose) {
            self.cluster.deliver(envelope);
        }
        again
    }

    fn step(&mut self) {
        let id = self.any();
        let leader = self.leader();
        match self.rng.below(100) {
            0..45 => {
                self.deliver(50_000, 50_000);
            }
            45..60 => {
                self.disk(id, true);
            }
            60..70 => {
                let step = [0, 1, 5, 20, 60][self.rng.below(5) as usize];
                self.cluster.now = self.cluster.now + ms(step);
                self.cluster.tick();
            }
            70..80 => drop(self.cluster.propose(id, "x")),
            80..86 => drop(self.cluster.read(id, ReadLevel::Linearizable)),
            86..90 => {
                let now = self.cluster.now;
                let server = self.server(id);
                if server.writing.is_empty() {
                    let at = server.raft.status().applied;
                    compact(&mut server.raft, &mut server.image, now, at.0);
                }
            }
            90..93 => {
                let now = self.cluster.now;
                if let Some(leader) = leader {
                    let raft = &mut self.server(leader).raft;
                    let add = raft.reconfigure(now, Change::AddLearner(n(4)));
                    let out = Change::RemoveLearner(n(4));
                    if add.is_err()
                        && raft.reconfigure(now, out).is_ok()
                        && self.rng.chance(500_000)
                    {
                        // What it has to say to that is lost.
                        self.cluster.cut.push((n(4), leader));
                    }
                }
            }
            93..95 => {
                // A new link: what was under way is lost.
                let (now, other) = (self.cluster.now, self.any());
                let lost = |e: &Envelope<_>| {
                    (e.from, e.to) == (id, other) || (e.from, e.to) == (other, id)
                };
                self.cluster.network.retain(|e| !lost(e));
                if id != other {
                    self.server(id).raft.link(now, other, Link::Up(LinkId(1)));
                    self.server(other).raft.link(now, id, Link::Up(LinkId(1)));
                }
            }
            95 => {
                let other = self.any();
                self.cluster.cut.push((id, other));
            }
            96 => self.cluster.cut.clear(),
            // A time in which all is well.
            _ => self.cluster.settle(),
        }
        self.pump();
    }

    /// Time stands still, nothing is asked, repetitions have an end: so has the talk.
    fn rest(&mut self) -> u64 {
        let (mut delivered, mut repeats) = (0, 30);
        loop {
            self.pump();
            let mut moved = !self.cluster.network.is_empty();
            for id in 1..=4 {
                moved |= self.disk(n(id), true);
            }
            let chance = if repeats > 0 { 100_000 } else { 0 };
            repeats -= u64::from(self.deliver(chance, 0));
            delivered += 1;
            if !moved && self.cluster.network.is_empty() {
                return delivered;
            }
            if delivered > 5000 {
                for server in self.cluster.servers.values() {
                    println!("{:?}", server.raft.status());
                }
                let last = self.cluster.network.iter().take(5);
                panic!("they go on: {:?}", last.collect::<Vec<_>>());
            }
        }
    }

    /// With everything whole, everybody comes up to date while reads go on, and who was taken out is
    /// let go.
    fn recover(&mut self) {
        for _ in 0..400 {
            for _ in 0..10 {
                self.cluster.run(ms(1));
                if let Some(leader) = self.leader() {
                    self.cluster.read(leader, ReadLevel::Linearizable).ok();
                }
            }
            if self.is_whole() {
                return;
            }
        }
        for server in self.cluster.servers.values() {
            println!("{:?}", server.raft.status());
        }
        panic!("somebody is left behind");
    }

    fn is_whole(&self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        let status = self.cluster.servers[&leader].raft.status();
        let members = status.voters.len() + status.learners.len();
        let end = status.last;
        let of = |id: &NodeId| self.cluster.servers[id].raft.status();
        let mut all = status.voters.iter().chain(&status.learners);
        status.role == Role::Leader
            && status.peers.len() + 1 == members
            && status.peers.iter().all(|peer| peer.matched == end)
            && all.all(|id| of(id).committed == end && of(id).durable == end)
    }
}

/// Every exchange is bounded by a window, by what is under way, by a place that falls, or by time:
/// from any state that faults lead to, the nodes fall silent when time stands still, even where a
/// storage does not have what it should.
#[test]
fn without_time_every_talk_ends() {
    let seeds: u64 = std::env::var("TALKS").map_or(30, |s| s.parse().unwrap());
    let first: u64 = std::env::var("TALK").map_or(0, |s| s.parse().unwrap());
    let mut most = 0;
    for seed in first..first + seeds {
        let talk = || {
            let mut talk = Talk::new(seed);
            let mut most = 0;
            for _ in 0..4 {
                for _ in 0..250 {
                    talk.step();
                }
                talk.cluster.cut.clear();
                // What the heartbeats begin.
                for _ in 0..3 {
                    talk.cluster.now = talk.cluster.now + ms(60);
                    talk.cluster.tick();
                    most = most.max(talk.rest());
                }
            }
            talk.recover();
            most
        };
        match std::panic::catch_unwind(talk) {
            Ok(steps) => most = most.max(steps),
            Err(cause) => {
                println!("TALK={seed} TALKS=1 cargo test -p synod-raft --test it every_talk_ends");
                std::panic::resume_unwind(cause);
            }
        }
    }
    println!("at most {most} deliveries");
}
