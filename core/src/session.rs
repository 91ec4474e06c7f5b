//! Exactly once: sessions around any state machine (Raft dissertation §6.3).

mod table;
mod wire;

use alloc::format;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Chunks, Decode, Encode, LogIndex, MachineError, StateMachine};
pub use table::{Admission, SessionTable};
pub use wire::{ClientId, SessionCommand, SessionResponse};

/// The format version of snapshots that this build writes, and the only one that it reads.
const VERSION: u8 = 1;

/// Version and length of the table.
const HEADER: usize = 9;

/// The pieces that the table's part of a snapshot is cut into, in bytes.
const PIECE: usize = 64 * 1024;

/// What a table of sessions may hold. Every limit is kept by evicting, in log order, so that all
/// replicas evict the same: who was evicted learns [`SessionResponse::Expired`], and is never
/// applied twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionLimits {
    /// A session that was not used for longer than this is evicted, in ms by the times that
    /// commands carry. A retry that comes later than this is not recognised, but not applied
    /// either. Default: 1 hour.
    pub ttl_ms: u64,
    /// At most so many sessions; the least recently used go first. Default: 10,000.
    pub sessions: u32,
    /// How far sequence numbers may be ahead of what a client has acknowledged: at most so many
    /// responses are kept for each. Default: 64.
    pub window: u32,
    /// All kept responses, in bytes; the least recently used sessions go first. Default: 64 MiB.
    pub cached_bytes: u64,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            ttl_ms: 60 * 60 * 1000,
            sessions: 10_000,
            window: 64,
            cached_bytes: 64 << 20,
        }
    }
}

/// Makes any [`StateMachine`] apply each command once, however often it is proposed. Commands and
/// responses travel in [`SessionCommand`] and [`SessionResponse`]; queries are handed through.
///
/// The table of sessions is part of the snapshot, in front of the application's own. It lives in
/// memory, so the application must too: one that is durable by itself keeps a [`SessionTable`] of
/// its own.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use synod_core::{
///     Chunks, Decode, Encode, LogIndex, MachineError, SessionCommand, SessionLimits,
///     SessionResponse, Sessions, StateMachine,
/// };
///
/// /// Counts its commands.
/// struct Counter(u8);
///
/// impl StateMachine for Counter {
///     fn apply(&mut self, _: LogIndex, _: &Bytes) -> Bytes {
///         self.0 += 1;
///         Bytes::copy_from_slice(&[self.0])
///     }
///     fn query(&self, _: &Bytes) -> Bytes {
///         Bytes::copy_from_slice(&[self.0])
///     }
///     fn snapshot(&self) -> Result<Chunks, MachineError> {
///         Ok(Chunks::from(Bytes::copy_from_slice(&[self.0])))
///     }
///     fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
///         self.0 = snapshot.collect_bytes()?.first().copied().unwrap_or(0);
///         Ok(())
///     }
/// }
///
/// fn give(machine: &mut impl StateMachine, index: u64, command: &SessionCommand) -> SessionResponse {
///     let response = machine.apply(LogIndex(index), &command.to_bytes());
///     SessionResponse::decode_all(response).expect("sessions answer so")
/// }
///
/// let mut machine = Sessions::new(Counter(0), SessionLimits::default());
/// let opened = give(&mut machine, 1, &SessionCommand::Open { nonce: 99, time: 0 });
/// let SessionResponse::Opened(client) = opened else { panic!("{opened:?}") };
/// let count = SessionCommand::Command { client, seq: 0, below: 0, time: 1, command: Bytes::new() };
/// let first = give(&mut machine, 2, &count);
/// assert_eq!(give(&mut machine, 3, &count), first, "a retry has the same answer");
/// assert_eq!(machine.query(&Bytes::new())[0], 1, "and was applied once");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sessions<S> {
    inner: S,
    table: SessionTable,
    #[cfg(feature = "planted")]
    planted: Option<Planted>,
}

/// Bugs to plant: a checker that has never caught one is not trusted. For tests only.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Planted {
    /// Snapshots hold no sessions: a replica that restores one turns clients away that others
    /// serve.
    ForgetSessions,
    /// Snapshots hold sessions, but not what was done in them: a retry is applied again.
    ForgetResponses,
}

impl<S: StateMachine> Sessions<S> {
    /// Wraps a state machine in its first state. `limits` must be the same on every replica; a
    /// restored snapshot brings its own, and [`SessionCommand::Limits`] changes them.
    ///
    /// # Panics
    ///
    /// If `inner` is durable by itself ([`StateMachine::applied`] is not the start): the table
    /// would not know what it has applied.
    #[must_use]
    pub fn new(inner: S, limits: SessionLimits) -> Self {
        assert_eq!(
            inner.applied(),
            LogIndex::START,
            "a durable state machine keeps a session table of its own"
        );
        Self {
            inner,
            table: SessionTable::new(limits),
            #[cfg(feature = "planted")]
            planted: None,
        }
    }

    /// The state machine inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Who has a session.
    pub const fn table(&self) -> &SessionTable {
        &self.table
    }

    /// Plants a bug.
    #[cfg(feature = "planted")]
    pub const fn plant(&mut self, bug: Planted) {
        self.planted = Some(bug);
    }

    fn answer(&mut self, index: LogIndex, command: SessionCommand) -> SessionResponse {
        match self.table.admit(index, command) {
            Admission::Answer(answer) => answer,
            Admission::ApplyPlain(command) => {
                SessionResponse::Plain(self.inner.apply(index, &command))
            }
            Admission::Apply {
                client,
                seq,
                command,
            } => {
                let response = self.inner.apply(index, &command);
                self.table.done(client, seq, response.clone());
                SessionResponse::Done(response)
            }
        }
    }

    /// The table's part of a snapshot: a version, the length, the table.
    fn frozen_table(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_u64_le(0);
        self.encode_table(&mut out);
        let len = (out.len() - HEADER) as u64;
        out[1..HEADER].copy_from_slice(&len.to_le_bytes());
        out.freeze()
    }

    #[cfg(not(feature = "planted"))]
    fn encode_table(&self, out: &mut BytesMut) {
        self.table.encode(out);
    }

    #[cfg(feature = "planted")]
    fn encode_table(&self, out: &mut BytesMut) {
        let mut table = self.table.clone();
        match self.planted {
            Some(Planted::ForgetSessions) => table.forget_sessions(),
            Some(Planted::ForgetResponses) => table.forget_responses(),
            None => {}
        }
        table.encode(out);
    }
}

impl<S: StateMachine> StateMachine for Sessions<S> {
    fn apply(&mut self, index: LogIndex, command: &Bytes) -> Bytes {
        let answer = match SessionCommand::decode_all(command.clone()) {
            Ok(command) => self.answer(index, command),
            Err(_) => SessionResponse::Malformed,
        };
        answer.to_bytes()
    }

    fn query(&self, query: &Bytes) -> Bytes {
        self.inner.query(query)
    }

    /// Copies the table: its size is bounded by its limits.
    fn snapshot(&self) -> Result<Chunks, MachineError> {
        let inner = self.inner.snapshot()?;
        let table = self.frozen_table();
        let starts = (0..table.len()).step_by(PIECE);
        let pieces: Vec<_> = starts
            .map(|start| Ok(table.slice(start..table.len().min(start + PIECE))))
            .collect();
        Ok(Chunks::new(pieces.into_iter().chain(inner)))
    }

    fn restore(&mut self, mut snapshot: Chunks) -> Result<(), MachineError> {
        let mut front = Front::default();
        let header = front.take(&mut snapshot, HEADER)?;
        if header[0] != VERSION {
            let found = header[0];
            let what = format!("the sessions have version {found} in this snapshot, not {VERSION}");
            return Err(MachineError::new(what));
        }
        let len = u64::decode(&mut header.slice(1..)).unwrap_or(u64::MAX);
        let len = usize::try_from(len)
            .map_err(|_| MachineError::new("the sessions do not fit into memory"))?;
        let table = SessionTable::decode_all(front.take(&mut snapshot, len)?)
            .map_err(|error| MachineError::new(format!("the sessions are damaged: {error}")))?;
        let rest = (!front.0.is_empty()).then_some(Ok(front.0));
        self.inner
            .restore(Chunks::new(rest.into_iter().chain(snapshot)))?;
        self.table = table;
        Ok(())
    }
}

/// What has been read of a snapshot and not been used: its pieces are not cut as they were written.
#[derive(Default)]
struct Front(Bytes);

impl Front {
    /// The next `len` bytes.
    fn take(&mut self, snapshot: &mut Chunks, len: usize) -> Result<Bytes, MachineError> {
        if self.0.len() < len {
            let mut all = BytesMut::from(&self.0[..]);
            while all.len() < len {
                let piece = snapshot
                    .next()
                    .ok_or_else(|| MachineError::new("the snapshot ends within its sessions"))?;
                all.extend_from_slice(&piece?);
            }
            self.0 = all.freeze();
        }
        Ok(self.0.split_to(len))
    }
}
