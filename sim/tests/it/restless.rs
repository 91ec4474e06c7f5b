//! A machine that never lets time pass: a real one would take a core for itself for ever.

use bytes::Bytes;
use synod_core::{
    Change, Envelope, Instant, Link, LoadId, LogCommand, LogEvent, LogImage, LogIndex, LogLoad,
    LogLoaded, LogRecord, Machine, NodeId, Output, ReadLevel, Rejected, ReplicatedLog,
    SnapshotMeta, Status, Ticket, Wake, WriteId,
};
use synod_raft::{Config, Detail, Message, Raft};
use synod_sim::{Campaign, Kv, LogSubject, Simulation, Start, Subject};

/// Raft whose timer is due again as soon as it has fired.
struct Restless {
    raft: Raft,
    now: Instant,
}

impl Machine for Restless {
    type Command = LogCommand;
    type Reply = Result<Option<Ticket>, Rejected>;
    type Message = Message;
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Event = LogEvent<Detail>;

    fn call(&mut self, now: Instant, command: LogCommand) -> Self::Reply {
        self.raft.call(now, command)
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        self.raft.step(now, envelope);
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        self.raft.link(now, peer, link);
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        self.raft.tick(now);
    }

    fn persisted(&mut self, now: Instant, write: WriteId) {
        self.raft.persisted(now, write);
    }

    fn loaded(&mut self, now: Instant, load: LoadId, answer: Option<LogLoaded>) {
        self.raft.loaded(now, load, answer);
    }

    fn poll(&mut self) -> Option<Output<Message, LogRecord, LogEvent<Detail>, LogLoad>> {
        self.raft.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        let (at, why) = (self.now, "as always");
        Some(Wake { at, why })
    }
}

impl ReplicatedLog for Restless {
    type Detail = Detail;

    fn propose(&mut self, now: Instant, command: Bytes) -> Result<Ticket, Rejected> {
        self.raft.propose(now, command)
    }

    fn read(&mut self, now: Instant, level: ReadLevel) -> Result<Ticket, Rejected> {
        self.raft.read(now, level)
    }

    fn reconfigure(&mut self, now: Instant, change: Change) -> Result<Ticket, Rejected> {
        self.raft.reconfigure(now, change)
    }

    fn transfer(&mut self, now: Instant, to: NodeId) -> Result<(), Rejected> {
        self.raft.transfer(now, to)
    }

    fn applied(&mut self, now: Instant, through: LogIndex) {
        self.raft.applied(now, through);
    }

    fn describe(&self, applied: LogIndex) -> Option<SnapshotMeta> {
        self.raft.describe(applied)
    }

    fn compact(&mut self, now: Instant, snapshot: SnapshotMeta) {
        self.raft.compact(now, snapshot);
    }

    fn status(&self) -> Status {
        self.raft.status()
    }
}

struct OnRestless;

impl Subject for OnRestless {
    type Machine = Restless;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Restless {
        let voters = start.voters.iter().copied();
        let config = Config::builder(start.id).voters(voters).seed(start.seed);
        let config = config.build().expect("these settings are valid");
        let raft = Raft::new(config, start.restored, start.now).expect("the disk is readable");
        Restless {
            raft,
            now: start.now,
        }
    }
}

impl LogSubject for OnRestless {}

#[test]
fn a_machine_that_never_lets_time_pass_is_found_out() {
    let campaign = Campaign::new("restless", 1).shrink(None);
    let summary = campaign.run(&Simulation::new(OnRestless, Kv));
    let (_, failure, _) = summary.failure.expect("it has no end");
    assert_eq!(failure.breach.rule, "time goes on");
}
