//! Tests of the program from the outside: the real binary, real processes, loopback.
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests fail loudly, and a test has std"
)]

mod command_line;
mod demo;
mod service;
mod support;
