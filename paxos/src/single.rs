//! One decree: single-decree Paxos and Fast Paxos.
//!
//! A [`Decree`] is one node's part in choosing one value. Its roles are those of Lamport's *Paxos
//! Made Simple* (2001): proposers (§2.2), acceptors (§2.2) and learners (§2.3), any of which may
//! share a node. With fast quorums its first round is that of Lamport's *Fast Paxos* (2006): clients'
//! values go straight to the acceptors, and are chosen after two message delays unless they collide.
//!
//! The files: `decree.rs` is the machine and passes on what the roles say to each other;
//! `proposer.rs`, `acceptor.rs` and `learner.rs` are the roles; `recover.rs` is the rule for what a
//! new ballot may propose; `record.rs` is what a restart reads back.

mod acceptor;
mod codec;
mod config;
mod decree;
mod error;
mod event;
mod learner;
mod message;
mod node;
pub mod planted;
mod proposer;
mod record;
mod recover;
mod value;

pub use acceptor::Vote;
pub use config::{Config, ConfigBuilder, Learning, Recovery};
pub use decree::{Command, Decree};
pub use error::{ConfigError, Rejected, RestoreError};
pub use event::Event;
pub use message::{Body, Message};
pub use record::Record;
pub use recover::Pick;
pub use value::{Value, ValueId};
