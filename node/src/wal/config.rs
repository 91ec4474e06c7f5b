//! What can be set about a log.

use synod_core::GroupId;

/// The settings of a log. One that exists is valid.
///
/// ```
/// use synod_node::wal::WalConfig;
///
/// let config = WalConfig::builder().segment_bytes(16 << 20).build()?;
/// assert_eq!(config.segment_bytes(), 16 << 20);
/// # Ok::<(), synod_node::wal::WalConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalConfig {
    group: GroupId,
    segment_bytes: u64,
    tail_bytes: usize,
    #[cfg(feature = "test-files")]
    plant: Option<super::Plant>,
}

/// The least that a segment may hold, in bytes.
const SEGMENT_MIN: u64 = 4 << 10;

/// The most that a segment may hold, in bytes.
const SEGMENT_MAX: u64 = 4 << 30;

impl WalConfig {
    /// Settings to begin from: the defaults.
    pub const fn builder() -> WalConfigBuilder {
        WalConfigBuilder {
            config: Self {
                group: GroupId(0),
                segment_bytes: 64 << 20,
                tail_bytes: 16 << 20,
                #[cfg(feature = "test-files")]
                plant: None,
            },
        }
    }

    /// The group whose log this is. Every record carries it, and a log of another group is refused.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// A batch that finds its segment at least this long begins a new one, in bytes. Deleting
    /// happens by whole segments.
    #[must_use]
    pub const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// How much of the end of the log [`Restored::tail`](synod_core::Restored::tail) holds, in
    /// bytes by [`Entry::weight`](synod_core::Entry::weight).
    #[must_use]
    pub const fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Whether this test run has broken the log in that way.
    #[cfg(feature = "test-files")]
    pub(super) fn planted(&self, plant: super::Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Outside of tests nothing is planted.
    #[cfg(not(feature = "test-files"))]
    #[allow(clippy::unused_self, reason = "the same call with and without plants")]
    pub(super) const fn planted(&self, _: super::Plant) -> bool {
        false
    }
}

impl Default for WalConfig {
    fn default() -> Self {
        Self::builder().config
    }
}

/// Settings that are not checked yet.
///
/// What a log holds in memory, whatever it is given and whatever lies on the disk; a *record* is
/// 1 MiB of entries, or one entry, state or configuration that is longer, which the limits of the
/// machine bound:
///
/// | what | at most |
/// |---|---|
/// | writes that wait for the thread | 1024 batches and 64 MiB, or one batch that is more; whoever comes then waits for room first |
/// | written together, with one sync | 64 batches, and no further one once 4 MiB are there |
/// | encoded at once | 1 MiB, or one record; of this memory 2 MiB are kept |
/// | reads that wait for the thread | 1024 |
/// | an answer of entries | `max_bytes` of the load, and one record and 64 KiB at either end |
/// | an answer of a snapshot | `max_bytes` of the load, and 256 KiB at either end |
/// | what a start hands out | [`tail_bytes`](Self::tail_bytes), and one record and 64 KiB |
/// | what a start reads | 1 MiB and one record; and twice the last batch, if a crash left it unproven |
/// | the index | one item (about 100 bytes) for 64 KiB of live entries and for each change of stamp; 16 bytes for each piece of a snapshot (256 KiB, or what was staged at once) |
/// | open files | one for each segment that holds live entries, and 5 |
///
/// `node/tests/wal_memory.rs` measures this at the allocator.
#[derive(Clone, Debug)]
#[must_use]
pub struct WalConfigBuilder {
    config: WalConfig,
}

impl WalConfigBuilder {
    /// The group whose log this is; 0 unless set.
    pub const fn group(mut self, group: GroupId) -> Self {
        self.config.group = group;
        self
    }

    /// How long a segment gets before the next begins, in bytes; 64 MiB unless set.
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.config.segment_bytes = bytes;
        self
    }

    /// How much of the end of the log a start holds in memory, in bytes; 16 MiB unless set. 0
    /// holds nothing.
    pub const fn tail_bytes(mut self, bytes: usize) -> Self {
        self.config.tail_bytes = bytes;
        self
    }

    /// Breaks the log in a classic way, so that a test can show that it would notice.
    #[cfg(feature = "test-files")]
    pub const fn plant(mut self, plant: super::Plant) -> Self {
        self.config.plant = Some(plant);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`WalConfigError`] names the rule that is broken and the values.
    pub const fn build(self) -> Result<WalConfig, WalConfigError> {
        let segment = self.config.segment_bytes;
        if segment < SEGMENT_MIN {
            return Err(WalConfigError::SegmentTooSmall { segment });
        }
        if segment > SEGMENT_MAX {
            return Err(WalConfigError::SegmentTooLarge { segment });
        }
        Ok(self.config)
    }
}

/// Why settings are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalConfigError {
    /// Most of such a segment would be its header.
    #[error("segment_bytes ({segment}) must be at least {SEGMENT_MIN}")]
    SegmentTooSmall {
        /// What was asked for, in bytes.
        segment: u64,
    },
    /// A compacted log gives back whole segments only, and a damaged one is judged as a whole.
    #[error("segment_bytes ({segment}) must be at most {SEGMENT_MAX}")]
    SegmentTooLarge {
        /// What was asked for, in bytes.
        segment: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_broken_rule_is_named_with_its_values() {
        let refused = WalConfig::builder().segment_bytes(100).build();
        let message = refused.map_err(|error| error.to_string());
        assert_eq!(
            message,
            Err("segment_bytes (100) must be at least 4096".into())
        );
        let refused = WalConfig::builder().segment_bytes(1 << 40).build();
        let message = refused.map_err(|error| error.to_string());
        assert_eq!(
            message,
            Err("segment_bytes (1099511627776) must be at most 4294967296".into())
        );
    }

    #[test]
    fn the_defaults_pass_their_own_check() {
        let config = WalConfig::default();
        assert_eq!(WalConfig::builder().build(), Ok(config.clone()));
        let values = (config.group(), config.segment_bytes(), config.tail_bytes());
        assert_eq!(values, (GroupId(0), 64 << 20, 16 << 20));
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        for segment in [4096, 4 << 30] {
            let built = WalConfig::builder().segment_bytes(segment).build();
            assert_eq!(built.map(|config| config.segment_bytes()), Ok(segment));
        }
        for segment in [4095, (4 << 30) + 1] {
            let built = WalConfig::builder().segment_bytes(segment).build();
            assert!(built.is_err(), "{segment}");
        }
    }

    #[test]
    fn what_is_set_stays_when_something_else_is() {
        let builder = WalConfig::builder().group(GroupId(3)).segment_bytes(5000);
        let config = builder.tail_bytes(7).build();
        let values = config.map(|set| (set.group(), set.segment_bytes(), set.tail_bytes()));
        assert_eq!(values, Ok((GroupId(3), 5000, 7)));
    }
}
