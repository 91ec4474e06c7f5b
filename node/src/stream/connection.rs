//! One link at work: frames out, frames in, and a look at the clock.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use synod_core::{Clock, Decode, DecodeError, Instant, frame};

use super::outbound::{Chunk, Task};
use super::reader::FrameReader;
use super::shared::{LinkGuard, Shared};
use super::{BoxStream, KIND_KEEPALIVE, KIND_MESSAGE, LinkEnd};

/// How many chunks one write takes at most.
const SLICES: usize = 16;

/// How often a connection reads before it lets others have their turn.
const READS: usize = 16;

/// How often it writes before it reads: a driver that goes on sending to a peer that goes on taking
/// must not keep it from hearing that peer, nor its other peers.
const WRITES: usize = 16;

pub(crate) struct Connection<M> {
    guard: LinkGuard<M>,
    stream: BoxStream,
    reader: FrameReader,
    /// What is being written, and how much of the first chunk is.
    hands: VecDeque<Chunk>,
    written: usize,
    unflushed: bool,
    /// Room for what one read brings.
    messages: Vec<M>,
    /// Whether reading waits for the driver.
    paused: bool,
    /// When the peer was heard last: a whole frame, or what waited while we did not listen.
    heard: Instant,
    /// Whether anything was written since the timer was set.
    spoke: bool,
    timer: BoxFuture<'static, ()>,
}

impl<M> Connection<M> {
    pub(crate) fn new(guard: LinkGuard<M>, stream: BoxStream) -> Self {
        let shared = &guard.shared;
        Self {
            reader: FrameReader::new(shared.config.limits.frame + 1),
            heard: shared.clock.now(),
            timer: shared.keepalive(),
            guard,
            stream,
            hands: VecDeque::new(),
            written: 0,
            unflushed: false,
            messages: Vec::new(),
            paused: false,
            spoke: false,
        }
    }

    pub(crate) fn report_up(&self, remote: String, dialled: bool) {
        let guard = &self.guard;
        guard.shared.report_up(&guard.link, remote, dialled);
    }

    /// Works until the link ends.
    pub(crate) async fn run(mut self)
    where
        M: Decode,
    {
        match poll_fn(|cx| self.poll(cx)).await {
            Ok(()) => {
                let shared = Arc::clone(&self.guard.shared);
                shared.part(self.stream).await;
            }
            Err(why) => {
                self.guard.count(&why);
                self.guard.why = why;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>>
    where
        M: Decode,
    {
        self.guard.link.out.register(cx.waker());
        if let Poll::Ready(done) = self.poll_write(cx) {
            return Poll::Ready(done);
        }
        if let Poll::Ready(why) = self.poll_read(cx) {
            return Poll::Ready(Err(why));
        }
        self.poll_timer(cx).map(Err)
    }

    /// Writes what is queued, in as few writes as the stream allows.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        for _ in 0..WRITES {
            match self.guard.link.out.next(&mut self.hands) {
                Task::End(why) => return Poll::Ready(Err(why)),
                Task::Write => {
                    let count = ready!(self.poll_write_once(cx))?;
                    self.wrote(count);
                }
                task @ (Task::Wait | Task::Finish) => {
                    if self.unflushed {
                        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return match task {
                        Task::Finish => Poll::Ready(Ok(())),
                        _ => Poll::Pending,
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let mut skip = self.written;
        for (slice, chunk) in slices.iter_mut().zip(&self.hands) {
            *slice = IoSlice::new(&chunk.bytes[mem::take(&mut skip)..]);
            count += 1;
        }
        let stream = Pin::new(&mut self.stream);
        match ready!(stream.poll_write_vectored(cx, &slices[..count])) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            done => Poll::Ready(done),
        }
    }

    fn wrote(&mut self, count: usize) {
        let shared = &self.guard.shared;
        shared.stats.writes.add(1);
        self.unflushed = true;
        self.spoke = true;
        self.written += count;
        while let Some(chunk) = self.hands.front()
            && chunk.bytes.len() <= self.written
        {
            self.written -= chunk.bytes.len();
            shared.stats.sent.add(chunk.frames);
            if let Some(chunk) = self.hands.pop_front() {
                self.guard.link.out.release(chunk);
            }
        }
    }

    /// Reads while there is something and the driver keeps up.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<LinkEnd>
    where
        M: Decode,
    {
        for _ in 0..READS {
            let shared = &self.guard.shared;
            if shared
                .inbound
                .poll_room(self.guard.link.peer, cx)
                .is_pending()
            {
                self.paused = true;
                return Poll::Pending;
            }
            // Whatever the peer has said meanwhile waits in the stream and is heard next.
            if mem::take(&mut self.paused) {
                self.heard = self.guard.shared.clock.now();
            }
            let space = self.reader.space();
            match ready!(Pin::new(&mut self.stream).poll_read(cx, space)) {
                Ok(0) => return Poll::Ready(LinkEnd::Closed),
                Ok(count) => self.reader.filled(count),
                Err(error) => return Poll::Ready(error.into()),
            }
            if let Err(why) = self.take_frames() {
                return Poll::Ready(why);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands every frame that is complete to the driver, all at once.
    fn take_frames(&mut self) -> Result<(), LinkEnd>
    where
        M: Decode,
    {
        let mut bytes = 0;
        let outcome = loop {
            match self.take_frame() {
                Ok(None) => break Ok(()),
                Ok(Some(len)) => {
                    bytes += len;
                    // Not for less: a length that was damaged on its way may promise megabytes, and
                    // all that the peer says from then on would be swallowed, and count as a sign of
                    // life (`a_peer_that_goes_on_inside_of_one_frame_is_taken_for_gone`).
                    self.heard = self.guard.shared.clock.now();
                }
                Err(why) => break Err(why.into()),
            }
        };
        // What came before nonsense is good.
        let (shared, link) = (&self.guard.shared, &self.guard.link);
        if !self.messages.is_empty() {
            shared.stats.received.add(self.messages.len());
            let stamp = shared.stamp(link);
            if !shared.inbound.push(stamp, &mut self.messages, bytes) {
                return Err(LinkEnd::Replaced);
            }
        }
        outcome
    }

    fn take_frame(&mut self) -> Result<Option<usize>, DecodeError>
    where
        M: Decode,
    {
        let Some(mut bytes) = self.reader.next()? else {
            return Ok(None);
        };
        let len = bytes.len();
        let config = &self.guard.shared.config;
        let (group, body) = frame::read_frame(&mut bytes, config.limits.frame + 1)?;
        if group != config.group {
            return Err(DecodeError::Invalid {
                what: "frame",
                why: "belongs to another group",
            });
        }
        self.messages.extend(read_body(body)?);
        Ok(Some(len))
    }

    /// Shows the peer that we are here, and finds out whether it is.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        loop {
            ready!(self.timer.poll_unpin(cx));
            let shared = &self.guard.shared;
            self.timer = shared.keepalive();
            let limit = shared.config.timing.silence();
            if !self.paused && shared.clock.now().since(self.heard) >= limit {
                return Poll::Ready(LinkEnd::Silent(limit));
            }
            if !mem::take(&mut self.spoke) {
                self.guard.link.out.push_keepalive();
            }
        }
    }
}

/// The message in a frame, if there is one.
fn read_body<M: Decode>(mut body: Bytes) -> Result<Option<M>, DecodeError> {
    match body.try_get_u8() {
        Ok(KIND_MESSAGE) => M::decode_all(body).map(Some),
        Ok(KIND_KEEPALIVE) => match body.len() {
            0 => Ok(None),
            left => Err(DecodeError::Trailing { left }),
        },
        Ok(tag) => Err(DecodeError::Tag {
            what: "frame body",
            tag,
        }),
        Err(_) => Err(DecodeError::Short {
            what: "frame body",
            needed: 1,
            left: 0,
        }),
    }
}

impl<M> Shared<M> {
    fn keepalive(&self) -> BoxFuture<'static, ()> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock);
        let at = clock.now() + self.config.timing.keepalive;
        Box::pin(async move { clock.sleep_until(at).await })
    }
}

impl<M> LinkGuard<M> {
    fn count(&self, why: &LinkEnd) {
        let stats = &self.shared.stats;
        match why {
            LinkEnd::Malformed(DecodeError::TooLong { what: "frame", .. }) => {
                stats.oversized.add(1);
            }
            LinkEnd::Malformed(_) => stats.malformed.add(1),
            _ => {}
        }
    }
}
