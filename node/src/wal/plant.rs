//! Classic ways to break a log, for tests that show that they would notice: a checker that has
//! never caught anything is not trusted.

/// One planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "test-files"),
    allow(
        dead_code,
        unreachable_pub,
        reason = "nothing is planted outside of tests"
    )
)]
pub enum Plant {
    /// A batch is never synced.
    SkipSync,
    /// A batch is acknowledged, and synced when the next one comes.
    AckBeforeSync,
    /// A failed sync is tried again and its success believed.
    RetrySync,
    /// The directory is not synced after a segment or a snapshot got its name.
    SkipDirSync,
    /// Any bad record of the last segment counts as torn.
    CutAnything,
    /// A start believes that what it reads is on the disk, although it may be in memory only.
    TrustCache,
    /// A new segment does not repeat the protocol's state.
    BareCheckpoint,
    /// Old segments are deleted before the record that makes them obsolete is durable.
    DeleteEarly,
    /// A snapshot is activated without its contents having been synced.
    UnsyncedSnapshot,
    /// A start keeps the first parts of a long put whose last part is missing.
    KeepParts,
    /// A start goes on although records are missing.
    IgnoreGaps,
}
