//! The pieces of a snapshot on their way from the driver, who reads them, to the state machine.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use synod_core::{Chunks, MachineError};

use super::results::Results;
use super::worker::Done;

/// How many pieces may wait for the state machine.
pub(crate) const AHEAD: usize = 2;

enum Piece {
    Chunk(Bytes),
    End,
    Superseded,
}

/// Whether the snapshot was replaced while it was read.
#[derive(Clone)]
pub(super) struct Superseded(Arc<AtomicBool>);

impl Superseded {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The state machine's side.
pub(crate) struct Feed {
    pieces: Receiver<Piece>,
    results: Arc<Results>,
    superseded: Superseded,
}

/// The driver's side.
pub(crate) struct Feeder {
    pieces: Sender<Piece>,
    superseded: Superseded,
}

pub(super) fn feed(results: Arc<Results>) -> (Feeder, Feed) {
    let (sender, receiver) = channel();
    let superseded = Superseded(Arc::new(AtomicBool::new(false)));
    let feeder = Feeder {
        pieces: sender,
        superseded: superseded.clone(),
    };
    let feed = Feed {
        pieces: receiver,
        results,
        superseded,
    };
    (feeder, feed)
}

impl Feeder {
    /// Hands over a piece; an empty one says that there are no more. That the other side may have
    /// stopped taking them is its own affair: it says how the restore ended.
    pub(crate) fn push(&self, chunk: Bytes) {
        let piece = if chunk.is_empty() {
            Piece::End
        } else {
            Piece::Chunk(chunk)
        };
        let _gone = self.pieces.send(piece);
    }

    /// The snapshot is not there any more, a newer one is.
    pub(crate) fn supersede(&self) {
        self.superseded.0.store(true, Ordering::Release);
        let _gone = self.pieces.send(Piece::Superseded);
    }
}

impl Feed {
    pub(super) fn superseded(&self) -> Superseded {
        self.superseded.clone()
    }

    pub(super) fn into_chunks(self) -> Chunks {
        let mut over = false;
        Chunks::new(core::iter::from_fn(move || {
            if over {
                return None;
            }
            let piece = self.pieces.recv();
            over = !matches!(piece, Ok(Piece::Chunk(_)));
            match piece {
                Ok(Piece::Chunk(chunk)) => {
                    self.results.push(Done::PieceTaken);
                    Some(Ok(chunk))
                }
                Ok(Piece::End) => None,
                Ok(Piece::Superseded) => Some(Err(MachineError::new(
                    "the snapshot was replaced by a newer one",
                ))),
                Err(_) => Some(Err(MachineError::new("the node has ended"))),
            }
        }))
    }
}
