//! Replicated registers without a log: CASPaxos (Rystsov, *CASPaxos: Replicated State Machines without
//! logs*, arXiv:1802.07000, 2018).

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
pub use message::{Accept, Body, Held, Message, Nack, Phase};
pub use record::{Record, Register, Restored, Slot};
pub use types::{Before, Change, Condition, Decision, Key, State, Version, Versioned, Vote};
