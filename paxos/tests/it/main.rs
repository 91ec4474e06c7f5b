//! The crate from outside.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have std"
)]

mod ballot;
mod found;
mod log;
