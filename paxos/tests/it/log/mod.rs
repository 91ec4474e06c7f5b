//! Multi-Paxos: stories on a small cluster in virtual time, and single machines whose peers and disk
//! a test plays.

mod cluster;
mod disks;
mod elections;
mod fetch;
mod leaders;
mod limits;
mod membership;
mod messages;
mod reads;
mod recovery;
mod slots;
mod solo;
mod tickets;
