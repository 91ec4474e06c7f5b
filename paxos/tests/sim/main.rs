//! Multi-Paxos under the simulator: see the README of `synod-sim`.
#![allow(clippy::print_stdout, reason = "a test says what it has seen")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have std"
)]

mod cluster;
mod observer;
mod planted;
mod seeds;
