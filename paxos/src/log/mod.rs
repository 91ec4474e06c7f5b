//! Multi-Paxos: a replicated log (Lamport, *Paxos Made Simple*, §3).
//!
//! [`MultiPaxos`] is a [`ReplicatedLog`](synod_core::ReplicatedLog): what runs on Raft runs on it, under
//! the same driver and simulator, and on the same write-ahead log.
//!
//! How it differs from the textbook, and from Raft:
//!
//! - **Slots are independent.** An acceptor takes what the leader proposes for a slot whatever it has in
//!   the others, so nothing that is lost or late holds back what follows it, and an order of messages
//!   is not needed. Slots are chosen in any order and handed out in order.
//! - **One phase 1 for all slots** that are not known to be chosen; what it finds is proposed again,
//!   gaps as blanks. A leader needs no log that is up to date: it fetches what it lacks.
//! - **The leader sends what is of its ballot and in memory; who lacks earlier slots asks it for them**, a
//!   page at a time and as its own disk takes them, so the leader keeps no account of who is far behind.
//!   A candidate asks its acceptors in the same way.
//! - **Elections** are ballot leader election: they need no log either, and make progress under partial
//!   connectivity (`elect.rs`).
//! - **A ballot is no term.** The same entry may carry another mark on each node.
//!
//! With [`ConfigBuilder::fast_rounds`] it is Fast Paxos, slot by slot (`fast.rs`): what is proposed on a voter
//! goes to all acceptors from there, and is chosen two message delays later if nobody wants the same
//! slot. Where somebody does, the leader goes on with coordinated recovery. (Uncoordinated recovery is
//! for [one decree](crate::single).)
//!
//! `node.rs` is what a node is in every role: promise, slots, links, outbox. `prepare.rs` is phase 1,
//! `leader.rs` with `leader/feed.rs` and `follower.rs` are the two sides of phase 2, `fetch.rs` is how
//! nodes get what they lack, `quorum_read.rs` reads that ask no leader, `lease.rs`
//! how long nobody else may. `slots.rs` holds votes, `cover.rs` is a set of slots.

mod codec;
mod config;
mod cover;
mod elect;
mod error;
mod event;
mod fast;
mod fetch;
mod follower;
mod forward;
mod handover;
mod leader;
mod lease;
mod membership;
mod message;
mod multi;
mod node;
mod peer;
pub mod planted;
mod prepare;
mod quorum_read;
mod record;
mod replicated;
mod restore;
mod slots;
mod stop;
mod tickets;
mod window;

pub use config::{Config, ConfigBuilder};
pub use cover::Cover;
pub use error::{ConfigError, RestoreError};
pub use event::{Detail, Event};
pub use fast::{Name, Votes};
pub use membership::{Epoch, Membership};
pub use message::{Accept, Body, Message, Page, Piece};
pub use multi::MultiPaxos;
