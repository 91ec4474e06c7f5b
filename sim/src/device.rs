//! A storage of your own under the simulator.

use core::fmt;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use synod_core::{Batch, LogImage, Rng, Storage, StorageError};

use crate::disk::Disk;

/// One node's disk with a storage on it. The simulator writes to it what it writes to its own
/// reference, and after a crash asks whether what was durable is there, and of the rest a prefix.
pub trait Device<D: Disk = LogImage>: fmt::Debug {
    /// Opens the storage: at the first start and after each crash.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: after [`damage`](Self::damage) it must be one, or what is read back is
    /// whole. Without damage it is a failure of the run.
    fn open(&mut self) -> Result<D::Restored, StorageError>;

    /// Makes records durable.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: the node ends, and starts again later.
    fn write(&mut self, records: Batch<D::Record>) -> Result<(), StorageError>;

    /// Reads back what is durable.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: a failure of the run.
    fn load(&mut self, load: D::Load) -> Result<Option<D::Loaded>, StorageError>;

    /// The node crashes while `under_way` is being written: the storage loses what it had not made
    /// durable, in whatever way its disk does that.
    fn crash(&mut self, under_way: Batch<D::Record>, rng: &mut Rng);

    /// Makes the next write fail, if the device can do that: once with an error, then for good until
    /// the next [`open`](Self::open).
    fn fail_next_write(&mut self, rng: &mut Rng) -> bool {
        let _ = rng;
        false
    }

    /// Damages what is stored while the node is down, if the device can do that.
    fn damage(&mut self, rng: &mut Rng) -> bool {
        let _ = rng;
        false
    }
}

/// Waits for a future of a storage that never waits for anything but itself.
///
/// # Panics
///
/// If it is pending: such a storage needs a runtime, which a simulation in virtual time is not.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the storage under test waits for something outside"),
    }
}

/// A [`Storage`] as a [`Device`]: `reopen` gives it anew after each crash, with what is left on its
/// disk.
pub struct Reopened<S, F> {
    storage: Option<S>,
    reopen: F,
}

impl<S: Storage, F: FnMut(Option<S>, Batch<S::Record>, &mut Rng) -> S> Reopened<S, F> {
    /// A storage that `reopen` makes: of nothing first, and after a crash of the one before, of what
    /// was being written at that moment, and of randomness for what is left of that.
    pub fn new(mut reopen: F) -> Self {
        let first = reopen(None, Batch::default(), &mut Rng::new(0));
        Self {
            storage: Some(first),
            reopen,
        }
    }

    fn storage(&self) -> &S {
        let storage = self.storage.as_ref();
        storage.expect("it is there but while it is reopened")
    }
}

impl<S, F> fmt::Debug for Reopened<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reopened").finish_non_exhaustive()
    }
}

impl<D, S, F> Device<D> for Reopened<S, F>
where
    D: Disk,
    S: Storage<Record = D::Record, Load = D::Load, Loaded = D::Loaded, Restored = D::Restored>,
    F: FnMut(Option<S>, Batch<D::Record>, &mut Rng) -> S,
{
    fn open(&mut self) -> Result<D::Restored, StorageError> {
        at_once(self.storage().restore())
    }

    fn write(&mut self, records: Batch<D::Record>) -> Result<(), StorageError> {
        at_once(self.storage().write(records))
    }

    fn load(&mut self, load: D::Load) -> Result<Option<D::Loaded>, StorageError> {
        at_once(self.storage().load(load))
    }

    fn crash(&mut self, under_way: Batch<D::Record>, rng: &mut Rng) {
        let before = self.storage.take();
        self.storage = Some((self.reopen)(before, under_way, rng));
    }
}
