//! A quick storm over the hand-held cluster: every order of events, losses, repetitions, crashes
//! with torn writes. The simulator of `synod-sim` does this in depth; this one runs in a blink with
//! every change.

use std::collections::BTreeMap;

use bytes::Bytes;
use synod_core::{
    Lane, LogEvent, LogIndex, LogRecord, NodeId, OldLog, ReadLevel, ReplicatedLog, Rng, Role,
    Ticket,
};

use crate::cluster::{Cluster, ms, n};

struct Storm {
    cluster: Cluster,
    rng: Rng,
    /// What is known to be committed where: the same for all nodes and for ever.
    committed: BTreeMap<LogIndex, Bytes>,
    /// Who led each term.
    leaders: BTreeMap<u64, NodeId>,
    /// Events of each node that were looked at.
    seen: BTreeMap<NodeId, usize>,
    /// The last index that each node has handed out in this life.
    handed: BTreeMap<NodeId, LogIndex>,
    /// The tickets that each node has given out in this life, until they resolve.
    open: BTreeMap<(NodeId, Ticket), u64>,
    /// Reads that must see at least this index.
    floors: BTreeMap<(NodeId, Ticket), LogIndex>,
    acknowledged: u64,
    proposals: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let size = [1, 2, 3, 3, 3, 4, 5][rng.below(7) as usize];
        let cluster = Cluster::with(size, |builder| {
            builder
                .retained_entries(3)
                .snapshot_chunk_bytes(3)
                .max_log_bytes(400)
                .max_append_bytes(200)
                .max_in_flight(4, 1000)
                .max_unapplied_bytes(300)
                .max_uncommitted_bytes(1 << 21)
        });
        Self {
            cluster,
            rng,
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            seen: BTreeMap::new(),
            handed: BTreeMap::new(),
            open: BTreeMap::new(),
            floors: BTreeMap::new(),
            acknowledged: 0,
            proposals: 0,
        }
    }

    fn any(&mut self) -> NodeId {
        n(self.rng.within(1, self.cluster.servers.len() as u64))
    }

    fn step(&mut self, faults: bool) {
        let id = self.any();
        let up = self.cluster.servers[&id].up;
        match self.rng.below(100) {
            0..40 => self.deliver(faults),
            40..60 if up => {
                self.cluster.sync(id);
            }
            60..70 => {
                let step = [0, 1, 5, 20, 100][self.rng.below(5) as usize];
                self.cluster.now = self.cluster.now + ms(step);
                self.cluster.tick();
            }
            70..82 if up => self.propose(id),
            82..90 if up => self.read(id),
            90..92 if up => self.snapshot(id),
            92..94 if faults && up => self.crash(id),
            94..97 if !up => {
                self.forget(id);
                self.cluster.restart(id);
            }
            97 if faults => {
                let other = self.any();
                self.cluster.cut.push((id, other));
            }
            98.. => self.cluster.cut.clear(),
            _ => {}
        }
        let ids: Vec<NodeId> = self.cluster.servers.keys().copied().collect();
        for id in ids {
            self.cluster.pump(id);
            self.look(id);
        }
    }

    fn deliver(&mut self, faults: bool) {
        let len = self.cluster.network.len() as u64;
        if len == 0 {
            return;
        }
        let place = self.rng.below(if faults { len } else { 1 }) as usize;
        let envelope = self.cluster.network[place].clone();
        if !(faults && self.rng.chance(50_000)) {
            self.cluster.network.remove(place);
        }
        if faults && self.rng.chance(50_000) {
            return;
        }
        self.cluster.deliver(envelope);
    }

    fn propose(&mut self, id: NodeId) {
        self.proposals += 1;
        let command = format!("{}", self.proposals);
        if let Ok(ticket) = self.cluster.propose(id, &command) {
            let twice = self.open.insert((id, ticket), self.proposals);
            assert_eq!(twice, None, "a ticket is given out once");
        }
    }

    fn read(&mut self, id: NodeId) {
        let level = if self.rng.chance(800_000) {
            ReadLevel::Linearizable
        } else {
            ReadLevel::Stale
        };
        if let Ok(ticket) = self.cluster.read(id, level) {
            self.open.insert((id, ticket), 0);
            if level == ReadLevel::Linearizable {
                let last = self
                    .committed
                    .keys()
                    .next_back()
                    .copied()
                    .unwrap_or_default();
                self.floors.insert((id, ticket), last);
            }
        }
    }

    /// Takes a snapshot at what the node has applied.
    fn snapshot(&mut self, id: NodeId) {
        let now = self.cluster.now;
        let server = self.cluster.servers.get_mut(&id).unwrap();
        if !server.writing.is_empty() {
            return;
        }
        let at = server.raft.status().applied;
        let Some(mut meta) = server.raft.describe(at) else {
            return;
        };
        let contents = Bytes::from(format!("state at {at}"));
        meta.size = contents.len() as u64;
        let stage = LogRecord::Stage {
            lane: Lane::Taken,
            id: meta.id,
            offset: 0,
            chunk: contents,
        };
        server.image.apply(stage).unwrap();
        let log = OldLog::Keep;
        server
            .image
            .apply(LogRecord::Activate {
                meta: meta.clone(),
                log,
            })
            .unwrap();
        server.raft.compact(now, meta);
    }

    /// Ends a node; of what was being written a prefix survives.
    fn crash(&mut self, id: NodeId) {
        let server = self.cluster.servers.get_mut(&id).unwrap();
        let records = std::mem::take(&mut server.writing);
        let mut records: Vec<LogRecord> = records.into_iter().flat_map(|(_, r)| r).collect();
        records.truncate(self.rng.below(records.len() as u64 + 1) as usize);
        for record in records {
            server.image.apply(record).unwrap();
        }
        server.loads.clear();
        self.cluster.crash(id);
        self.forget(id);
    }

    fn forget(&mut self, id: NodeId) {
        self.open.retain(|(node, _), _| *node != id);
        self.floors.retain(|(node, _), _| *node != id);
        self.seen.remove(&id);
        self.handed.remove(&id);
    }

    fn look(&mut self, id: NodeId) {
        let server = &self.cluster.servers[&id];
        if !server.up {
            return;
        }
        let from = self.seen.insert(id, server.events.len()).unwrap_or(0);
        let status = server.raft.status();
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.era).or_insert(id);
            assert_eq!(
                leader, id,
                "election safety: one leader in term {}",
                status.era
            );
        }
        let new = server.events[from..].to_vec();
        for event in new {
            self.judge(id, event);
        }
    }

    fn judge(&mut self, id: NodeId, event: synod_raft::Event) {
        match event {
            LogEvent::Committed(committed) => {
                for (index, _, command, ticket) in committed.iter() {
                    let handed = self.handed.entry(id).or_insert_with(|| index.previous());
                    assert_eq!(handed.next(), index, "{id} hands out in order");
                    *handed = index;
                    let known = self
                        .committed
                        .entry(index)
                        .or_insert_with(|| command.clone());
                    assert_eq!(known, command, "state machine safety at {index} on {id}");
                    if let Some(ticket) = ticket {
                        let proposal = self.open.remove(&(id, ticket)).expect("an open ticket");
                        assert_eq!(
                            command,
                            &proposal.to_string(),
                            "the ticket is for this command"
                        );
                        self.acknowledged += 1;
                    }
                }
            }
            LogEvent::Restore(meta) => {
                let image = &self.cluster.servers[&id].image;
                // A newer one may have taken its place since; then its own event follows.
                let current = image.snapshot().expect("a snapshot to restore is on disk");
                if *current == meta {
                    let contents = image.snapshot_contents().unwrap();
                    assert_eq!(contents, format!("state at {}", meta.index()));
                } else {
                    assert!(
                        current.index() > meta.index(),
                        "a snapshot to restore is on disk"
                    );
                }
                self.handed.insert(id, meta.index());
                let now = self.cluster.now;
                self.cluster
                    .servers
                    .get_mut(&id)
                    .unwrap()
                    .raft
                    .applied(now, meta.index());
            }
            LogEvent::Read { ticket, index } => {
                self.open.remove(&(id, ticket)).expect("an open read");
                let handed = self.handed.get(&id).copied().unwrap_or_default();
                assert!(
                    handed >= index || index == LogIndex::START,
                    "{id} has applied {index}"
                );
                if let Some(floor) = self.floors.remove(&(id, ticket)) {
                    assert!(
                        index >= floor,
                        "a read at {id} sees {index}, {floor} was committed"
                    );
                }
            }
            LogEvent::Displaced(ticket)
            | LogEvent::Unknown(ticket)
            | LogEvent::Refused(ticket, _) => {
                let proposal = self.open.remove(&(id, ticket)).expect("an open ticket");
                if !matches!(event, LogEvent::Unknown(_)) && proposal > 0 {
                    let text = proposal.to_string();
                    assert!(
                        self.committed.values().all(|c| *c != text),
                        "{text} did not happen"
                    );
                }
                self.floors.remove(&(id, ticket));
            }
            LogEvent::Stopped(why) => panic!("{id}: {why}"),
            LogEvent::Role(_) | LogEvent::Detail(_) => {}
        }
    }

    /// With all faults over, the cluster makes progress and agrees.
    fn calm(&mut self) {
        self.cluster.cut.clear();
        let ids: Vec<NodeId> = self.cluster.servers.keys().copied().collect();
        for &id in &ids {
            if !self.cluster.servers[&id].up {
                self.forget(id);
                self.cluster.restart(id);
            }
        }
        for _ in 0..300 {
            self.cluster.run(ms(20));
            ids.iter().for_each(|id| self.look(*id));
            if let Some(leader) = self.cluster.leader() {
                self.propose(leader);
                self.cluster.settle();
                self.cluster.run(ms(5));
                ids.iter().for_each(|id| self.look(*id));
                let last = self.cluster.servers[&leader].raft.status().last;
                let caught_up = |id: &NodeId| {
                    let status = self.cluster.servers[id].raft.status();
                    status.committed == last && status.applied == last
                };
                if ids.iter().all(caught_up) && self.open.is_empty() {
                    return;
                }
            }
        }
        for (id, server) in &self.cluster.servers {
            println!("{id}: {:?}", server.raft.status());
        }
        panic!("no progress after the faults, open: {:?}", self.open);
    }
}

fn storm(seed: u64) -> u64 {
    let mut storm = Storm::new(seed);
    for _ in 0..1500 {
        storm.step(true);
    }
    storm.calm();
    storm.acknowledged
}

#[test]
fn storms_break_nothing() {
    let seeds = std::env::var("STORMS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(200);
    let first = std::env::var("STORM")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let mut acknowledged = 0;
    for seed in first..first + seeds {
        let result = std::panic::catch_unwind(|| storm(seed));
        match result {
            Ok(count) => acknowledged += count,
            Err(cause) => {
                println!(
                    "storm {seed} failed: STORM={seed} STORMS=1 cargo test -p synod-raft storms"
                );
                std::panic::resume_unwind(cause);
            }
        }
    }
    assert!(
        acknowledged > seeds * 10,
        "only {acknowledged} proposals were acknowledged"
    );
}
