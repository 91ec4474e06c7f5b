//! A Raft node whose peers say anything: well-formed messages that no correct peer would send, in
//! any order, between inputs that are in order. It may drop them, and it may stop with the
//! evidence; it never panics, keeps its own invariants, and what it writes keeps the contract of
//! the disk.

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use synod_core::{
    Change, Encode, Entries, Entry, Envelope, Generation, Instant, Link, LinkId, LoadId, LogEvent,
    LogImage, LogIndex, LogLoad, Machine, NodeId, Output, ReadLevel, ReplicatedLog, SnapshotId,
    SnapshotMeta, Stamp, Ticket, WriteId,
};
use synod_raft::{
    Append, Body, Config, Denial, Membership, Message, Outcome, Piece, Position, Raft, Round, Term,
};

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
        node.raft.check();
    }
}

struct Node {
    raft: Raft,
    config: Config,
    now: Instant,
    disk: LogImage,
    /// Writes that are not acknowledged yet.
    writes: VecDeque<WriteId>,
    loads: VecDeque<(LoadId, LogLoad)>,
    links: u64,
    handed: LogIndex,
    stopped: bool,
}

impl Node {
    fn new(script: &mut Unstructured<'_>) -> Result<Self> {
        let voters = script.int_in_range(1..=4)?;
        let config = Config::builder(ME)
            .voters((1..=voters).map(NodeId))
            .seed(u64::from(script.arbitrary::<u8>()?))
            .retained_entries(2)
            .snapshot_chunk_bytes(3)
            .max_log_bytes(400)
            .max_append_bytes(200)
            .max_in_flight(4, 1000)
            .max_unapplied_bytes(300)
            .max_uncommitted_bytes(1 << 21)
            .build()
            .expect("the settings are valid");
        let disk = LogImage::new();
        let now = Instant::START;
        let raft = Raft::new(config.clone(), disk.restored(TAIL_BYTES), now)
            .expect("an empty disk is a start");
        let mut node = Self {
            raft,
            config,
            now,
            disk,
            writes: VecDeque::new(),
            loads: VecDeque::new(),
            links: 0,
            handed: LogIndex::START,
            stopped: false,
        };
        for peer in 2..=4 {
            node.link_up(NodeId(peer));
        }
        Ok(node)
    }

    fn link_up(&mut self, peer: NodeId) {
        self.links += 1;
        self.raft.link(self.now, peer, Link::Up(LinkId(self.links)));
    }

    fn turn(&mut self, script: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        match script.int_in_range(0..=19)? {
            0..=8 => {
                let from = NodeId(script.int_in_range(1..=5)?);
                let link = LinkId(script.int_in_range(1..=self.links)?);
                let message = message(script)?;
                let envelope = Envelope {
                    from,
                    to: ME,
                    link,
                    message,
                };
                self.raft.step(now, envelope);
            }
            9..=10 => {
                if let Some(write) = self.writes.pop_front() {
                    self.raft.persisted(now, write);
                }
            }
            11 => {
                if let Some((id, load)) = self.loads.pop_front() {
                    self.raft.loaded(now, id, self.disk.load(&load));
                }
            }
            12..=13 => {
                let millis = [0, 1, 50, 300, 1000][script.choose_index(5)?];
                self.now = now + Duration::from_millis(millis);
                self.raft.tick(self.now);
            }
            14 => _ = self.raft.propose(now, payload(script)?),
            15 => {
                let level = [ReadLevel::Linearizable, ReadLevel::Stale][script.choose_index(2)?];
                _ = self.raft.read(now, level);
            }
            16 => {
                let peer = NodeId(script.int_in_range(1..=5)?);
                let change = match script.arbitrary()? {
                    true => Change::AddLearner(peer),
                    false => Change::RemoveLearner(peer),
                };
                _ = self.raft.reconfigure(now, change);
            }
            17 => {
                let peer = NodeId(script.int_in_range(2..=4)?);
                match script.arbitrary()? {
                    true => self.link_up(peer),
                    false => self.raft.link(now, peer, Link::Down),
                }
            }
            18 => self.raft.applied(now, self.handed),
            _ => return self.crash(),
        }
        self.drain();
        Ok(())
    }

    /// Only what was acknowledged as durable is promised; here everything survives, and half of the
    /// time the start has to repeat what was not acknowledged.
    fn crash(&mut self) -> Result<()> {
        self.writes.clear();
        self.loads.clear();
        let restored = self.disk.restored(TAIL_BYTES);
        match Raft::new(self.config.clone(), restored, self.now) {
            Ok(raft) => self.raft = raft,
            // What a peer sent as a snapshot's configuration may be no configuration.
            Err(_) => self.stopped = true,
        }
        self.handed = LogIndex::START;
        Ok(())
    }

    /// Does what the machine says; the disk complains of what breaks the contract.
    fn drain(&mut self) {
        while let Some(output) = self.raft.poll() {
            match output {
                Output::Send(envelope) => assert_ne!(envelope.to, ME, "no message to oneself"),
                Output::Persist(write, records) => {
                    for record in records {
                        let bytes = format!("{record:?}");
                        if let Err(error) = self.disk.apply(record) {
                            panic!("{error}: {bytes}");
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
}

/// Anything that a peer might say, mostly about small terms and places.
fn message(script: &mut Unstructured<'_>) -> Result<Message> {
    Ok(Message {
        generation: Generation(script.int_in_range(1..=2)?),
        term: term(script)?,
        body: body(script)?,
    })
}

fn body(script: &mut Unstructured<'_>) -> Result<Body> {
    Ok(match script.int_in_range(0..=11)? {
        0 => Body::Vote {
            pre: script.arbitrary()?,
            last: position(script)?,
        },
        1 => Body::Voted {
            pre: script.arbitrary()?,
            candidacy: term(script)?,
            granted: script.arbitrary()?,
        },
        2 => Body::Append(append(script)?),
        3 => Body::Appended {
            matched: index(script)?,
            round: round(script)?,
        },
        4 => Body::Conflict {
            asked: index(script)?,
            hint: position(script)?,
            round: round(script)?,
        },
        5 => Body::Snapshot(Box::new(Piece {
            meta: meta(script)?,
            offset: number(script)?,
            chunk: payload(script)?,
            round: round(script)?,
        })),
        6 => Body::SnapshotGot {
            id: snapshot_id(script)?,
            offset: number(script)?,
            round: round(script)?,
        },
        7 => {
            let count = script.int_in_range(0..=3)?;
            let commands = (0..count).map(|_| payload(script)).collect::<Result<_>>()?;
            Body::Propose {
                life: number(script)?,
                first: Ticket(number(script)?),
                commands,
            }
        }
        8 => Body::Proposed {
            life: number(script)?,
            first: Ticket(number(script)?),
            count: u32::from(script.arbitrary::<u8>()?),
            outcome: outcome(script)?,
        },
        9 => Body::Read {
            life: number(script)?,
            ticket: Ticket(number(script)?),
        },
        10 => Body::ReadAt {
            life: number(script)?,
            ticket: Ticket(number(script)?),
            index: match script.arbitrary()? {
                true => Ok(index(script)?),
                false => Err(denial(script)?),
            },
        },
        _ => Body::Stranger {
            known: Generation(number(script)?),
        },
    })
}

fn append(script: &mut Unstructured<'_>) -> Result<Append> {
    let count: u64 = script.int_in_range(0..=3)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(match script.int_in_range(0..=4)? {
            0 => Entry::blank(),
            1 => Entry {
                kind: synod_core::EntryKind::Config,
                payload: config_bytes(script)?,
            },
            _ => Entry::command(payload(script)?),
        });
    }
    // As the decoder lets them through.
    let first = LogIndex(number(script)?.clamp(1, u64::MAX - count));
    Ok(Append {
        before: term(script)?,
        entries: Entries::new(first, stamp(script)?, entries),
        commit: index(script)?,
        round: round(script)?,
    })
}

fn config_bytes(script: &mut Unstructured<'_>) -> Result<Bytes> {
    let config = Config::builder(ME)
        .voters((1..=script.int_in_range(1..=4)?).map(NodeId))
        .build()
        .expect("the settings are valid");
    let raft = Raft::new(config, LogImage::new().restored(0), Instant::START)
        .expect("an empty disk is a start");
    let described = raft.describe(LogIndex::START).map(|meta| meta.config);
    match (script.int_in_range(0..=3)?, described) {
        (0, _) | (_, None) => payload(script),
        (_, Some(config)) => Ok(config),
    }
}

fn meta(script: &mut Unstructured<'_>) -> Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        id: snapshot_id(script)?,
        stamp: stamp(script)?,
        config: config_bytes(script)?,
        size: u64::from(script.int_in_range(0..=8_u8)?),
    })
}

fn snapshot_id(script: &mut Unstructured<'_>) -> Result<SnapshotId> {
    Ok(SnapshotId {
        origin: Generation(script.int_in_range(1..=2)?),
        index: index(script)?,
    })
}

fn outcome(script: &mut Unstructured<'_>) -> Result<Outcome> {
    Ok(match script.int_in_range(0..=2)? {
        0 => Outcome::Accepted(index(script)?),
        1 => Outcome::Refused(denial(script)?),
        _ => Outcome::Unknown,
    })
}

fn denial(script: &mut Unstructured<'_>) -> Result<Denial> {
    Ok(match script.int_in_range(0..=2)? {
        0 => Denial::NotLeader,
        1 => Denial::Busy { limit: 1 },
        _ => Denial::TooLarge { len: 2, limit: 1 },
    })
}

fn position(script: &mut Unstructured<'_>) -> Result<Position> {
    Ok(Position {
        term: term(script)?,
        index: index(script)?,
    })
}

fn stamp(script: &mut Unstructured<'_>) -> Result<Stamp> {
    Ok(term(script)?.stamp())
}

fn term(script: &mut Unstructured<'_>) -> Result<Term> {
    number(script).map(Term)
}

fn index(script: &mut Unstructured<'_>) -> Result<LogIndex> {
    number(script).map(LogIndex)
}

fn round(script: &mut Unstructured<'_>) -> Result<Round> {
    number(script).map(Round)
}

/// Small mostly, since only then do things meet; sometimes as great as may be.
fn number(script: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match script.arbitrary::<u8>()? {
        255 => u64::MAX,
        254 => u64::MAX - 1,
        253 => script.arbitrary()?,
        small => u64::from(small % 12),
    })
}

fn payload(script: &mut Unstructured<'_>) -> Result<Bytes> {
    let len = script.int_in_range(0..=6)?;
    Ok(Bytes::copy_from_slice(script.bytes(len)?))
}

/// A message as bytes, for seeds of the decoder.
#[must_use]
pub fn any_message(data: &[u8]) -> Option<Vec<u8>> {
    let message = message(&mut Unstructured::new(data)).ok()?;
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
