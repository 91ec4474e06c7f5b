//! Exhaustive exploration of the real machine: all states that a small cluster can reach within
//! bounds, breadth-first, from the beginning and from states that lie deep.
//!
//! `cargo test -p synod-raft --test explore -- --nocapture` prints how far it came.
//!
//! What can happen: a message is delivered (in any order), delivered and kept to come again, or
//! lost; a node times out, is asked to propose or read; a write becomes durable at once, or late, or
//! a crash leaves a prefix of it; a link comes up again. Time does not pass: all timers are due.
//!
//! What makes the space small, and loses no way to break a rule:
//! - A crash and the start after it are one step: to a node that is down nothing happens, so a
//!   start that comes later is a start at once and a node that nobody talks to meanwhile.
//! - A message need not be lost while there is room for it: one that is never delivered is lost.
//!   A delivery that changes nothing is left out for the same reason.
//! - An answer to a term that its receiver has durably left is taken off the network: it is dropped
//!   whenever it comes.
//! - Nodes that nothing has told apart yet (at the beginning all; under a leader its followers) act
//!   in the order of their ids: the machine uses ids to tell nodes apart and for nothing else, so
//!   what another would do first is the same with names exchanged.
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
mod starts;
mod world;
