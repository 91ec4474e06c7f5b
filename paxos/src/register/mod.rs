//! Replicated registers without a log: CASPaxos (Rystsov, *CASPaxos: Replicated State Machines without
//! logs*, arXiv:1802.07000, 2018).
//!
//! [`CasPaxos`] is one node as a machine. The [README](crate#registers-without-a-log) says what it
//! promises and when to choose it.
//!
//! # The paper, and where it is
//!
//! | section | what | file |
//! |---|---|---|
//! | §2.2 | acceptors: promises and votes, durable before they are told | `acceptor.rs`, `record.rs` |
//! | §2.2 | proposers: two phases around a change function | `proposer.rs`, `round.rs` |
//! | §2.2 | change functions, as data; what became of one whose outcome was open | `types.rs`, `job.rs` |
//! | §2.2.1 | one round trip | `cache.rs` |
//! | §2.3 | other acceptors | `configuration.rs`, `rescan.rs` |
//! | §3.1 | deletion | `purge.rs` |
//!
//! `machine.rs` dispatches, `node.rs` is what acceptor and proposer share, `message.rs` and `codec.rs`
//! are what peers exchange, `config.rs`, `event.rs` and `error.rs` face the application.
//!
//! # Where it goes beyond the paper, or elsewhere
//!
//! - **Reads** ask phase 1 only. If a phase-2 quorum holds one vote of the configuration in force, its
//!   content is chosen and is told; otherwise it is proposed once more before it is told, also if
//!   there is none: a value that a minority holds must not turn up after a read that missed it
//!   (`round.rs`). A proposer asks in its cached ballot, which costs no disk a write; the question is
//!   numbered, so that no late answer to an earlier one confirms it.
//! - **Flexible quorums** (appendix of the paper): the one round trip needs the promise of a quorum of phase
//!   1, and those who accept need not be one.
//! - **An unknown outcome** burns its ballot. A later ballot finds out what became of it from the version
//!   that each content names as the one before (`job.rs`).
//! - **Deletion** keeps one ballot for all registers that are gone instead of ages of proposers (`purge.rs`).
//! - **Configurations** are chosen in a register, one for each epoch. Votes are ordered by epoch, then by
//!   ballot (`configuration.rs`).

mod acceptor;
mod cache;
mod codec;
mod config;
mod configuration;
mod error;
mod event;
mod job;
mod machine;
mod message;
mod node;
pub mod planted;
mod proposer;
mod purge;
mod record;
mod rescan;
mod round;
mod types;

pub use config::{Config, ConfigBuilder};
pub use configuration::{Configuration, Member, Step, StepError};
pub use error::{ConfigError, RestoreError};
pub use event::{Command, Event, Refusal, Rejected, Rejection};
pub use machine::CasPaxos;
pub use message::{Accept, Body, Held, Message, Nack, Page, Phase};
pub use record::{Record, Register, Restored, Slot};
pub use types::{Before, Change, Condition, Decision, Key, State, Version, Versioned, Vote};
