//! The pieces of a snapshot on their way from the state machine to the driver, who stores them.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::mem;
use core::panic::AssertUnwindSafe;
use core::task::{Context, Poll, Waker};
use std::panic::catch_unwind;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use bytes::{Bytes, BytesMut};
use synod_core::{Chunks, MachineError};

use super::worker::said;
use crate::sync::lock;

/// How many pieces may wait for the driver.
const AHEAD: usize = 2;

type Piece = Result<Option<Bytes>, MachineError>;

#[derive(Default)]
struct State {
    ready: VecDeque<Piece>,
    waker: Option<Waker>,
    abandoned: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    room: Condvar,
}

/// The driver's side: pieces of one size, taken from the frozen state on a thread of their own, so
/// that [`apply`](synod_core::StateMachine::apply) goes on meanwhile. Dropping it ends the thread.
pub(crate) struct Pieces(Arc<Shared>);

impl Pieces {
    /// Starts to take pieces of `size` bytes from `chunks`.
    pub(crate) fn start(name: &str, chunks: Chunks, size: usize) -> Result<Self, MachineError> {
        let shared = Arc::new(Shared::default());
        let its_shared = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let taken = catch_unwind(AssertUnwindSafe(|| take(chunks, size, &its_shared)));
                let end = match taken {
                    Ok(Ok(())) => Ok(None),
                    Ok(Err(error)) => Err(error),
                    Err(panic) => Err(MachineError::new(alloc::format!(
                        "panicked: {}",
                        said(&*panic)
                    ))),
                };
                its_shared.push(end);
            })
            .map_err(|error| MachineError::new(alloc::format!("no thread for it: {error}")))?;
        Ok(Self(shared))
    }

    /// The next piece; `Ok(None)` after the last.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Piece> {
        let mut state = lock(&self.0.state);
        let Some(piece) = state.ready.pop_front() else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        self.0.room.notify_one();
        Poll::Ready(piece)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        lock(&self.0.state).abandoned = true;
        self.0.room.notify_one();
    }
}

impl Shared {
    /// Hands over a piece as soon as there is room; whether it is still wanted.
    fn push(&self, piece: Piece) -> bool {
        let mut state = lock(&self.state);
        while state.ready.len() >= AHEAD && !state.abandoned {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.abandoned {
            return false;
        }
        state.ready.push_back(piece);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// Brings the application's pieces, which may be tiny or huge, to the size that is written at once.
fn take(chunks: Chunks, size: usize, shared: &Shared) -> Result<(), MachineError> {
    let mut small = BytesMut::new();
    for chunk in chunks {
        let mut chunk = chunk?;
        while !chunk.is_empty() {
            let piece = if small.is_empty() && chunk.len() >= size {
                chunk.split_to(size)
            } else {
                let part = chunk.split_to(chunk.len().min(size - small.len()));
                small.extend_from_slice(&part);
                if small.len() < size {
                    break;
                }
                mem::take(&mut small).freeze()
            };
            if !shared.push(Ok(Some(piece))) {
                return Ok(());
            }
        }
    }
    if !small.is_empty() {
        shared.push(Ok(Some(small.freeze())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use futures::executor::block_on;

    fn sizes(chunks: &[usize], size: usize) -> Vec<usize> {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|n| Ok(Bytes::from(alloc::vec![7; *n])))
            .collect();
        let pieces = Pieces::start("test", Chunks::new(chunks.into_iter()), size).unwrap();
        let mut sizes = Vec::new();
        while let Some(piece) = block_on(core::future::poll_fn(|cx| pieces.poll(cx))).unwrap() {
            sizes.push(piece.len());
        }
        sizes
    }

    #[test]
    fn pieces_have_one_size_whatever_the_application_gives() {
        assert_eq!(sizes(&[], 4), []);
        assert_eq!(sizes(&[1, 1, 1], 4), [3]);
        assert_eq!(sizes(&[3, 3, 3], 4), [4, 4, 1]);
        assert_eq!(sizes(&[10], 4), [4, 4, 2]);
        assert_eq!(sizes(&[1, 0, 8], 4), [4, 4, 1]);
    }

    #[test]
    fn a_panic_while_pieces_are_taken_is_an_error() {
        let chunks = Chunks::new(core::iter::from_fn(|| panic!("no more")));
        let pieces = Pieces::start("test", chunks, 4).unwrap();
        let error = block_on(core::future::poll_fn(|cx| pieces.poll(cx))).unwrap_err();
        assert_eq!(error.to_string(), "panicked: no more");
    }

    #[test]
    fn abandoned_pieces_end_the_thread() {
        let (alive, ended) = std::sync::mpsc::channel::<()>();
        let endless = core::iter::repeat_with(move || {
            let _keep = &alive;
            Ok(Bytes::from_static(b"more"))
        });
        drop(Pieces::start("test", Chunks::new(endless), 4).unwrap());
        assert!(ended.recv().is_err(), "the iterator is dropped");
    }
}
