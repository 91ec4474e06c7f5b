//! The contract, tested from the outside.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "tests have std, and a panic is how they fail"
)]

mod broken_storage;
mod broken_transport;
mod client;
mod client_reads;
mod client_service;
mod codec;
mod entries;
mod forwards;
mod golden;
mod golden_client;
mod handout;
mod image;
mod leader_reads;
mod mem;
mod outbox;
mod replay;
mod serde;
mod session;
mod strategies;
