//! Writes the seeds: real values as bytes, and scripts drawn from a fixed generator.

use std::error::Error;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use synod_core::frame::write_frame;
use synod_core::{
    ClusterId, Encode, Entries, Entry, Generation, GroupId, Lane, LogIndex, LogRecord, NodeId,
    OldLog, Rng, SessionCommand, SessionResponse, SnapshotId, SnapshotMeta, Stamp,
};
use synod_node::stream::{Greeting, Groups, Hello, Refusal};
use synod_quorum::{Expr, Quorum};

fn main() -> Result<(), Box<dyn Error>> {
    let core = log_records().into_iter().map(|bytes| tagged(0, &bytes));
    let core = core.chain([
        tagged(1, &bytes_of(&entries())),
        tagged(2, &bytes_of(&meta())),
    ]);
    write("decode_core", core)?;
    write("decode_client", client())?;
    write("decode_frame", log_records().iter().map(|body| frame(body)))?;
    write("decode_raft", raft())?;
    write("decode_paxos", paxos())?;
    write("decode_quorum", quorums()?)?;
    write("decode_greeting", greetings())?;
    write("open_wal", scripts(1, 12, 200))?;
    write("step_raft", scripts(2, 24, 400))?;
    write("step_paxos", scripts(7, 24, 400))?;
    Ok(())
}

fn write(target: &str, seeds: impl IntoIterator<Item = Vec<u8>>) -> Result<(), Box<dyn Error>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    std::fs::create_dir_all(&dir)?;
    for (number, seed) in seeds.into_iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(())
}

fn bytes_of(value: &impl Encode) -> Vec<u8> {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.to_vec()
}

fn tagged(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], bytes].concat()
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_frame(GroupId(7), &mut out, |out| out.extend_from_slice(body));
    out.to_vec()
}

fn entries() -> Entries {
    let entries = [Entry::blank(), Entry::command(Bytes::from_static(b"put"))];
    Entries::new(LogIndex(3), Stamp::of(2), entries)
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(9),
            index: LogIndex(4),
        },
        stamp: Stamp::of(2),
        config: Bytes::from_static(b"config"),
        size: 3,
    }
}

fn log_records() -> Vec<Vec<u8>> {
    let records = [
        LogRecord::State(Bytes::from_static(b"state")),
        LogRecord::Put(entries()),
        LogRecord::Truncate { from: LogIndex(4) },
        LogRecord::Stage {
            lane: Lane::Received,
            id: meta().id,
            offset: 0,
            chunk: Bytes::from_static(b"abc"),
        },
        LogRecord::Activate {
            meta: meta(),
            log: OldLog::Replace,
        },
        LogRecord::Compact {
            through: LogIndex(4),
            stamp: Stamp::of(2),
        },
    ];
    records.iter().map(bytes_of).collect()
}

fn client() -> Vec<Vec<u8>> {
    let plain = SessionCommand::Plain(Bytes::from_static(b"put"));
    let open = SessionCommand::Open { nonce: 5, time: 6 };
    let done = SessionResponse::Done(Bytes::from_static(b"ok"));
    let mut seeds = vec![
        tagged(0, &bytes_of(&plain)),
        tagged(0, &bytes_of(&open)),
        tagged(1, &bytes_of(&done)),
    ];
    // Requests and responses begin with a version and a tag.
    for kind in [2, 3] {
        seeds.extend((0..6).map(|tag| [&[kind, 1, tag][..], &[0; 24]].concat()));
    }
    seeds
}

fn raft() -> Vec<Vec<u8>> {
    let messages = scripts(3, 40, 80).filter_map(|script| synod_fuzz::raft::any_message(&script));
    let messages = messages.map(|bytes| tagged(0, &bytes));
    let memberships = scripts(4, 4, 8).filter_map(|s| synod_fuzz::raft::any_membership(&s));
    messages
        .chain(memberships.map(|bytes| tagged(1, &bytes)))
        .collect()
}

fn paxos() -> Vec<Vec<u8>> {
    let messages = scripts(5, 60, 120).filter_map(|s| synod_fuzz::paxos::any_message(&s));
    let messages = messages.map(|bytes| tagged(0, &bytes));
    let memberships = scripts(6, 4, 8).filter_map(|s| synod_fuzz::paxos::any_membership(&s));
    messages
        .chain(memberships.map(|bytes| tagged(1, &bytes)))
        .collect()
}

fn quorums() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let majority = Quorum::majority((1..=5).map(NodeId))?;
    let two = Quorum::count(2, (1..=4).map(NodeId))?;
    let nested = Quorum::new(Expr::any([
        Expr::all([NodeId(1), NodeId(2)]),
        Expr::choose(2, [NodeId(3), NodeId(4), NodeId(5)]),
    ]))?;
    Ok([majority, two, nested].iter().map(Quorum::encode).collect())
}

fn greetings() -> Vec<Vec<u8>> {
    let hello = Hello {
        oldest: 1,
        newest: 1,
        cluster: ClusterId(7),
        groups: Groups::One(GroupId(0)),
        from: NodeId(1),
        to: NodeId(2),
        boot: 3,
        max_frame: 1 << 20,
    };
    let refusal = Refusal::OwnId(NodeId(1));
    let greetings = [
        Greeting::Hello(hello),
        Greeting::Refuse(refusal),
        Greeting::Confirm(4),
    ];
    greetings.iter().map(bytes_of).collect()
}

/// Bytes drawn from a seed.
fn scripts(seed: u64, count: usize, len: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut rng = Rng::new(seed);
    (0..count).map(move |_| (0..len).map(|_| rng.below(256) as u8).collect())
}
