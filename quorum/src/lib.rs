#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod codec;
mod error;
mod expr;
mod fewest;
#[cfg(feature = "serde")]
mod form;
mod gate;
mod grid;
mod highest;
mod intersect;
mod load;
mod lower;
mod minimal;
mod paxos;
mod phases;
mod picture;
mod quorum;
mod read_write;
mod resilient;
mod set;
mod simplex;
mod tally;

pub use codec::DecodeError;
pub use error::{Evidence, QuorumError, Role, SystemError, TooComplex};
pub use expr::{Expr, Term};
pub use gate::MAX_GATES;
pub use grid::Grid;
pub use load::{Choice, Demand, Plan, PlanError};
pub use lower::MAX_DEPTH;
pub use minimal::MAX_QUORUMS;
pub use paxos::PaxosPhases;
pub use phases::Phases;
pub use picture::Picture;
pub use quorum::Quorum;
pub use read_write::ReadWrite;
pub use set::{MAX_MEMBERS, NodeSet, Positions};
pub use tally::{Tally, Verdict};
