//! A node of Multi-Paxos whose peers say anything: well-formed messages that no correct peer would
//! send, in any order, between inputs that are in order. It may drop them, and it may stop with the
//! evidence; it never panics, keeps its own invariants, and what it writes keeps the contract of
//! the disk.

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use synod_core::{
    Change, Encode, Envelope, Generation, Instant, Link, LinkId, LoadId, LogEvent, LogImage,
    LogIndex, LogLoad, Machine, NodeId, Output, ReadLevel, ReplicatedLog, WriteId,
};
use synod_paxos::Ballot;
use synod_paxos::log::{Config, Epoch, Membership, Message, MultiPaxos};

mod bodies;

use bodies::{ballot, body, config_bytes, payload};

const ME: NodeId = NodeId(1);
const TAIL_BYTES: usize = 200;

/// The bytes are a script.
///
/// # Panics
///
/// If the machine breaks a promise.
pub fn step_anything(data: &[u8]) {
    let mut script = Unstructured::new(data);
    let Ok(mut node) = Node::new(&mut script) else {
        return;
    };
    while !script.is_empty() && !node.stopped {
        if node.turn(&mut script).is_err() {
            return;
        }
        node.log.check();
    }
}

struct Node {
    log: MultiPaxos,
    config: Config,
    now: Instant,
    disk: LogImage,
    /// Writes that are not acknowledged yet.
    writes: VecDeque<WriteId>,
    loads: VecDeque<(LoadId, LogLoad)>,
    /// The last link of each peer, from 2 on.
    links: [u64; 4],
    handed: LogIndex,
    stopped: bool,
}

fn config(voters: u64, seed: u64) -> Config {
    let config = Config::builder(ME)
        .voters((1..=voters).map(NodeId))
        .seed(seed)
        .retained_entries(2)
        .snapshot_chunk_bytes(3)
        .max_log_bytes(400)
        .max_accept_bytes(200)
        .max_in_flight(4, 1000)
        .max_unapplied_bytes(300)
        .max_uncommitted_bytes(1 << 21);
    // A third of them in fast rounds.
    let config = if seed % 3 == 0 {
        config.fast_rounds()
    } else {
        config
    };
    config.build().expect("the settings are valid")
}

impl Node {
    fn new(script: &mut Unstructured<'_>) -> Result<Self> {
        let voters = script.int_in_range(1..=4)?;
        let config = config(voters, u64::from(script.arbitrary::<u8>()?));
        let disk = LogImage::new();
        let now = Instant::START;
        let log = MultiPaxos::new(config.clone(), disk.restored(TAIL_BYTES), now)
            .expect("an empty disk is a start");
        let mut node = Self {
            log,
            config,
            now,
            disk,
            writes: VecDeque::new(),
            loads: VecDeque::new(),
            links: [0; 4],
            handed: LogIndex::START,
            stopped: false,
        };
        for peer in 2..=5 {
            node.link_up(peer);
        }
        Ok(node)
    }

    fn link_up(&mut self, peer: u64) {
        let link = &mut self.links[peer as usize - 2];
        *link += 1;
        let link = Link::Up(LinkId(*link));
        self.log.link(self.now, NodeId(peer), link);
    }

    fn turn(&mut self, script: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        match script.int_in_range(0..=19)? {
            0..=8 => {
                let from: u64 = script.int_in_range(2..=5)?;
                // Now and then one that came too late.
                let late = u64::from(script.int_in_range(0..=15)? == 0_u8);
                let link = LinkId(self.links[from as usize - 2].saturating_sub(late));
                let message = self.message(script, from)?;
                let envelope = Envelope {
                    from: NodeId(from),
                    to: ME,
                    link,
                    message,
                };
                self.log.step(now, envelope);
            }
            9..=10 => {
                if let Some(write) = self.writes.pop_front() {
                    self.log.persisted(now, write);
                }
            }
            11 => {
                if let Some((id, load)) = self.loads.pop_front() {
                    self.log.loaded(now, id, self.disk.load(&load));
                }
            }
            12..=13 => {
                let millis = [0, 1, 50, 300, 1000][script.choose_index(5)?];
                self.now = now + Duration::from_millis(millis);
                self.log.tick(self.now);
            }
            14 => _ = self.log.propose(now, payload(script)?),
            15 => {
                let level = [ReadLevel::Linearizable, ReadLevel::Stale][script.choose_index(2)?];
                _ = self.log.read(now, level);
            }
            16 => {
                let peer = NodeId(script.int_in_range(1..=5)?);
                match script.int_in_range(0..=2)? {
                    0 => _ = self.log.reconfigure(now, Change::AddLearner(peer)),
                    1 => _ = self.log.reconfigure(now, Change::RemoveLearner(peer)),
                    _ => _ = self.log.transfer(now, peer),
                }
            }
            17 => {
                let peer = script.int_in_range(2..=5)?;
                match script.arbitrary()? {
                    true => self.link_up(peer),
                    false => self.log.link(now, NodeId(peer), Link::Down),
                }
            }
            18 => self.log.applied(now, self.handed),
            _ => return self.crash(),
        }
        self.drain();
        Ok(())
    }

    /// Everything that was written survives, acknowledged or not.
    fn crash(&mut self) -> Result<()> {
        self.writes.clear();
        self.loads.clear();
        let restored = self.disk.restored(TAIL_BYTES);
        match MultiPaxos::new(self.config.clone(), restored, self.now) {
            Ok(log) => self.log = log,
            // What a peer sent as a configuration may be none.
            Err(_) => self.stopped = true,
        }
        self.handed = LogIndex::START;
        for peer in 2..=5 {
            self.link_up(peer);
        }
        Ok(())
    }

    /// Does what the machine says; the disk complains of what breaks the contract.
    fn drain(&mut self) {
        while let Some(output) = self.log.poll() {
            match output {
                Output::Send(envelope) => assert_ne!(envelope.to, ME, "no message to oneself"),
                Output::Persist(write, records) => {
                    for record in records {
                        let text = format!("{record:?}");
                        if let Err(error) = self.disk.apply(record) {
                            panic!("{error}: {text}");
                        }
                    }
                    self.writes.push_back(write);
                }
                Output::Load(id, load) => self.loads.push_back((id, load)),
                Output::Event(event) => self.hear(&event),
            }
        }
    }

    fn hear<D>(&mut self, event: &LogEvent<D>) {
        match event {
            LogEvent::Committed(committed) => {
                assert_eq!(committed.entries.first(), self.handed.next(), "in order");
                self.handed = committed.last();
            }
            LogEvent::Restore(meta) => self.handed = meta.index(),
            LogEvent::Stopped(_) => self.stopped = true,
            _ => {}
        }
    }

    /// Anything that a peer might say: half of the time in the ballot that this node is in or one
    /// of the peer's own, since only then do things meet.
    fn message(&self, script: &mut Unstructured<'_>, from: u64) -> Result<Message> {
        let era = self.log.status().era;
        let ballot = match script.int_in_range(0..=4)? {
            0 => ballot(script)?,
            1 | 2 => Ballot {
                round: era,
                proposer: self.log.status().leader.unwrap_or(ME),
            },
            _ => Ballot {
                round: era.saturating_add(script.int_in_range(0..=2)?),
                proposer: NodeId(from),
            },
        };
        Ok(Message {
            // Its storage is nearly always the same.
            generation: Generation(from + u64::from(script.int_in_range(0..=30)? == 0_u8)),
            ballot,
            // Nearly always of the same configuration.
            epoch: Epoch(u64::from(script.int_in_range(0..=30)? == 0_u8)),
            body: body(script, ballot)?,
        })
    }
}

/// A message as bytes, for seeds of the decoder.
#[must_use]
pub fn any_message(data: &[u8]) -> Option<Vec<u8>> {
    let mut script = Unstructured::new(data);
    let ballot = ballot(&mut script).ok()?;
    let message = Message {
        generation: Generation(1),
        ballot,
        epoch: Epoch(0),
        body: body(&mut script, ballot).ok()?,
    };
    let mut out = bytes::BytesMut::new();
    message.encode(&mut out);
    Some(out.to_vec())
}

/// A configuration as bytes, for seeds of the decoder.
#[must_use]
pub fn any_membership(data: &[u8]) -> Option<Vec<u8>> {
    let bytes = config_bytes(&mut Unstructured::new(data)).ok()?;
    <Membership as synod_core::Decode>::decode_all(bytes.clone()).ok()?;
    Some(bytes.to_vec())
}
