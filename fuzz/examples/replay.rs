//! Gives every seed to its target: what a fuzzer does first, without one.

use std::error::Error;
use std::path::Path;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("decode_core", synod_fuzz::decode::core),
    ("decode_client", synod_fuzz::decode::client),
    ("decode_frame", synod_fuzz::decode::frame),
    ("decode_raft", synod_fuzz::decode::raft),
    ("decode_paxos", synod_fuzz::decode::paxos),
    ("decode_quorum", synod_fuzz::decode::quorum),
    ("decode_greeting", synod_fuzz::decode::greeting),
    ("open_wal", synod_fuzz::wal::open_damaged),
    ("step_raft", synod_fuzz::raft::step_anything),
    ("step_paxos", synod_fuzz::paxos::step_anything),
];

fn main() -> Result<(), Box<dyn Error>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (name, target) in TARGETS {
        let mut count = 0;
        for seed in std::fs::read_dir(seeds.join(name))? {
            target(&std::fs::read(seed?.path())?);
            count += 1;
        }
        println!("{name}: {count} seeds");
        if count == 0 {
            return Err(format!("{name} has no seeds").into());
        }
    }
    Ok(())
}
