//! The machines under test.
//!
//! # How to add one
//!
//! Write `subjects/NAME.rs` with a type that implements [`Subject`](crate::subject::Subject), and add one line per
//! setting of it to [`ROSTER`]. Nothing else changes: options, passes, allocation counts, verification and reports
//! read the roster. Our own machine has its place at the top of it, in the family `synod`.

mod noraft;
mod omnipaxos;
mod raft;
mod raft_storage;
mod synod;

use ::bytes::Bytes;

use self::noraft::NoRaft;
use self::omnipaxos::{Boxed, Omni};
use self::raft::{Settings, Tikv};
use self::synod::{Synod, multi_paxos, raft as synod_raft};
use crate::run::{HeapMeter, Sample, run};
use crate::work::Work;

/// One crate with one setting.
#[derive(Clone, Copy, Debug)]
pub struct Entrant {
    /// The name on the command line and in reports.
    pub name: &'static str,
    /// Settings of one crate share a family; ratios are taken against the best of each family.
    pub family: &'static str,
    /// What the setting is.
    pub about: &'static str,
    /// Builds the cluster and runs the work on it.
    pub run: fn(&Work, HeapMeter) -> Sample,
}

const DEFAULT: Settings = Settings {
    batch_append: false,
    skip_bcast_commit: false,
    max_size_per_msg: 0,
};
const SKIP: Settings = Settings {
    skip_bcast_commit: true,
    ..DEFAULT
};
const BATCH: Settings = Settings {
    batch_append: true,
    ..DEFAULT
};
const BATCH_SKIP: Settings = Settings {
    batch_append: true,
    skip_bcast_commit: true,
    ..DEFAULT
};
/// Larger messages than the default of one entry, as TiKV itself sets it.
const LARGE: Settings = Settings {
    max_size_per_msg: 1 << 20,
    ..BATCH_SKIP
};

/// The `raft` crate's names tell the codec that it was built with.
#[cfg(not(feature = "raft-rust-protobuf"))]
macro_rules! named {
    ($setting:literal) => {
        concat!("raft", $setting)
    };
}
#[cfg(feature = "raft-rust-protobuf")]
macro_rules! named {
    ($setting:literal) => {
        concat!("raft-protobuf", $setting)
    };
}

/// All subjects, in the order in which passes interleave them and tables list them.
pub const ROSTER: &[Entrant] = &[
    Entrant {
        name: "synod",
        family: "synod",
        about: "synod-raft, default settings",
        run: |work, heap| run(work, Synod::new(work, synod_raft), heap),
    },
    Entrant {
        name: "synod-paxos",
        family: "synod-paxos",
        about: "Multi-Paxos of synod-paxos, default settings",
        run: |work, heap| run(work, Synod::new(work, multi_paxos), heap),
    },
    Entrant {
        name: named!(""),
        family: named!(""),
        about: "TiKV's raft crate, default settings",
        run: |work, heap| run(work, Tikv::new(work, DEFAULT), heap),
    },
    Entrant {
        name: named!("-skip"),
        family: named!(""),
        about: "with skip_bcast_commit",
        run: |work, heap| run(work, Tikv::new(work, SKIP), heap),
    },
    Entrant {
        name: named!("-batch"),
        family: named!(""),
        about: "with batch_append",
        run: |work, heap| run(work, Tikv::new(work, BATCH), heap),
    },
    Entrant {
        name: named!("-batch-skip"),
        family: named!(""),
        about: "with batch_append and skip_bcast_commit",
        run: |work, heap| run(work, Tikv::new(work, BATCH_SKIP), heap),
    },
    Entrant {
        name: named!("-large"),
        family: named!(""),
        about: "with batch_append, skip_bcast_commit and messages of up to 1 MiB",
        run: |work, heap| run(work, Tikv::new(work, LARGE), heap),
    },
    Entrant {
        name: "omnipaxos",
        family: "omnipaxos",
        about: "owned payload, default settings",
        run: |work, heap| run(work, Omni::<Boxed>::new(work, 1), heap),
    },
    Entrant {
        name: "omnipaxos-batch",
        family: "omnipaxos-tuned",
        about: "owned payload, batch_size as large as the window",
        run: |work, heap| run(work, Omni::<Boxed>::new(work, work.window), heap),
    },
    Entrant {
        name: "omnipaxos-bytes",
        family: "omnipaxos",
        about: "reference-counted payload, default settings",
        run: |work, heap| run(work, Omni::<Bytes>::new(work, 1), heap),
    },
    Entrant {
        name: "omnipaxos-bytes-batch",
        family: "omnipaxos-tuned",
        about: "reference-counted payload, batch_size as large as the window",
        run: |work, heap| run(work, Omni::<Bytes>::new(work, work.window), heap),
    },
    Entrant {
        name: "noraft",
        family: "noraft",
        about: "carries no payload: positions and terms only",
        run: |work, heap| run(work, NoRaft::new(work), heap),
    },
];
