//! Counters that anyone may read at any time.

use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a node has done since it started, as of the end of its last turn. Counters only ever
        /// grow.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[non_exhaustive]
        pub struct Metrics {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same, written by the driver at the end of every turn.
        #[derive(Default)]
        pub(crate) struct Published {
            $($name: AtomicU64,)*
        }

        impl Published {
            pub(crate) fn store(&self, metrics: &Metrics) {
                $(self.$name.store(metrics.$name, Ordering::Relaxed);)*
            }

            pub(crate) fn load(&self) -> Metrics {
                Metrics { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

metrics! {
    /// Proposals that the machine took.
    proposals,
    /// Requests that the machine rejected on the spot.
    rejections,
    /// Reads that the machine took.
    reads,
    /// Entries that were committed and handed to the state machine.
    commits,
    /// Batches in which they came.
    commit_batches,
    /// Snapshots taken here.
    snapshots,
    /// Snapshots that replaced the state machine.
    restores,
    /// Messages given to the transport.
    sent,
    /// Messages taken from it.
    received,
    /// Writes to the storage.
    writes,
    /// Records in them.
    records,
    /// Reads from the storage, for streams of committed entries and snapshots.
    loads,
    /// Times that the driver was polled.
    turns,
}
