//! The user's replicated application.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::LogIndex;

/// An application whose every replica does the same things in the same order.
///
/// [`apply`](Self::apply) must be deterministic: same state and same command, same new state and
/// same response, on every node and in every version that runs at the same time. No clock, no
/// random numbers, no iteration over randomly ordered maps.
///
/// ```
/// use bytes::Bytes;
/// use synod_core::{Chunks, LogIndex, MachineError, StateMachine};
///
/// /// Adds up.
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl StateMachine for Counter {
///     fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
///         self.0 += command.len() as u64;
///         Bytes::copy_from_slice(&self.0.to_be_bytes())
///     }
///     fn query(&self, _: &Bytes) -> Bytes {
///         Bytes::copy_from_slice(&self.0.to_be_bytes())
///     }
///     fn snapshot(&self) -> Result<Chunks, MachineError> {
///         Ok(Chunks::from(Bytes::copy_from_slice(&self.0.to_be_bytes())))
///     }
///     fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
///         let bytes = snapshot.collect_bytes()?;
///         let Ok(count) = bytes[..].try_into() else {
///             return Err(MachineError::new("a counter has 8 bytes"));
///         };
///         self.0 = u64::from_be_bytes(count);
///         Ok(())
///     }
/// }
/// ```
pub trait StateMachine {
    /// Applies a committed command and returns the response for whoever proposed it. May block:
    /// it runs off the driver's path.
    fn apply(&mut self, index: LogIndex, command: &Bytes) -> Bytes;

    /// Answers a query from the present state and changes nothing.
    fn query(&self, query: &Bytes) -> Bytes;

    /// Freezes the present state and returns it piece by piece. Freezing should be quick (a clone
    /// of a persistent map, a checkpoint of a database); the pieces are taken later, while
    /// [`apply`](Self::apply) goes on.
    ///
    /// # Errors
    ///
    /// What keeps the application from it; the node goes on without this snapshot.
    fn snapshot(&self) -> Result<Chunks, MachineError>;

    /// Replaces the whole state by that of a snapshot.
    ///
    /// # Errors
    ///
    /// What keeps the application from it; the node ends, its state is not usable.
    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError>;

    /// The last index that is already applied when the node starts: a durable application says
    /// what it holds, and is given only what follows. One that lives in memory says
    /// [`LogIndex::START`].
    fn applied(&self) -> LogIndex {
        LogIndex::START
    }
}

impl<S: StateMachine + ?Sized> StateMachine for Box<S> {
    fn apply(&mut self, index: LogIndex, command: &Bytes) -> Bytes {
        (**self).apply(index, command)
    }

    fn query(&self, query: &Bytes) -> Bytes {
        (**self).query(query)
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        (**self).snapshot()
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        (**self).restore(snapshot)
    }

    fn applied(&self) -> LogIndex {
        (**self).applied()
    }
}

/// What an application says when it cannot snapshot or restore.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineError(String);

impl MachineError {
    /// An error that says `what`.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// A snapshot, piece by piece.
pub struct Chunks(Box<dyn Iterator<Item = Result<Bytes, MachineError>> + Send>);

impl Chunks {
    /// A snapshot whose pieces come from `pieces`, of any length.
    pub fn new(pieces: impl Iterator<Item = Result<Bytes, MachineError>> + Send + 'static) -> Self {
        Self(Box::new(pieces))
    }

    /// All pieces as one: for applications that are small.
    ///
    /// # Errors
    ///
    /// That of a piece.
    pub fn collect_bytes(mut self) -> Result<Bytes, MachineError> {
        let Some(first) = self.next() else {
            return Ok(Bytes::new());
        };
        let first = first?;
        let Some(second) = self.next() else {
            return Ok(first);
        };
        let mut all = alloc::vec::Vec::from(first);
        all.extend_from_slice(&second?);
        for piece in self {
            all.extend_from_slice(&piece?);
        }
        Ok(all.into())
    }
}

impl From<Bytes> for Chunks {
    fn from(whole: Bytes) -> Self {
        Self::new(core::iter::once(Ok(whole)))
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes, MachineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunks(..)")
    }
}
