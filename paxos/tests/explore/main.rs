//! Exhaustive exploration of the real machine: all states that a small decree can reach within
//! bounds, breadth-first.
//!
//! `cargo test -p synod-paxos --test explore -- --nocapture` prints how far it came.
//!
//! What can happen: a message is delivered, a proposer is asked to propose, a timer fires, a node
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

mod clean;
mod judge;
mod member;
mod planted;
mod search;
mod setups;
mod world;
