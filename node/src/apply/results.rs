//! What the worker tells the driver.

use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Waker};
use std::sync::Mutex;

use super::worker::Done;
use crate::sync::lock;

#[derive(Default)]
struct State {
    done: Vec<Done>,
    /// The driver's, while it has nothing to take.
    waker: Option<Waker>,
}

#[derive(Default)]
pub(crate) struct Results(Mutex<State>);

impl Results {
    pub(super) fn push(&self, done: Done) {
        let mut state = lock(&self.0);
        state.done.push(done);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn append(&self, done: &mut Vec<Done>) {
        if done.is_empty() {
            return;
        }
        let mut state = lock(&self.0);
        if state.done.is_empty() {
            mem::swap(&mut state.done, done);
        } else {
            state.done.append(done);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes everything; with nothing there, the next result wakes the caller.
    pub(super) fn take(&self, into: &mut Vec<Done>, cx: &Context<'_>) {
        let mut state = lock(&self.0);
        if !state.done.is_empty() {
            into.append(&mut state.done);
            return;
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
    }
}
