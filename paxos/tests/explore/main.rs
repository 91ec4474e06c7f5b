//! Exhaustive exploration of the real machines: all states that a small cluster can reach within
//! bounds, breadth-first. `single` is one decree, `log` is Multi-Paxos, `register` is CASPaxos.
//!
//! `cargo test -p synod-paxos --test explore -- --nocapture` prints how far it came.
//!
//! What can happen: a message is delivered, a node is asked for something, a timer fires, a node
//! crashes, before or within the handling of a message, with any prefix kept of what it was writing.
//! Messages that were ever sent make a set, and none is ever taken out of it: so each is delivered in
//! any order, never, or again and again, across restarts too, which is more than a network does.
//! Time does not pass: all timers are due. Delivered or not, what changes nothing is no step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test says what it has seen")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have std"
)]
#![allow(clippy::cast_possible_truncation, reason = "everything is small here")]

mod log;
mod model;
mod register;
mod search;
mod single;
mod world;
