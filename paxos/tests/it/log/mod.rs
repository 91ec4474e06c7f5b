//! Multi-Paxos: stories on a small cluster in virtual time, and single machines whose peers and disk
//! a test plays.

mod changes;
mod cluster;
mod codec;
mod disks;
mod elections;
mod fast;
mod fast_votes;
mod fetch;
mod golden;
mod leaders;
mod leases;
mod limits;
mod membership;
mod messages;
mod nonsense;
mod priorities;
mod quorum_reads;
mod reads;
mod recovery;
mod refusals;
mod slots;
mod solo;
mod thrifty;
mod tickets;
