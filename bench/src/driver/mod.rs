//! Whole services on an async runtime, in memory: machine, driver, log, network and clients in one process.
//!
//! # How to add one
//!
//! Write `driver/NAME.rs` with a type that implements [`Service`], and add one line per runtime shape to [`ROSTER`].
//! Our own driver is at the top of it, in the family `synod`.

mod measure;
mod openraft;
mod openraft_network;
mod openraft_store;
mod synod;
mod synod_parts;

use core::future::Future;

use bytes::Bytes;

use self::measure::measure;
pub use self::measure::{Load, Shape, Timing};
use self::openraft::OpenRaft;
use self::synod::Synod;
use crate::payload::word;

/// A running cluster, node 0 leading, and the handle through which clients propose at it.
pub trait Service: Clone + Send + Sync + 'static {
    /// Starts `nodes` nodes on the current runtime and returns once node 0 leads all of them.
    fn start(nodes: usize) -> impl Future<Output = Self> + Send;

    /// Proposes one command at the leader and waits until it is committed and applied there.
    fn propose(&self, command: Bytes) -> impl Future<Output = ()> + Send;

    /// Waits until every node has applied `count` commands, stops the cluster, and tells what each node applied.
    fn stop(self, count: u64) -> impl Future<Output = Vec<Tally>> + Send;
}

/// Count and checksum of the commands that a node applied. Clients race, so the order does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many commands.
    pub count: u64,
    /// Over their contents.
    pub checksum: u64,
}

impl Tally {
    /// Takes in one command.
    pub fn add(&mut self, payload: &[u8]) {
        self.count += 1;
        self.checksum = self.checksum.wrapping_add(word(payload));
    }
}

/// One service with one runtime shape.
#[derive(Clone, Copy, Debug)]
pub struct Entrant {
    /// The name on the command line and in reports.
    pub name: &'static str,
    /// Shapes of one service share a family; ratios are taken against the best of each family.
    pub family: &'static str,
    /// What the setting is.
    pub about: &'static str,
    /// Starts the service, runs the load on it and verifies it.
    pub run: fn(&Load) -> Timing,
}

/// All services, in the order in which passes interleave them and tables list them.
pub const ROSTER: &[Entrant] = &[
    Entrant {
        name: "synod",
        family: "synod",
        about: "everything on one thread, applying on the driver's path",
        run: |load| measure::<Synod<true>>(load, Shape::OneThread),
    },
    Entrant {
        name: "synod-pool",
        family: "synod",
        about: "everything on a pool of two threads, applying on the driver's path",
        run: |load| measure::<Synod<true>>(load, Shape::Pool),
    },
    Entrant {
        name: "synod-split",
        family: "synod",
        about: "one thread for the cluster, one for the clients, applying on the driver's path",
        run: |load| measure::<Synod<true>>(load, Shape::Split),
    },
    Entrant {
        name: "synod-apart",
        family: "synod",
        about: "everything on one thread but the state machines, which have their own (the default)",
        run: |load| measure::<Synod<false>>(load, Shape::OneThread),
    },
    Entrant {
        name: "openraft",
        family: "openraft",
        about: "everything on one thread",
        run: |load| measure::<OpenRaft>(load, Shape::OneThread),
    },
    Entrant {
        name: "openraft-pool",
        family: "openraft",
        about: "everything on a pool of two threads",
        run: |load| measure::<OpenRaft>(load, Shape::Pool),
    },
    Entrant {
        name: "openraft-split",
        family: "openraft",
        about: "one thread for the cluster, one for the clients, as its own benchmark does",
        run: |load| measure::<OpenRaft>(load, Shape::Split),
    },
];
