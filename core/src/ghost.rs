//! State that does not matter for behaviour.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};

/// A value that is always equal to any other of its type: counters and ids that make no difference
/// to what a machine does next, so that a model checker sees two such states as one.
#[derive(Clone, Copy, Default)]
pub struct Ghost<T>(pub T);

impl<T> PartialEq for Ghost<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Ghost<T> {}

impl<T> Hash for Ghost<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T: fmt::Debug> fmt::Debug for Ghost<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Deref for Ghost<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Ghost<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
