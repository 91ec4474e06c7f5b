//! Multi-Paxos: stories on a small cluster in virtual time, and single machines whose peers and disk
//! a test plays.

mod cluster;
mod elections;
mod leaders;
mod recovery;
mod solo;
