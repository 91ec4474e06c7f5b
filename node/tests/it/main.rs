//! Tests of synod-node: one module per feature.
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::print_stdout,
    reason = "tests fail loudly, and a test has std"
)]

mod client;
#[path = "../cluster/mod.rs"]
mod cluster;
mod driver_basic;
mod driver_events;
mod driver_failures;
mod driver_idle;
mod driver_limits;
mod driver_machine;
mod driver_shutdown;
mod driver_slow_apply;
mod driver_snapshots;
mod driver_streams;
mod driver_support;
mod driver_whole;
mod raft_cluster;
mod stream_conform;
mod stream_eager;
mod stream_frames;
mod stream_handshake;
mod stream_limits;
mod stream_links;
mod stream_pipe;
mod stream_support;
mod stream_tcp;
mod stream_tls;
mod stream_trace;
mod wal_conform;
mod wal_crash;
mod wal_disk;
mod wal_exact;
mod wal_explore;
mod wal_loads;
mod wal_plants;
mod wal_rot;
mod wal_segments;
mod wal_support;
