//! The futures of requests that are under way.

use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::request::{Answer as ReadAnswer, Outcome};
use super::slot::Answer;
use super::{ProposeError, ReadError};

/// An answer that is to come, or the reason why there will be none.
enum Pending<T> {
    Waiting(Answer<T>),
    Failed(Option<T>),
}

impl<T: Unpin> Pending<T> {
    /// `Ready(None)` if the node ended, or the future was polled again after its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self {
            Self::Waiting(answer) => Pin::new(answer).poll(cx),
            Self::Failed(failed) => Poll::Ready(failed.take()),
        }
    }
}

macro_rules! opaque {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

/// A proposal under way: its result, see [`Handle::propose`](super::Handle::propose).
#[must_use = "the proposal is under way, its result is here"]
pub struct Proposal(Pending<Outcome>);

impl Proposal {
    pub(super) const fn waiting(answer: Answer<Outcome>) -> Self {
        Self(Pending::Waiting(answer))
    }

    pub(super) const fn failed(error: ProposeError) -> Self {
        Self(Pending::Failed(Some(Err(error))))
    }
}

impl Future for Proposal {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = self.0.poll(cx);
        outcome.map(|outcome| outcome.unwrap_or(Err(ProposeError::Unknown)))
    }
}

opaque!(Proposal);

/// Several proposals under way: a result for each, see
/// [`Handle::propose_many`](super::Handle::propose_many).
#[must_use = "the proposals are under way, their results are here"]
pub struct Proposals {
    pending: Pending<Vec<Outcome>>,
    count: usize,
}

impl Proposals {
    pub(super) const fn waiting(answer: Answer<Vec<Outcome>>, count: usize) -> Self {
        Self {
            pending: Pending::Waiting(answer),
            count,
        }
    }

    pub(super) const fn failed(outcomes: Vec<Outcome>) -> Self {
        Self {
            count: outcomes.len(),
            pending: Pending::Failed(Some(outcomes)),
        }
    }
}

impl Future for Proposals {
    type Output = Vec<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let count = self.count;
        self.pending.poll(cx).map(|outcomes| {
            outcomes.unwrap_or_else(|| {
                core::iter::repeat_with(|| Err(ProposeError::Unknown))
                    .take(count)
                    .collect()
            })
        })
    }
}

opaque!(Proposals);

/// A read under way: its answer, see [`Handle::read`](super::Handle::read).
#[must_use = "the read is under way, its answer is here"]
pub struct Reading(Pending<ReadAnswer>);

impl Reading {
    pub(super) const fn waiting(answer: Answer<ReadAnswer>) -> Self {
        Self(Pending::Waiting(answer))
    }

    pub(super) const fn failed(error: ReadError) -> Self {
        Self(Pending::Failed(Some(Err(error))))
    }
}

impl Future for Reading {
    type Output = ReadAnswer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReadAnswer> {
        let answer = self.0.poll(cx);
        answer.map(|answer| answer.unwrap_or(Err(ReadError::Unknown)))
    }
}

opaque!(Reading);
