#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod codec;
mod config;
mod election;
mod error;
mod event;
mod follower;
mod forward;
mod leader;
mod log;
mod membership;
mod message;
mod node;
pub mod planted;
mod progress;
mod raft;
mod record;
mod replicated;
mod restore;
mod tickets;
mod types;

pub use config::{Config, ConfigBuilder};
pub use error::{ConfigError, RestoreError};
pub use event::{Detail, Event};
pub use membership::Membership;
pub use message::{Append, Body, Denial, Message, Outcome, Piece, Round};
pub use raft::Raft;
pub use types::{Position, Term};
