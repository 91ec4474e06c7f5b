//! Does the contract fit the protocols that come next? Small working machines on it: Multi-Paxos as
//! a replicated log, ZAB's synchronisation, two-phase commit, and a RedLock client.
//!
//! Each runs in one deterministic [`cluster`] that knows none of them, is crashed between any two
//! outputs with torn writes, and restarts from its records. They are skeletons: each says at its
//! top what it leaves to the real crate.

extern crate alloc;

mod cluster;
mod links;
mod multi_paxos;
mod redlock;
mod two_phase;
mod zab_sync;
