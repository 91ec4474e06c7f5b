//! What waits to be sent on one link: bounded, encoded, in chunks that one write takes whole.

use alloc::collections::VecDeque;
use core::mem;
use core::task::Waker;
use std::sync::Mutex;

use bytes::{BufMut, BytesMut};
use futures::task::AtomicWaker;
use synod_core::{Encode, GroupId, frame};

use super::lock::lock;
use super::{KIND_KEEPALIVE, KIND_MESSAGE, LinkEnd};

/// A chunk that holds this many bytes takes no further message.
const CHUNK: usize = 32 << 10;

/// A chunk's buffer up to this size is kept and used again.
const SPARE: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Outbound {
    limits: OutboundLimits,
    state: Mutex<State>,
    connection: AtomicWaker,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboundLimits {
    pub(crate) group: GroupId,
    /// The longest message that both ends allow.
    pub(crate) message: usize,
    pub(crate) bytes: usize,
    pub(crate) frames: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Chunk>,
    spare: Option<BytesMut>,
    /// Memory of the chunks queued here and of those being written.
    held: usize,
    /// Messages in the same.
    frames: usize,
    /// Whether the connection knows that something is queued.
    signalled: bool,
    end: Option<End>,
}

#[derive(Clone, Debug)]
enum End {
    /// Once all is sent.
    Drained,
    /// At once.
    Now(LinkEnd),
}

/// Whole frames, one after the other.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: BytesMut,
    pub(crate) frames: usize,
    /// What it counts for in `held`.
    charge: usize,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// It is queued; `wake` if the connection is still to be told.
    Queued { wake: bool },
    /// The link had ended before.
    Stale,
    /// The link ends because of it; so many messages are dropped.
    Ended { dropped: usize },
}

/// What a connection shall do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Write the chunks that have been put into its hands.
    Write,
    /// Wait to be woken.
    Wait,
    /// Close the stream in good order, all is sent.
    Finish,
    /// Drop everything.
    End(LinkEnd),
}

impl Outbound {
    pub(crate) fn new(limits: OutboundLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            connection: AtomicWaker::new(),
        }
    }

    /// Queues a message.
    pub(crate) fn push<M: Encode>(&self, message: &M) -> Pushed {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return Pushed::Stale;
        }
        let len = state.write(self.limits.group, |out| {
            out.put_u8(KIND_MESSAGE);
            message.encode(out);
        });
        let len = len - frame::HEADER - 1;
        let end = if len > self.limits.message {
            LinkEnd::TooLong {
                len,
                limit: self.limits.message,
            }
        } else if state.held > self.limits.bytes || state.frames > self.limits.frames {
            LinkEnd::Overflow {
                queued: state.held,
                frames: state.frames,
                max_bytes: self.limits.bytes,
                max_frames: self.limits.frames,
            }
        } else {
            return Pushed::Queued {
                wake: !mem::replace(&mut state.signalled, true),
            };
        };
        let dropped = state.frames;
        state.end(end);
        drop(state);
        self.wake();
        Pushed::Ended { dropped }
    }

    /// Queues an empty frame if nothing else is under way.
    pub(crate) fn push_keepalive(&self) {
        let mut state = lock(&self.state);
        if state.end.is_none() && state.frames == 0 {
            state.write(self.limits.group, |out| out.put_u8(KIND_KEEPALIVE));
            state.signalled = true;
            drop(state);
            self.wake();
        }
    }

    /// Ends the link at once, unless it has ended before.
    pub(crate) fn end(&self, why: LinkEnd) {
        lock(&self.state).end(why);
        self.wake();
    }

    /// Takes no further message and ends the link once all is sent.
    pub(crate) fn finish(&self) {
        lock(&self.state).end.get_or_insert(End::Drained);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        self.connection.wake();
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.connection.register(waker);
    }

    /// What the connection shall do; moves all that is queued to the end of `hands`.
    pub(crate) fn next(&self, hands: &mut VecDeque<Chunk>) -> Task {
        let mut state = lock(&self.state);
        match &state.end {
            Some(End::Now(why)) => Task::End(why.clone()),
            end => {
                let draining = end.is_some();
                state.signalled = false;
                hands.append(&mut state.queue);
                match (hands.is_empty(), draining) {
                    (false, _) => Task::Write,
                    (true, false) => Task::Wait,
                    (true, true) => Task::Finish,
                }
            }
        }
    }

    /// Gives back a chunk that has been written.
    pub(crate) fn release(&self, mut chunk: Chunk) {
        let mut state = lock(&self.state);
        state.held = state.held.saturating_sub(chunk.charge);
        state.frames = state.frames.saturating_sub(chunk.frames);
        if chunk.bytes.capacity() <= SPARE {
            chunk.bytes.clear();
            state.spare = Some(chunk.bytes);
        }
    }
}

impl State {
    fn write(&mut self, group: GroupId, body: impl FnOnce(&mut BytesMut)) -> usize {
        if self
            .queue
            .back()
            .is_none_or(|last| last.bytes.len() >= CHUNK)
        {
            let bytes = self.spare.take().unwrap_or_default();
            let charge = bytes.capacity();
            self.held += charge;
            self.queue.push_back(Chunk {
                bytes,
                frames: 0,
                charge,
            });
        }
        let chunk = self.queue.back_mut().expect("there is one since above");
        let start = chunk.bytes.len();
        frame::write_frame(group, &mut chunk.bytes, body);
        chunk.frames += 1;
        self.frames += 1;
        self.held += chunk.bytes.capacity() - chunk.charge;
        chunk.charge = chunk.bytes.capacity();
        chunk.bytes.len() - start
    }

    fn end(&mut self, why: LinkEnd) {
        if let Some(End::Now(_)) = self.end {
            return;
        }
        self.end = Some(End::Now(why));
        self.queue.clear();
        self.spare = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn outbound(bytes: usize, frames: usize) -> Outbound {
        Outbound::new(OutboundLimits {
            group: GroupId(1),
            message: 1 << 20,
            bytes,
            frames,
        })
    }

    #[test]
    fn messages_share_a_chunk_and_wake_once() {
        let out = outbound(1 << 20, 100);
        assert_eq!(out.push(&7_u64), Pushed::Queued { wake: true });
        assert_eq!(out.push(&8_u64), Pushed::Queued { wake: false });
        let mut hands = VecDeque::new();
        assert!(matches!(out.next(&mut hands), Task::Write));
        assert_eq!(hands.len(), 1);
        assert_eq!(hands[0].frames, 2);
        assert_eq!(out.push(&9_u64), Pushed::Queued { wake: true });
    }

    #[test]
    fn what_is_being_written_counts_until_it_is_released() {
        let out = outbound(1 << 20, 2);
        let mut hands = VecDeque::new();
        out.push(&1_u64);
        out.push(&2_u64);
        assert!(matches!(out.next(&mut hands), Task::Write));
        let chunk = hands.pop_front().unwrap();
        out.release(chunk);
        assert_eq!(out.push(&3_u64), Pushed::Queued { wake: true });
        assert_eq!(out.push(&4_u64), Pushed::Queued { wake: false });
        assert!(matches!(out.next(&mut hands), Task::Write));
        assert_eq!(out.push(&5_u64), Pushed::Ended { dropped: 3 });
        assert!(matches!(
            out.next(&mut hands),
            Task::End(LinkEnd::Overflow { .. })
        ));
        assert_eq!(out.push(&6_u64), Pushed::Stale);
    }

    #[test]
    fn memory_counts_not_only_length() {
        let out = outbound(100_000, usize::MAX);
        let payload = Bytes::from(vec![0_u8; 30_000]);
        let mut most = 0;
        while let Pushed::Queued { .. } = out.push(&payload) {
            most = lock(&out.state).held;
        }
        assert!(most > 30_000 && most <= 100_000, "{most}");
    }

    #[test]
    fn a_message_that_the_peer_would_refuse_ends_the_link() {
        let out = outbound(16 << 20, 10);
        let pushed = out.push(&Bytes::from(vec![0_u8; 1 << 20]));
        assert_eq!(pushed, Pushed::Ended { dropped: 1 });
        assert!(matches!(
            out.next(&mut VecDeque::new()),
            Task::End(LinkEnd::TooLong {
                limit: 1_048_576,
                ..
            })
        ));
    }

    #[test]
    fn a_finished_link_sends_what_it_has_and_takes_no_more() {
        let out = outbound(1 << 20, 10);
        out.push(&1_u64);
        out.finish();
        assert_eq!(out.push(&2_u64), Pushed::Stale);
        let mut hands = VecDeque::new();
        assert!(matches!(out.next(&mut hands), Task::Write));
        hands.clear();
        assert!(matches!(out.next(&mut hands), Task::Finish));
    }
}
