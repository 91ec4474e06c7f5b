//! Why a driver ends.

use alloc::string::String;

use synod_core::{FailStop, MachineError, SnapshotMeta, StorageError, TransportError};

/// Why a node ended although nobody asked it to. Whoever waited for it has been told that the
/// outcome is unknown. Start it again from what is durable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The storage failed. What was acknowledged is durable.
    #[error("the storage failed: {0}")]
    Storage(#[from] StorageError),
    /// The transport ended.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The protocol saw what it makes impossible; to go on could break a promise.
    #[error("stopped by the protocol: {0}")]
    FailStop(FailStop),
    /// The application's state machine panicked; its state is not trusted any more.
    #[error("the state machine panicked: {0}")]
    Panicked(String),
    /// The application could not take over a snapshot; its state is not usable.
    #[error("the snapshot of {} could not be restored: {error}", meta.index())]
    Restore {
        /// The snapshot.
        meta: SnapshotMeta,
        /// What the application says.
        error: MachineError,
    },
    /// No thread could be started for the state machine.
    #[error("no thread for the state machine: {0}")]
    Thread(String),
}
