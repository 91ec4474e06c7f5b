#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod batch;
mod client;
pub mod codec;
mod codec_log;
#[cfg(feature = "std")]
pub mod conform;
mod entry;
mod forwards;
pub mod frame;
mod ghost;
mod handout;
mod id;
mod image;
mod machine;
#[cfg(feature = "std")]
pub mod mem;
mod outbox;
mod reads;
mod record;
mod replicated;
mod rng;
mod session;
mod state_machine;
mod storage;
mod time;
mod transport;

pub use batch::Batch;
pub use client::{
    Client, ClientAnswer, ClientCall, ClientConfig, ClientConfigError, ClientError, ClientFull,
    ClientOutput, ClientRequest, ClientResponse, RequestId,
};
pub use codec::{Decode, DecodeError, Encode};
pub use entry::{Entries, Entry, EntryKind, Stamp};
pub use forwards::{Denial, Forward, Forwards, Lost, Outcome};
pub use ghost::Ghost;
pub use handout::{Handout, Want};
pub use id::{
    ClusterId, Generation, GroupId, LinkId, LoadId, LogIndex, NodeId, Ticket, TicketRange, WriteId,
};
pub use image::{ImageError, LogImage};
pub use machine::{Envelope, Input, Link, Machine, Output};
pub use outbox::Outbox;
pub use reads::{LeaderRead, LeaderReads, Reader, Round};
pub use record::{
    Lane, LogLoad, LogLoaded, LogRecord, OldLog, Restored, Run, SnapshotId, SnapshotMeta,
};
pub use replicated::{
    Change, Committed, FailStop, LogCommand, LogEvent, PeerStatus, ReadLevel, Refusal, Rejected,
    ReplicatedLog, Role, RoleChange, SessionToken, Status,
};
pub use rng::{Rng, mix};
#[cfg(feature = "planted")]
pub use session::Planted;
pub use session::{
    Admission, ClientId, SessionCommand, SessionLimits, SessionResponse, SessionTable, Sessions,
};
pub use state_machine::{Chunks, MachineError, StateMachine};
pub use storage::{LogStorage, Storage, StorageError};
pub use time::{Clock, Instant, Wake};
pub use transport::{Delivery, Transport, TransportError};
