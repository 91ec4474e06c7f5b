//! What the fuzz targets check, as plain functions of bytes, so that a seed is tried without a
//! fuzzer, too.

pub mod decode;
pub mod paxos;
pub mod raft;
pub mod wal;
