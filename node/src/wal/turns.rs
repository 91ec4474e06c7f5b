//! How much may wait for a thread of the log: whoever comes beyond that waits in line.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;

/// A limit, and those who wait for it in the order of their coming.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    line: Arc<Mutex<Line>>,
}

#[derive(Debug)]
struct Line {
    max_jobs: usize,
    max_bytes: usize,
    jobs: usize,
    bytes: usize,
    waiting: VecDeque<(usize, oneshot::Sender<Turn>)>,
}

/// Room for a job, for as long as this lives.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    bytes: usize,
}

impl Turns {
    /// Room for `max_jobs` jobs, of `max_bytes` bytes in all or for one of more.
    pub(super) fn new(max_jobs: usize, max_bytes: usize) -> Self {
        Self {
            line: Arc::new(Mutex::new(Line {
                max_jobs,
                max_bytes,
                jobs: 0,
                bytes: 0,
                waiting: VecDeque::new(),
            })),
        }
    }

    /// Waits for room for a job of `bytes`. At its first poll it is in line.
    pub(super) async fn take(&self, bytes: usize) -> Turn {
        let turn = {
            let mut line = self.lock();
            if line.waiting.is_empty() && line.has_room(bytes) {
                return self.turn(&mut line, bytes);
            }
            let (sender, turn) = oneshot::channel();
            line.waiting.push_back((bytes, sender));
            turn
        };
        turn.await
            .expect("the line holds the other end until it is served")
    }

    fn turn(&self, line: &mut Line, bytes: usize) -> Turn {
        line.jobs += 1;
        line.bytes += bytes;
        Turn {
            turns: self.clone(),
            bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Whole at every point where a panic could be.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next in line, if there is room for it.
    fn next(&self) -> Option<(oneshot::Sender<Turn>, Turn)> {
        let mut line = self.lock();
        let (bytes, _) = line.waiting.front()?;
        if !line.has_room(*bytes) {
            return None;
        }
        let (bytes, sender) = line.waiting.pop_front()?;
        let turn = self.turn(&mut line, bytes);
        Some((sender, turn))
    }
}

impl Line {
    const fn has_room(&self, bytes: usize) -> bool {
        self.jobs == 0
            || (self.jobs < self.max_jobs && bytes <= self.max_bytes.saturating_sub(self.bytes))
    }
}

impl Turn {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut line = self.turns.lock();
        line.jobs -= 1;
        line.bytes -= self.bytes;
        // Who has gone needs no room.
        line.waiting.retain(|(_, sender)| !sender.is_canceled());
        drop(line);
        while let Some((sender, turn)) = self.turns.next() {
            // If it has just gone, the turn comes back by its own drop.
            drop(sender.send(turn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn room_is_given_in_the_order_of_asking() {
        let turns = Turns::new(2, 100);
        let one = turns.take(60).now_or_never().unwrap();
        let mut large = core::pin::pin!(turns.take(90).fuse());
        assert!(large.as_mut().now_or_never().is_none());
        // It would fit, but another was there before.
        let mut small = core::pin::pin!(turns.take(1).fuse());
        assert!(small.as_mut().now_or_never().is_none());
        drop(one);
        let large = large.now_or_never().unwrap();
        let small = small.now_or_never().unwrap();
        assert_eq!((large.bytes(), small.bytes()), (90, 1));
        assert!(
            turns.take(0).now_or_never().is_none(),
            "two jobs are the limit"
        );
    }

    #[test]
    fn one_job_is_let_in_however_large() {
        let turns = Turns::new(2, 100);
        let large = turns.take(1000).now_or_never().unwrap();
        assert!(turns.take(1).now_or_never().is_none());
        drop(large);
        assert!(turns.take(100).now_or_never().is_some());
    }

    #[test]
    fn those_who_go_while_they_wait_take_no_room() {
        let turns = Turns::new(1, 100);
        let one = turns.take(1).now_or_never().unwrap();
        let served = {
            let mut gone = core::pin::pin!(turns.take(1));
            assert!(gone.as_mut().now_or_never().is_none());
            // It has been given room and never learns of it.
            drop(one);
            turns.take(1).now_or_never().is_some()
        };
        assert!(!served);
        assert!(turns.take(1).now_or_never().is_some());
        for _ in 0..10 {
            assert!(turns.take(1).now_or_never().is_some());
        }
        let line = turns.lock();
        assert_eq!((line.jobs, line.bytes, line.waiting.len()), (0, 0, 0));
    }
}
