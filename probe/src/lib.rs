//! Links every `no_std` crate of the family into a static library that has its own panic handler
//! and its own allocator. The attribute `#![no_std]` says what a crate wants; this shows what its
//! dependencies do. As soon as one of them brings the standard library, there are two panic
//! handlers and this no longer builds (`--features leak` shows it).
//!
//! Each function below uses a crate enough for its code to be generated. None of them is meant to
//! run: the allocator has no memory.

#![no_std]

extern crate alloc;

use core::panic::PanicInfo;

use bytes::{Bytes, BytesMut};
use linked_list_allocator::LockedHeap;
use synod_core::{
    Decode, Encode, Instant, LogImage, LogIndex, LogRecord, Machine, NodeId, ReplicatedLog,
    Restored,
};
use synod_paxos::log::{Config as PaxosConfig, Message as PaxosMessage, MultiPaxos};
use synod_quorum::{Phases, Quorum};
use synod_raft::{Config, Message, Raft};

#[cfg(feature = "leak")]
use synod_probe_leak as _;

#[global_allocator]
static ALLOCATOR: LockedHeap = LockedHeap::empty();

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// `synod-core`: records to bytes and back, and the meaning of a disk.
#[must_use]
pub fn core_crate(bytes: Bytes) -> Option<LogIndex> {
    let record = LogRecord::decode_all(bytes).ok()?;
    let mut out = BytesMut::new();
    record.encode(&mut out);
    let mut image = LogImage::new();
    image.apply(record).ok()?;
    Some(image.restored(out.len()).last())
}

/// `synod-quorum`: a system, proved and asked.
#[must_use]
pub fn quorum_crate(nodes: u64) -> Option<u64> {
    let members = || (1..=nodes).map(NodeId);
    let majority = Quorum::majority(members()).ok()?;
    let phases = Phases::new(&majority, &majority).ok()?;
    Some(phases.replication().highest(&[3, 2, 1]))
}

/// `synod-raft`: a cluster of one, driven by hand.
#[must_use]
pub fn raft_crate(command: Bytes, message: Bytes) -> Option<usize> {
    let config = Config::builder(NodeId(1))
        .voters([NodeId(1)])
        .build()
        .ok()?;
    let mut raft = Raft::new(config, Restored::default(), Instant::START).ok()?;
    raft.tick(Instant::START);
    raft.propose(Instant::START, command).ok()?;
    let mut outputs = 0;
    while raft.poll().is_some() {
        outputs += 1;
    }
    Message::decode_all(message).ok()?;
    Some(outputs)
}

/// `synod-paxos`: the same as a log of Multi-Paxos.
#[must_use]
pub fn paxos_crate(command: Bytes, message: Bytes) -> Option<usize> {
    let config = PaxosConfig::builder(NodeId(1))
        .voters([NodeId(1)])
        .build()
        .ok()?;
    let mut log = MultiPaxos::new(config, Restored::default(), Instant::START).ok()?;
    log.tick(Instant::START);
    log.propose(Instant::START, command).ok()?;
    let mut outputs = 0;
    while log.poll().is_some() {
        outputs += 1;
    }
    PaxosMessage::decode_all(message).ok()?;
    Some(outputs)
}
