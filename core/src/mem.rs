//! In-memory doubles of what a driver needs: a disk, a network and a clock, for tests and for a
//! first try. They need no runtime: what waits is woken by whoever changes what it waits for.

mod clock;
mod network;
mod storage;

use alloc::vec::Vec;
use core::task::{Context, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use clock::ManualClock;
pub use network::{MemNetwork, MemTransport};
pub use storage::MemStorage;

/// Locks, also after a panic elsewhere: a test that failed must not hide why behind a second
/// failure, and no state here is left half-changed by one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes who waits, once: a loop that asks again and again must not fill the list.
fn wait(wakers: &mut Vec<Waker>, context: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
        wakers.push(context.waker().clone());
    }
}
