//! Random values for property tests.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use synod_core::{Entries, Entry, EntryKind, LogIndex, Stamp};

pub(crate) fn payload(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

pub(crate) fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        8 => Just(EntryKind::Command),
        1 => Just(EntryKind::Blank),
        1 => Just(EntryKind::Config),
        1 => Just(EntryKind::Named),
    ]
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    (kind(), payload(40)).prop_map(|(kind, payload)| Entry { kind, payload })
}

pub(crate) fn stamp() -> impl Strategy<Value = Stamp> {
    (1..4_u64, 0..2_u64).prop_map(|(number, node)| Stamp { number, node })
}

/// A run that begins below `places` and has at most `most` entries.
pub(crate) fn run(places: u64, most: usize) -> impl Strategy<Value = Entries> {
    (1..places, stamp(), vec(entry(), 0..=most))
        .prop_map(|(first, stamp, entries)| Entries::new(LogIndex(first), stamp, entries))
}
