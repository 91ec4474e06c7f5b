//! How the simulator starts nodes of Multi-Paxos.

use core::time::Duration;

use synod_core::{GroupId, LogEvent, LogImage, ReadLevel, Rng, mix};
use synod_paxos::log::planted::Bug;
use synod_paxos::log::{Config, ConfigBuilder, Detail, Message, MultiPaxos};
use synod_sim::check::Observer;
use synod_sim::{Bounds, Budget, Fault, Framed, LogSubject, Plan, Start, Subject, Wire};

use crate::observer::Ballots;

/// The bytes on its links.
static WIRE: Framed = Framed(GroupId(1));

/// Multi-Paxos, as it is or with a planted bug, in classic or in fast rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) bug: Option<Bug>,
    pub(crate) fast: bool,
}

impl Subject for Cluster {
    type Machine = MultiPaxos;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> MultiPaxos {
        let mut builder = Config::builder(start.id).seed(start.seed);
        if start.voters.contains(&start.id) {
            builder = builder.voters(start.voters.iter().copied());
        }
        let settings = Settings::draw(start.plan);
        let builder = match settings.priorities {
            true => builder.priority((mix(start.world, start.id.0) % 3) as u32),
            false => builder,
        };
        let builder = settings.give(builder);
        let builder = if self.fast {
            builder.fast_rounds()
        } else {
            builder
        };
        let builder = match self.bug {
            Some(bug) => builder.danger_plant(bug),
            None => builder,
        };
        let config = builder.build().expect("all drawn settings are valid");
        MultiPaxos::new(config, start.restored, start.now)
            .expect("what was durable can be restored")
    }

    /// Fast rounds among one or two are nothing new.
    fn sizes(&self) -> &[usize] {
        if self.fast {
            &[3, 3, 4, 4, 4, 5, 5, 5, 5, 6]
        } else {
            &[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 6, 7]
        }
    }

    /// A planted bug may break what a machine says of itself, and is to be found from outside.
    fn check(&self, log: &MultiPaxos) {
        if self.bug.is_none() {
            log.check();
        }
    }

    /// Less than half of the voters may forget; who is not a voter may come and go.
    fn budget(&self, voters: usize) -> Budget {
        Budget {
            lost_disks: (voters - 1) / 2,
            learners: 2,
            voters: true,
        }
    }

    fn bounds(&self, plan: &Plan) -> Bounds {
        let settings = Settings::draw(plan);
        Bounds {
            // A leader opens its term whatever is under way.
            // Each voter takes on what it offers itself, and a leader what it recovers.
            uncommitted_bytes: if self.fast {
                usize::MAX
            } else {
                settings.uncommitted + Settings::COMMAND
            },
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

    fn mark(&self, event: &LogEvent<Detail>) -> Option<&'static str> {
        let LogEvent::Detail(detail) = event else {
            return None;
        };
        match detail {
            Detail::Preparing { .. } => Some("paxos: phases 1"),
            Detail::Recovered { blanks: 0, .. } => Some("paxos: leaders"),
            Detail::Recovered { .. } => Some("paxos: leaders that filled gaps"),
            Detail::FastOpened { .. } => Some("paxos: slots opened"),
            Detail::Collided { .. } => Some("paxos: slots recovered"),
            Detail::Fetching { .. } => Some("paxos: followers that asked for more"),
            Detail::SnapshotInstalled { .. } => Some("paxos: snapshots installed"),
            Detail::Compacted { .. } => Some("paxos: logs compacted"),
            Detail::Membership { epoch, .. } if epoch.0 > 0 => Some("paxos: later epochs entered"),
            Detail::LeftOut { .. } => Some("paxos: nodes left out"),
            _ => None,
        }
    }
}

impl LogSubject for Cluster {
    fn observers(&self) -> Vec<Box<dyn Observer>> {
        vec![Box::new(Ballots::default())]
    }

    fn strict_level(&self, plan: &Plan, rng: &mut Rng) -> ReadLevel {
        if Settings::draw(plan).lease.is_some() && rng.chance(600_000) {
            ReadLevel::Lease
        } else {
            ReadLevel::Linearizable
        }
    }
}

/// The same settings for all nodes and lives of one run, small limits more often than not.
struct Settings {
    round: u64,
    heartbeat: u64,
    commit_delay: u64,
    forward_timeout: u64,
    forwards: bool,
    quorum_reads: bool,
    thrifty: bool,
    /// Whether some nodes should lead more than others.
    priorities: bool,
    /// How long leases are, in ms, and what clocks may drift apart, in µs.
    lease: Option<(u64, u64)>,
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
        let mut rng = Rng::new(mix(plan.seed, 0x7061_786f));
        let mut one_of = |choices: &[u64]| {
            rng.pick(choices)
                .copied()
                .expect("lists of choices are not empty")
        };
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let (round, heartbeat) = match one_of(&[0, 1, 2]) {
            0 => (60, 20),
            1 => (100, 50),
            _ => (250, 100),
        };
        let mut drawn = Self {
            round,
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
            quorum_reads: one_of(&[0, 1]) == 1,
            thrifty: one_of(&[0, 0, 1]) == 1,
            priorities: one_of(&[0, 1]) == 1,
            lease: None,
        };
        let length = one_of(&[0, 0, 3 * heartbeat, 400, 1_500]);
        // A clock that jumps is none that a lease can rest on.
        if length > 0 && !plan.faults.kinds.contains(&Fault::Jump) {
            // Of two clocks one may be too fast and the other too slow by so much.
            let drift = 2 * length * plan.drift_ppm / 1_000 + 1_000;
            drawn.lease = Some((length, drift));
        }
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
        // Who is behind asks for one page at a time, and waits for its disk before it asks for more.
        let page = 800 * plan.demand() / each_second.max(1);
        drawn.append = drawn.append.max(bytes(page));
        if each_second * (drawn.chunk as u64) < 20_000 {
            drawn.chunk = 4_000;
        }
        drawn
    }

    fn give(self, builder: ConfigBuilder) -> ConfigBuilder {
        let ms = Duration::from_millis;
        let builder = match self.lease {
            Some((length, drift)) => builder.leader_lease(ms(length), Duration::from_micros(drift)),
            None => builder,
        };
        builder
            .election_round(ms(self.round))
            .heartbeat_interval(ms(self.heartbeat))
            .commit_delay(Duration::from_micros(self.commit_delay))
            .forward_timeout(ms(self.forward_timeout))
            .forward_proposals(self.forwards)
            .quorum_reads(self.quorum_reads)
            .thrifty(self.thrifty)
            .max_command_bytes(Self::COMMAND)
            .max_accept_bytes(self.append)
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
