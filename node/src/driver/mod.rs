//! The driver: one future that runs a machine against a disk, a network and a clock.
//!
//! It selects over what arrives, what the application asks, the machine's deadline, the one write
//! under way and a few loads. It spawns nothing and knows no runtime: poll it wherever futures are
//! polled. Each turn takes everything that waits, gives it to the machine, and only then asks the
//! machine what to do: batches form by themselves.
//!
//! [`Driver`] runs any [`Machine`]; replicated logs with a state machine on top have
//! [`Node`](crate::Node), which is the same loop with more sense of what the outputs mean.

mod app;
mod engine;
mod error;
mod io;
mod remote;

use alloc::sync::Arc;

use synod_core::{Clock, Machine, Storage, Transport};

pub(crate) use app::{App, Flow, Traffic};
pub(crate) use engine::run;
pub use error::NodeError;
pub(crate) use io::Timer;
pub use remote::{Call, CallError, MachineEvents, Remote};

/// The surroundings of a machine.
#[derive(Clone, Debug)]
pub struct Parts<S, T, C> {
    /// The disk. One driver at a time may use it.
    pub storage: S,
    /// The network.
    pub transport: T,
    /// The time.
    pub clock: C,
}

/// Limits of a [`Driver`]. The defaults suit a machine with small commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Commands whose reply is outstanding or waits to be fetched; more are refused with
    /// [`CallError::Busy`].
    pub max_outstanding: usize,
    /// Events that wait to be taken. While so many wait, the machine is not asked for more outputs
    /// and given no more commands or messages: nothing is lost, and nothing grows.
    pub max_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_outstanding: 65_536,
            max_events: 4096,
        }
    }
}

/// Runs one machine of any kind: two-phase commit, a lock client, gossip.
///
/// ```
/// # use synod_core::{Clock, Machine, Storage, Transport};
/// use synod_node::{Driver, Limits, NodeError, Parts};
///
/// async fn run<M, S, T, C>(machine: M, parts: Parts<S, T, C>) -> Result<(), NodeError>
/// where
///     M: Machine + Send,
///     M::Command: Send,
///     M::Reply: Send,
///     M::Event: Send,
///     M::Message: Send,
///     S: Storage<Record = M::Record, Load = M::Load, Loaded = M::Loaded>,
///     T: Transport<M::Message>,
///     C: Clock,
/// {
///     let (driver, remote, events) = Driver::new(machine, parts, Limits::default());
///     # drop((remote, events));
///     // Give `remote` and `events` to the rest of the application, then:
///     driver.run().await
/// }
/// ```
#[must_use = "a driver does nothing until it is run"]
pub struct Driver<M: Machine, S, T, C> {
    machine: M,
    app: remote::Plain<M>,
    parts: Parts<S, T, C>,
}

impl<M, S, T, C> Driver<M, S, T, C>
where
    M: Machine + Send,
    M::Command: Send,
    M::Reply: Send,
    M::Event: Send,
    M::Message: Send,
    S: Storage<Record = M::Record, Load = M::Load, Loaded = M::Loaded>,
    T: Transport<M::Message>,
    C: Clock,
{
    /// A driver for `machine`, which was made from what `parts.storage` restored; the remote
    /// control for it; and its events, which somebody must take (or drop, to discard them).
    pub fn new(
        machine: M,
        parts: Parts<S, T, C>,
        limits: Limits,
    ) -> (Self, Remote<M>, MachineEvents<M::Event>) {
        let shared = Arc::new(remote::Shared::new(limits));
        let app = remote::Plain::new(Arc::clone(&shared));
        let events = MachineEvents::new(Arc::clone(&shared.events));
        let driver = Self {
            machine,
            app,
            parts,
        };
        (driver, Remote::new(shared), events)
    }

    /// Runs until [`Remote::shutdown`] or a failure. Dropping the future stops the machine as a
    /// crash would.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: what failed. Everyone who waited has been told.
    pub async fn run(self) -> Result<(), NodeError> {
        let Parts {
            storage,
            transport,
            clock,
        } = &self.parts;
        run(self.machine, self.app, (storage, transport, clock)).await
    }
}

impl<M: Machine, S, T, C> core::fmt::Debug for Driver<M, S, T, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
