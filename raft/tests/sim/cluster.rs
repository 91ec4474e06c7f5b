//! How the simulator starts Raft nodes.

use core::time::Duration;

use synod_core::{Envelope, GroupId, LogEvent, LogImage, NodeId, Rng, mix};
use synod_raft::{Body, Config, ConfigBuilder, Detail, Message, Raft};
use synod_sim::check::{Figure3, Observer};
use synod_sim::{Bounds, Budget, Framed, LogSubject, Plan, Start, Subject, Wire};

/// The bytes on its links.
static WIRE: Framed = Framed(GroupId(1));

/// Raft, as it is or with a planted bug.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) bug: Option<synod_raft::planted::Bug>,
}

impl Subject for Cluster {
    type Machine = Raft;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Raft {
        let mut builder = Config::builder(start.id).seed(start.seed);
        if start.voters.contains(&start.id) {
            builder = builder.voters(start.voters.iter().copied());
        }
        let builder = Settings::draw(start.plan).give(builder);
        let builder = match self.bug {
            Some(bug) => builder.danger_plant(bug),
            None => builder,
        };
        let config = builder.build().expect("all drawn settings are valid");
        Raft::new(config, start.restored, start.now).expect("what was durable can be restored")
    }

    fn check(&self, log: &Raft) {
        log.check();
    }

    /// Less than half of the voters may forget; who is not a voter may come and go.
    fn budget(&self, voters: usize) -> Budget {
        Budget {
            lost_disks: (voters - 1) / 2,
            learners: 2,
            voters: false,
        }
    }

    fn bounds(&self, plan: &Plan) -> Bounds {
        let settings = Settings::draw(plan);
        Bounds {
            // A leader opens its term whatever is under way.
            uncommitted_bytes: settings.uncommitted + Settings::COMMAND,
            // Another message leaves while there is room for a byte, and ends with the entry that
            // fills it.
            in_flight_bytes: settings.append * (settings.window + 1) + Settings::COMMAND,
            writes: settings.writes as usize,
            ..Bounds::default()
        }
    }

    fn wire(&self) -> Option<&dyn Wire<Message>> {
        Some(&WIRE)
    }

    fn vow(&self, envelope: &Envelope<Message>) -> Option<(u64, NodeId)> {
        let term = envelope.message.term.0;
        match envelope.message.body {
            Body::Vote { pre: false, .. } => Some((term, envelope.from)),
            Body::Voted {
                pre: false,
                candidacy,
                granted: true,
            } => Some((candidacy.0, envelope.to)),
            _ => None,
        }
    }

    fn mark(&self, event: &LogEvent<Detail>) -> Option<&'static str> {
        let LogEvent::Detail(detail) = event else {
            return None;
        };
        match detail {
            Detail::Election { pre: true, .. } => Some("raft: pre-votes"),
            Detail::Election { pre: false, .. } => Some("raft: elections"),
            Detail::SnapshotOffered { .. } => Some("raft: snapshots offered"),
            Detail::SnapshotInstalled { .. } => Some("raft: snapshots installed"),
            Detail::Truncated { .. } => Some("raft: logs truncated"),
            Detail::Compacted { .. } => Some("raft: logs compacted"),
            _ => None,
        }
    }
}

impl LogSubject for Cluster {
    fn observers(&self) -> Vec<Box<dyn Observer>> {
        vec![Box::new(Figure3::new())]
    }
}

/// The same settings for all nodes and lives of one run, small limits more often than not.
struct Settings {
    shortest: u64,
    longest: u64,
    heartbeat: u64,
    commit_delay: u64,
    forward_timeout: u64,
    forwards: bool,
    append: usize,
    messages: usize,
    /// Bytes under way, in appends.
    window: usize,
    uncommitted: usize,
    reads: usize,
    unapplied: usize,
    log: usize,
    retained: u64,
    chunk: usize,
    writes: u64,
}

impl Settings {
    /// Longer than any command of the key-value map, in bytes.
    const COMMAND: usize = 600;

    fn draw(plan: &Plan) -> Self {
        let mut rng = Rng::new(mix(plan.seed, 0x7261_6674));
        let mut one_of = |choices: &[u64]| {
            rng.pick(choices)
                .copied()
                .expect("lists of choices are not empty")
        };
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let (shortest, heartbeat) = match one_of(&[0, 1, 2]) {
            0 => (150, 20),
            1 => (300, 50),
            _ => (500, 100),
        };
        let mut drawn = Self {
            shortest,
            // With a narrow range elections tie often.
            longest: shortest * one_of(&[5, 8, 8, 20]) / 4,
            heartbeat,
            commit_delay: one_of(&[0, 500, 20_000]),
            forward_timeout: one_of(&[100, 500, 2_000]),
            forwards: one_of(&[0, 1, 1, 1]) == 1,
            append: bytes(one_of(&[1, 200, 1_000, 1 << 20])),
            messages: bytes(one_of(&[1, 2, 8, 256])),
            window: bytes(one_of(&[1, 4, 16])),
            uncommitted: bytes(one_of(&[700, 5_000, 64 << 20])),
            reads: bytes(one_of(&[1, 5, 10_000])),
            unapplied: bytes(one_of(&[1, 300, 32 << 20])),
            log: bytes(one_of(&[1, 400, 5_000, 64 << 20])),
            retained: one_of(&[0, 3, 20, 10_000]),
            chunk: bytes(one_of(&[40, 400, 1 << 20])),
            writes: one_of(&[1, 1, 2, 5]),
        };
        // One entry at a time is too slow for a follower that has much to catch up with.
        let each_second = 1_000_000_000 / plan.round_trip().max(1);
        // One message for each entry is no test of many operations, only a slow one.
        if plan.demand() > 400 {
            drawn.append = drawn.append.max(1_000);
            drawn.messages = drawn.messages.max(2);
        }
        let entries = drawn.append.div_ceil(200).max(1) * drawn.messages.min(drawn.window);
        if each_second * entries as u64 / 4 < plan.demand() {
            drawn.append = drawn.append.max(5_000);
            drawn.messages = drawn.messages.max(8);
        }
        if each_second * (drawn.chunk as u64) < 20_000 {
            drawn.chunk = 4_000;
        }
        drawn
    }

    fn give(self, builder: ConfigBuilder) -> ConfigBuilder {
        let ms = Duration::from_millis;
        builder
            .election_timeout(ms(self.shortest)..=ms(self.longest))
            .heartbeat_interval(ms(self.heartbeat))
            .commit_delay(Duration::from_micros(self.commit_delay))
            .forward_timeout(ms(self.forward_timeout))
            .forward_proposals(self.forwards)
            .max_command_bytes(Self::COMMAND)
            .max_append_bytes(self.append)
            .max_in_flight(self.messages, self.append * self.window)
            .max_uncommitted_bytes(self.uncommitted)
            .max_pending_reads(self.reads)
            .max_unapplied_bytes(self.unapplied)
            .max_log_bytes(self.log)
            .retained_entries(self.retained)
            .snapshot_chunk_bytes(self.chunk)
            .writes_in_flight(self.writes)
    }
}
