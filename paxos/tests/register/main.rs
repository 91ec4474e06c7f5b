//! CASPaxos from outside: rules, a cluster under faults, planted bugs, all schedules within bounds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test says what it has seen")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have std"
)]

mod bytes_of;
mod campaign;
mod hand;
mod limits;
mod model;
mod rules;
mod steps;
mod world;
