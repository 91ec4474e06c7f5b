//! What a log may say, one event at a time: a log that says what the test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::executor::block_on;
use synod_core::mem::{ManualClock, MemNetwork, MemStorage};
use synod_core::{
    Change, Committed, Entries, Entry, Envelope, FailStop, Generation, Instant, Lane, Link, LoadId,
    LogCommand, LogEvent, LogImage, LogIndex, LogLoad, LogLoaded, LogRecord, Machine, MachineError,
    NodeId, OldLog, Output, ReadLevel, Refusal, Rejected, ReplicatedLog, Role, SnapshotId,
    SnapshotMeta, Stamp, Status, Ticket, Wake, WriteId,
};
use synod_node::{ApplyOn, Config, Handle, Node, NodeError, Parts, ProposeError, ReadError};

use crate::driver_support::{Ledger, Rt, Running, counted, spawn, text};

type Script = Arc<Mutex<VecDeque<LogEvent<()>>>>;

/// Takes everything it is asked, and says what the script says.
#[derive(Default)]
struct Scripted {
    script: Script,
    tickets: u64,
    applied: LogIndex,
}

impl Scripted {
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

impl Machine for Scripted {
    type Command = LogCommand;
    type Reply = Result<Option<Ticket>, Rejected>;
    type Message = ();
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Event = LogEvent<()>;

    fn call(&mut self, now: Instant, command: LogCommand) -> Self::Reply {
        command.give(self, now)
    }

    fn step(&mut self, _: Instant, _: Envelope<()>) {}

    fn link(&mut self, _: Instant, _: NodeId, _: Link) {}

    fn tick(&mut self, _: Instant) {}

    fn persisted(&mut self, _: Instant, _: WriteId) {}

    fn loaded(&mut self, _: Instant, _: LoadId, _: Option<LogLoaded>) {}

    fn poll(&mut self) -> Option<Output<(), LogRecord, LogEvent<()>, LogLoad>> {
        self.script.lock().unwrap().pop_front().map(Output::Event)
    }

    fn deadline(&self) -> Option<Wake> {
        None
    }
}

impl ReplicatedLog for Scripted {
    type Detail = ();

    fn propose(&mut self, _: Instant, _: Bytes) -> Result<Ticket, Rejected> {
        Ok(self.ticket())
    }

    fn read(&mut self, _: Instant, _: ReadLevel) -> Result<Ticket, Rejected> {
        Ok(self.ticket())
    }

    fn reconfigure(&mut self, _: Instant, _: Change) -> Result<Ticket, Rejected> {
        Ok(self.ticket())
    }

    fn transfer(&mut self, _: Instant, _: NodeId) -> Result<(), Rejected> {
        Ok(())
    }

    fn applied(&mut self, _: Instant, through: LogIndex) {
        assert!(through >= self.applied, "the state machine goes forwards");
        self.applied = through;
    }

    fn describe(&self, _: LogIndex) -> Option<SnapshotMeta> {
        None
    }

    fn compact(&mut self, _: Instant, _: SnapshotMeta) {}

    fn status(&self) -> Status {
        Status {
            node: NodeId(1),
            generation: Generation(1),
            role: Role::Leader,
            era: 1,
            leader: Some(NodeId(1)),
            committed: self.applied,
            applied: self.applied,
            durable: self.applied,
            last: self.applied,
            compacted: LogIndex::START,
            snapshot: LogIndex::START,
            log_bytes: 0,
            uncommitted_bytes: 0,
            peers: Vec::new(),
            voters: vec![NodeId(1)],
            learners: Vec::new(),
            dropped_messages: 0,
        }
    }
}

struct Stage {
    script: Script,
    handle: Handle,
    ledger: Ledger,
    running: Running<Result<(), NodeError>>,
}

impl Stage {
    fn new(place: ApplyOn, storage: MemStorage) -> Self {
        let ledger = Ledger::default();
        let log = Scripted::default();
        let script = Arc::clone(&log.script);
        let parts = Parts {
            storage,
            transport: MemNetwork::new(1).join(NodeId(1)),
            clock: ManualClock::new(),
        };
        let config = Config::builder().apply_on(place).build().unwrap();
        let (node, handle) = Node::new(log, ledger.clone(), parts, config);
        let running = spawn(Rt::Tokio, node.run());
        Self {
            script,
            handle,
            ledger,
            running,
        }
    }

    /// Lets the log say this, once everything asked so far has reached it.
    fn say(&self, events: impl IntoIterator<Item = LogEvent<()>>) {
        let _stopped = block_on(self.handle.status());
        self.script.lock().unwrap().extend(events);
        let _stopped = block_on(self.handle.status());
    }
}

fn committed(first: u64, commands: &[&'static str], ticket: Option<u64>) -> LogEvent<()> {
    let entries = commands.iter().map(|c| Entry::command(Bytes::from(*c)));
    LogEvent::Committed(Committed {
        entries: Entries::new(LogIndex(first), Stamp::of(1), entries),
        ticket: ticket.map(Ticket),
    })
}

const PLACES: [ApplyOn; 2] = [ApplyOn::Thread, ApplyOn::Driver];

#[test]
fn every_way_in_which_a_proposal_ends() {
    for place in PLACES {
        let stage = Stage::new(place, MemStorage::new());
        let displaced = stage.handle.propose("1".into());
        let refused = stage.handle.propose("2".into());
        let unknown = stage.handle.propose("3".into());
        let applied = stage.handle.propose("4".into());
        let many = stage.handle.propose_many(["5".into(), "6".into()]);
        let read = stage.handle.read(Bytes::new(), ReadLevel::Stale);
        let refused_read = stage.handle.read(Bytes::new(), ReadLevel::Stale);
        let lost_read = stage.handle.read(Bytes::new(), ReadLevel::Stale);
        stage.say([
            LogEvent::Displaced(Ticket(1)),
            LogEvent::Refused(Ticket(2), Refusal::NoLeader),
            LogEvent::Unknown(Ticket(3)),
            committed(1, &["4"], Some(4)),
            committed(2, &["other"], None),
            committed(3, &["6"], Some(6)),
            LogEvent::Displaced(Ticket(5)),
            LogEvent::Read {
                ticket: Ticket(7),
                index: LogIndex(3),
            },
            LogEvent::Refused(Ticket(8), Refusal::NoLeader),
            LogEvent::Unknown(Ticket(9)),
        ]);
        assert_eq!(block_on(displaced), Err(ProposeError::Displaced));
        let no_leader = Refusal::NoLeader;
        assert_eq!(block_on(refused), Err(ProposeError::Refused(no_leader)));
        assert_eq!(block_on(unknown), Err(ProposeError::Unknown));
        let applied = block_on(applied).unwrap();
        assert_eq!((applied.index, text(&applied.response)), (LogIndex(1), "1"));
        let many = block_on(many);
        assert_eq!(many[0], Err(ProposeError::Displaced));
        assert_eq!(many[1].as_ref().unwrap().index, LogIndex(3));
        assert_eq!(block_on(read).unwrap().response, "4 other 6");
        assert_eq!(block_on(refused_read), Err(ReadError::Refused(no_leader)));
        assert_eq!(block_on(lost_read), Err(ReadError::Unknown));
    }
}

#[test]
fn what_the_protocol_makes_impossible_ends_the_node_with_the_evidence() {
    let stage = Stage::new(ApplyOn::Thread, MemStorage::new());
    let proposal = stage.handle.propose("x".into());
    let why = FailStop {
        rule: "one leader per term",
        evidence: "n2 and n3 in term 4".into(),
    };
    stage.say([LogEvent::Stopped(why.clone())]);
    assert_eq!(block_on(proposal), Err(ProposeError::Unknown));
    assert_eq!(stage.running.join(), Err(NodeError::FailStop(why)));
}

#[test]
fn a_gap_between_committed_entries_ends_the_node() {
    for place in PLACES {
        let stage = Stage::new(place, MemStorage::new());
        stage.say([committed(1, &["a"], None), committed(3, &["c"], None)]);
        let error = stage.running.join().unwrap_err().to_string();
        let expected = "stopped by the protocol: committed entries come without a gap: \
                        i3 came after i1";
        assert_eq!(error, expected);
        assert_eq!(stage.ledger.lines(), ["a"]);
    }
}

#[test]
fn what_is_applied_is_not_applied_again() {
    for place in PLACES {
        let stage = Stage::new(place, MemStorage::new());
        stage.say([
            committed(1, &["a", "b"], None),
            committed(1, &["a", "b", "c"], None),
        ]);
        let read = stage.handle.read(Bytes::new(), ReadLevel::Stale);
        stage.say([LogEvent::Read {
            ticket: Ticket(1),
            index: LogIndex(3),
        }]);
        assert_eq!(block_on(read).unwrap().response, "a b c");
    }
}

fn meta(index: u64, contents: &str) -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(1),
            index: LogIndex(index),
        },
        stamp: Stamp::of(1),
        config: Bytes::new(),
        size: contents.len() as u64,
    }
}

/// A disk with a snapshot on it.
fn disk(index: u64, contents: &'static str) -> (MemStorage, SnapshotMeta) {
    let meta = meta(index, contents);
    let mut image = LogImage::new();
    let stage = LogRecord::Stage {
        lane: Lane::Received,
        id: meta.id,
        offset: 0,
        chunk: contents.into(),
    };
    image.apply(stage).unwrap();
    let activate = LogRecord::Activate {
        meta: meta.clone(),
        log: OldLog::Replace,
    };
    image.apply(activate).unwrap();
    (MemStorage::on(image), meta)
}

#[test]
fn a_snapshot_replaces_the_state_in_its_turn() {
    for place in PLACES {
        let (storage, meta) = disk(10, "from the snapshot");
        let stage = Stage::new(place, storage);
        let lost = stage.handle.propose("x".into());
        let read = stage.handle.read(Bytes::new(), ReadLevel::Stale);
        stage.say([
            committed(1, &["before"], None),
            LogEvent::Unknown(Ticket(1)),
            LogEvent::Restore(meta),
            committed(11, &["after"], None),
            LogEvent::Read {
                ticket: Ticket(2),
                index: LogIndex(11),
            },
        ]);
        let answered = block_on(read).unwrap();
        assert_eq!(answered.response, "from the snapshot after");
        assert_eq!(answered.index, LogIndex(11));
        assert_eq!(block_on(lost), Err(ProposeError::Unknown));
        counted(&stage.handle, |m| m.restores == 1);
    }
}

#[test]
fn a_snapshot_that_is_replaced_while_it_is_read_gives_way_to_the_next() {
    for place in PLACES {
        let (storage, newer) = disk(20, "newer");
        let stage = Stage::new(place, storage);
        let proposal = stage.handle.propose("between".into());
        let early = stage.handle.read(Bytes::new(), ReadLevel::Stale);
        let late = stage.handle.read(Bytes::new(), ReadLevel::Stale);
        let read = |ticket, index| LogEvent::Read {
            ticket: Ticket(ticket),
            index: LogIndex(index),
        };
        stage.say([
            committed(1, &["before"], None),
            LogEvent::Restore(meta(10, "older")),
            committed(11, &["between"], Some(1)),
            read(2, 11),
            LogEvent::Restore(newer),
            committed(21, &["after"], None),
            read(3, 21),
        ]);
        assert_eq!(block_on(late).unwrap().response, "newer after");
        assert_eq!(block_on(proposal), Err(ProposeError::Unknown));
        assert_eq!(block_on(early), Err(ReadError::Unknown));
    }
}

#[test]
fn a_snapshot_that_cannot_be_restored_ends_the_node() {
    for place in PLACES {
        let (storage, meta) = disk(10, "whatever");
        let stage = Stage::new(place, storage);
        stage.ledger.refuse_snapshots();
        stage.say([LogEvent::Restore(meta.clone())]);
        let error = MachineError::new("refused");
        let expected = NodeError::Restore { meta, error };
        assert_eq!(stage.running.join(), Err(expected));
    }
}
