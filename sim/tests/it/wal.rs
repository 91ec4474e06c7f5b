//! The write-ahead log of `synod-node` under a cluster: files that lose and reorder what was not
//! synced, crash at any operation, fail, and rot.

extern crate alloc;

use alloc::sync::Arc;

use synod_core::{
    Batch, LogImage, LogLoad, LogLoaded, LogRecord, NodeId, Restored, Rng, StorageError,
};
use synod_node::wal::sim_files::{Fault, SimFiles};
use synod_node::wal::{Engine, WalConfig};
use synod_raft::{Config, Raft};
use synod_sim::{Budget, Campaign, Device, Kv, LogSubject, Simulation, Start, Subject};

#[derive(Debug)]
struct Wal {
    files: SimFiles,
    engine: Option<Engine>,
    /// A bit was flipped since the last start.
    rotten: bool,
}

impl Wal {
    fn config() -> WalConfig {
        let config = WalConfig::builder().segment_bytes(4_096).tail_bytes(500);
        config.build().expect("these settings are valid")
    }

    fn engine(&mut self) -> Result<&mut Engine, StorageError> {
        let closed = || StorageError::Failed("it is not open".into());
        self.engine.as_mut().ok_or_else(closed)
    }
}

impl Device for Wal {
    fn open(&mut self) -> Result<Restored, StorageError> {
        let (engine, report) = Engine::open(Arc::new(self.files.clone()), Self::config())?;
        if core::mem::take(&mut self.rotten)
            && let Some(repair) = report.repaired
        {
            // Nothing behind the very last batch shows that it was durable: rot there looks like a
            // torn write, and is cut and reported as one. Whoever knows of the rot heeds the report.
            return Err(StorageError::Failed(repair.to_string()));
        }
        self.engine.insert(engine).restored()
    }

    fn write(&mut self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        let engine = self.engine()?;
        engine.write(records)?;
        engine.collect()
    }

    fn load(&mut self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        self.engine()?.reader().load(&load)
    }

    fn crash(&mut self, under_way: Batch<LogRecord>, rng: &mut Rng) {
        let operation = self.files.operations() + rng.below(5);
        self.files.fault_at(operation, Fault::Crash);
        let _ = self.write(under_way);
        self.engine = None;
        self.files = self.files.power_loss(rng);
    }

    fn fail_next_write(&mut self, rng: &mut Rng) -> bool {
        let fault = if rng.chance(500_000) {
            Fault::Fail
        } else {
            Fault::Full
        };
        let operation = self.files.operations() + rng.below(2);
        self.files.fault_at(operation, fault);
        true
    }

    fn damage(&mut self, rng: &mut Rng) -> bool {
        let mut files = self.files.files();
        files.retain(|(_, len)| *len > 0);
        let Some((name, len)) = rng.pick(&files).cloned() else {
            return false;
        };
        let bit = u8::try_from(rng.below(8)).unwrap_or(0);
        self.files.flip(&name, rng.below(len), bit);
        self.rotten = true;
        true
    }
}

struct OnWal;

impl Subject for OnWal {
    type Machine = Raft;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Raft {
        let voters = start.voters.iter().copied();
        let config = Config::builder(start.id).voters(voters).seed(start.seed);
        let config = config.retained_entries(20).max_log_bytes(2_000).build();
        let config = config.expect("these settings are valid");
        Raft::new(config, start.restored, start.now).expect("the disk is readable")
    }

    fn budget(&self, voters: usize) -> Budget {
        Budget {
            lost_disks: (voters - 1) / 2,
            ..Budget::default()
        }
    }

    fn device(&self, _: NodeId, seed: u64) -> Option<Box<dyn Device>> {
        Some(Box::new(Wal {
            files: SimFiles::new(seed),
            engine: None,
            rotten: false,
        }))
    }
}

impl LogSubject for OnWal {}

#[test]
fn the_write_ahead_log_keeps_what_it_promises() {
    let campaign = Campaign::from_env("write-ahead", 30);
    let summary = campaign.run(&Simulation::new(OnWal, Kv));
    println!("{summary}");
    assert!(summary.failure.is_none(), "see above");
    // One seed that is repeated need not see it all.
    if summary.seeds >= 30 {
        assert!(summary.marks.get("restarts") > 100);
    }
}
