//! The write-ahead log by itself: write, crash, read back, compact.
//!
//! `cargo run -p synod-node --example wal`
#![allow(clippy::print_stdout, reason = "an example says what it does")]

use futures::executor::block_on;
use synod_core::{
    Batch, Entries, Entry, Generation, LogIndex, LogLoad, LogLoaded, LogRecord, SnapshotId,
    SnapshotMeta, Stamp, Storage,
};
use synod_node::wal::{Wal, WalConfig};

type Outcome = Result<(), Box<dyn core::error::Error>>;

fn main() -> Outcome {
    let directory = tempfile::tempdir()?;
    block_on(run(directory.path()))
}

async fn run(path: &std::path::Path) -> Outcome {
    let config = WalConfig::builder().segment_bytes(64 << 10).build()?;
    let (wal, report) = Wal::open(path, config.clone())?;
    println!("new log: {}", report.created);

    // A term and a vote, then commands. Each await is one sync, and then it is durable.
    wal.write(Batch::from(LogRecord::State("term 1, voted for n2".into())))
        .await?;
    for first in (1..1000).step_by(10) {
        let commands = (first..first + 10).map(|n| Entry::command(format!("set x {n}").into()));
        let run = Entries::new(LogIndex(first), Stamp::of(1), commands);
        wal.write(Batch::from(LogRecord::Put(run))).await?;
    }

    // A second start on the same directory is refused while this one lives.
    if let Err(refused) = Wal::open(path, config.clone()) {
        println!("second start: {refused}");
    }
    drop(wal);

    let (wal, report) = Wal::open(path, config)?;
    let restored = wal.restore().await?;
    println!(
        "read {} records of {} segments, the last entry is {}, repaired: {:?}",
        report.records,
        report.segments,
        restored.last(),
        report.repaired.map(|repair| repair.to_string()),
    );
    snapshot(&wal).await?;
    let load = LogLoad::Entries {
        after: LogIndex(900),
        through: LogIndex(1000),
        max_bytes: 200,
    };
    if let Some(LogLoaded::Entries { runs, .. }) = wal.load(load).await? {
        let first = runs[0].as_slice()[0].payload.clone();
        println!("entry i901 reads {:?}", String::from_utf8_lossy(&first));
    }
    println!("{:?}", wal.stats());
    Ok(())
}

/// Keeps the state up to entry 900 as a snapshot, and lets go of the log up to there.
async fn snapshot(wal: &Wal) -> Outcome {
    let id = SnapshotId {
        origin: Generation(7),
        index: LogIndex(900),
    };
    let state = "x = 900";
    let records = [
        LogRecord::Stage {
            lane: synod_core::Lane::Taken,
            id,
            offset: 0,
            chunk: state.into(),
        },
        LogRecord::Activate {
            meta: SnapshotMeta {
                id,
                stamp: Stamp::of(1),
                config: "n1 n2 n3".into(),
                size: state.len() as u64,
            },
            log: synod_core::OldLog::Keep,
        },
        LogRecord::Compact {
            through: id.index,
            stamp: Stamp::of(1),
        },
    ];
    wal.write(records.into_iter().collect()).await?;
    let restored = wal.restore().await?;
    println!("compacted through {:?}", restored.compacted);
    Ok(())
}
