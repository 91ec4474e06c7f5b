//! One decree, from outside: each rule of Paxos and Fast Paxos is a test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test says what it has measured")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have std"
)]

mod acceptors;
mod amnesia;
mod chaos;
mod cluster;
mod codec;
mod configs;
mod costs;
mod fast;
mod golden;
mod learners;
mod proposers;
mod recovery;
mod restart;
mod solo;
