//! A mutex whose poison is ignored.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. Our critical sections keep their state whole at every point where foreign code (a
/// message's encoder) could panic, so a poisoned lock is no reason to give up.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
