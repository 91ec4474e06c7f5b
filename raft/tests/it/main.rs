//! Raft's tests: stories on a small cluster with a hand-held network, disk and clock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test says how to repeat it")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have std"
)]

mod bounds;
mod chaos;
mod cluster;
mod codec;
mod elections;
mod far;
mod feed;
mod found;
mod golden;
mod late;
mod limits;
mod membership;
mod nonsense;
mod reads;
mod replication;
mod sent;
mod snapshots;
mod solo;
mod steady;
mod tickets;
mod waits;
