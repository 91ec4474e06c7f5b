//! The simulator itself: it repeats itself, and sees what state machines do wrong.

use core::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use synod_core::{Chunks, LogImage, LogIndex, MachineError, Rng, StateMachine};
use synod_raft::{Config, Raft};
use synod_sim::linear::{KvMap, KvOp, KvRet};
use synod_sim::{
    Application, Campaign, Kv, KvStore, LogSubject, Request, Simulation, Start, Subject, Summary,
    Workload,
};

struct OnRaft;

impl Subject for OnRaft {
    type Machine = Raft;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Raft {
        let voters = start.voters.iter().copied();
        let config = Config::builder(start.id).voters(voters).seed(start.seed);
        let config = config.build().expect("these settings are valid");
        Raft::new(config, start.restored, start.now).expect("the disk is readable")
    }
}

impl LogSubject for OnRaft {}

/// What a state machine does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    /// Its snapshot is empty.
    Forgets,
    /// It answers as the node pleases.
    Guesses,
    /// It answers queries from an older state.
    Lags,
}

static GUESS: AtomicU64 = AtomicU64::new(0);

struct BadStore {
    store: KvStore,
    before: KvStore,
    wrong: Wrong,
}

impl StateMachine for BadStore {
    fn apply(&mut self, index: LogIndex, command: &Bytes) -> Bytes {
        self.before = self.store.clone();
        let response = self.store.apply(index, command);
        if self.wrong == Wrong::Guesses && response.len() == 1 {
            let guess = GUESS.fetch_add(1, Ordering::Relaxed) % 2;
            return Bytes::from(vec![guess as u8]);
        }
        response
    }

    fn query(&self, query: &Bytes) -> Bytes {
        match self.wrong {
            Wrong::Lags => self.before.query(query),
            _ => self.store.query(query),
        }
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        match self.wrong {
            Wrong::Forgets => Ok(Bytes::new().into()),
            _ => self.store.snapshot(),
        }
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        self.store.restore(snapshot)
    }
}

struct Bad(Wrong);

impl Application for Bad {
    type Machine = BadStore;
    type Model = KvMap;

    fn machine(&self) -> BadStore {
        BadStore {
            store: KvStore::default(),
            before: KvStore::default(),
            wrong: self.0,
        }
    }

    fn model(&self) -> KvMap {
        KvMap
    }

    fn draw(&self, rng: &mut Rng, work: &Workload, unique: u64) -> KvOp {
        Kv.draw(rng, work, unique)
    }

    fn request(&self, op: &KvOp) -> Request {
        Kv.request(op)
    }

    fn answer(&self, op: &KvOp, response: &Bytes) -> KvRet {
        Kv.answer(op, response)
    }
}

fn found(wrong: Wrong) -> &'static str {
    let summary: Summary = Campaign::new("bad", 50).run(&Simulation::new(OnRaft, Bad(wrong)));
    let (_, failure, _) = summary.failure.expect("it is found");
    failure.breach.rule
}

#[test]
fn a_snapshot_that_forgets_is_found() {
    let rule = found(Wrong::Forgets);
    assert!(rule.starts_with("all state machines"), "{rule}");
}

#[test]
fn a_state_machine_that_is_not_deterministic_is_found() {
    assert_eq!(found(Wrong::Guesses), "all state machines answer alike");
}

#[test]
fn stale_answers_are_found() {
    assert_eq!(found(Wrong::Lags), "histories are linearizable");
}

#[test]
fn a_seed_repeats_itself_and_a_trace_changes_nothing() {
    let simulation = Simulation::new(OnRaft, Kv);
    for seed in 0..3 {
        let report = simulation.run(seed).unwrap();
        assert_eq!(report, simulation.traced(seed, 10).unwrap());
        assert!(report.events > 1_000 && report.committed > 0);
    }
    assert_ne!(
        simulation.run(1).unwrap().hash,
        simulation.run(2).unwrap().hash
    );
}

#[test]
fn seeds_come_from_the_base_and_kept_ones_first() {
    let campaign = Campaign::new("a1b2", 2).keep([7]);
    assert_eq!(campaign.seed(0), 7);
    assert_ne!(campaign.seed(1), campaign.seed(2));
    assert_ne!(campaign.seed(1), Campaign::new("a1b3", 2).seed(0));
    assert_eq!(campaign.seed(1), Campaign::new("a1b2", 2).seed(0));
}
