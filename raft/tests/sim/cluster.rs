//! How the simulator starts Raft nodes.

use core::time::Duration;

use synod_core::{Envelope, NodeId, Rng, mix};
use synod_raft::{Body, Config, ConfigBuilder, Detail, Message, Raft};
use synod_sim::check::{Figure3, Observer};
use synod_sim::{Start, Subject};

/// Raft, as it is or with a planted bug.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cluster {
    #[cfg(feature = "planted")]
    pub(crate) bug: Option<synod_raft::planted::Bug>,
}

impl Subject for Cluster {
    type Log = Raft;

    fn start(&self, start: Start<'_>) -> Raft {
        let builder = Config::builder(start.id)
            .voters(start.voters.iter().copied())
            .seed(start.seed);
        let builder = settings(builder, start.world);
        #[cfg(feature = "planted")]
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

    fn observers(&self) -> Vec<Box<dyn Observer>> {
        vec![Box::new(Figure3::new())]
    }

    fn mark(&self, detail: &Detail) -> Option<&'static str> {
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

/// The same settings for all nodes and lives of one run, small limits more often than not.
fn settings(builder: ConfigBuilder, world: u64) -> ConfigBuilder {
    let mut rng = Rng::new(mix(world, 0x7261_6674));
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
    // With a narrow range elections tie often.
    let longest = shortest * one_of(&[5, 8, 8, 20]) / 4;
    let ms = Duration::from_millis;
    let append = one_of(&[1, 200, 1_000, 1 << 20]);
    builder
        .election_timeout(ms(shortest)..=ms(longest))
        .heartbeat_interval(ms(heartbeat))
        .commit_delay(Duration::from_micros(one_of(&[0, 500, 20_000])))
        .forward_timeout(ms(one_of(&[100, 500, 2_000])))
        .forward_proposals(one_of(&[0, 1, 1, 1]) == 1)
        .max_append_bytes(bytes(append))
        .max_in_flight(
            bytes(one_of(&[1, 2, 8, 256])),
            bytes(append * one_of(&[1, 4, 16])),
        )
        .max_unapplied_bytes(bytes(one_of(&[1, 300, 32 << 20])))
        .max_log_bytes(bytes(one_of(&[1, 400, 5_000, 64 << 20])))
        .retained_entries(one_of(&[0, 3, 20, 10_000]))
        .snapshot_chunk_bytes(bytes(one_of(&[40, 400, 1 << 20])))
        .writes_in_flight(one_of(&[1, 1, 2, 5]))
}
