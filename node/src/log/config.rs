//! The settings of a node: a [`Config`] that exists is valid.

use alloc::string::String;
use core::time::Duration;

use crate::apply::ApplyOn;

/// The settings of a [`Node`](crate::Node). Made by [`Config::builder`], or the defaults.
///
/// ```
/// use core::time::Duration;
/// use synod_node::Config;
///
/// let config = Config::builder()
///     .snapshot_every_entries(100_000)
///     .shutdown_grace(Duration::from_secs(2))
///     .build()?;
/// # Ok::<(), synod_node::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub(crate) name: String,
    pub(crate) max_outstanding: usize,
    pub(crate) max_queued_bytes: usize,
    pub(crate) max_answer_bytes: usize,
    pub(crate) max_events: usize,
    pub(crate) snapshot_every_entries: Option<u64>,
    pub(crate) snapshot_every_bytes: Option<u64>,
    pub(crate) piece_bytes: usize,
    pub(crate) fetch_bytes: usize,
    pub(crate) max_streams: usize,
    pub(crate) shutdown_grace: Duration,
    pub(crate) apply_on: ApplyOn,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "synod".into(),
            max_outstanding: 65_536,
            max_queued_bytes: 64 << 20,
            max_answer_bytes: 64 << 20,
            max_events: 1024,
            snapshot_every_entries: Some(1 << 20),
            snapshot_every_bytes: Some(256 << 20),
            piece_bytes: 256 << 10,
            fetch_bytes: 1 << 20,
            max_streams: 64,
            shutdown_grace: Duration::from_secs(5),
            apply_on: ApplyOn::Thread,
        }
    }
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder(Self::default())
    }
}

/// Collects settings; [`build`](Self::build) checks them.
#[derive(Clone, Debug)]
#[must_use = "build makes the configuration"]
pub struct ConfigBuilder(Config);

impl ConfigBuilder {
    /// What its threads are called, and the node in logs. Default `synod`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// Requests that may be under way, from the call until the answer is fetched (or until it is
    /// decided, if its future was dropped); more are rejected at once. So who does not fetch answers
    /// gets no further ones, and none is lost. Each costs up to 1 KiB besides its contents, most of it in buffers that are kept.
    /// Default 65,536.
    pub const fn max_outstanding(mut self, requests: usize) -> Self {
        self.0.max_outstanding = requests;
        self
    }

    /// Bytes of commands that may wait for the driver; more are rejected at once. Default 64 MiB.
    pub const fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.0.max_queued_bytes = bytes;
        self
    }

    /// Bytes of queries that wait for their answer and of answers that wait to be fetched, together: who
    /// does not want an answer drops its future. Beyond it, requests of any kind
    /// are rejected at once, and reads that are under way are refused
    /// ([`Refusal::Busy`](synod_core::Refusal::Busy)): they have changed nothing. The results of
    /// commands that are under way are kept in any case, so what these return comes on top. Default
    /// 64 MiB.
    pub const fn max_answer_bytes(mut self, bytes: usize) -> Self {
        self.0.max_answer_bytes = bytes;
        self
    }

    /// Events kept for a subscriber that does not take them, about 200 bytes each; older ones are
    /// lost, which it learns by [`Observed::Missed`](crate::Observed::Missed). Default 1,024.
    pub const fn max_events(mut self, events: usize) -> Self {
        self.0.max_events = events;
        self
    }

    /// Takes a snapshot when this many entries have been committed since the last one; while a peer
    /// is being sent that one, only when there are three times as many. Default 1,048,576.
    pub const fn snapshot_every_entries(mut self, entries: u64) -> Self {
        self.0.snapshot_every_entries = Some(entries);
        self
    }

    /// Takes a snapshot when this many bytes of log have been committed since the last one, or three
    /// times as many as above. Default 256 MiB.
    pub const fn snapshot_every_bytes(mut self, bytes: u64) -> Self {
        self.0.snapshot_every_bytes = Some(bytes);
        self
    }

    /// Takes snapshots only when [`Handle::snapshot`](crate::Handle::snapshot) asks for one.
    pub const fn snapshot_on_request(mut self) -> Self {
        self.0.snapshot_every_entries = None;
        self.0.snapshot_every_bytes = None;
        self
    }

    /// The size of the pieces in which snapshots are written and read. Default 256 KiB.
    pub const fn piece_bytes(mut self, bytes: usize) -> Self {
        self.0.piece_bytes = bytes;
        self
    }

    /// How much a stream of committed entries reads at a time. Default 1 MiB.
    pub const fn fetch_bytes(mut self, bytes: usize) -> Self {
        self.0.fetch_bytes = bytes;
        self
    }

    /// Streams of committed entries at a time, each of which holds one portion at most; a further one
    /// ends with [`CommittedError::Busy`](crate::CommittedError::Busy). Default 64.
    pub const fn max_streams(mut self, streams: usize) -> Self {
        self.0.max_streams = streams;
        self
    }

    /// How long a shutdown waits for requests that are with the machine. Default 5 s.
    pub const fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.0.shutdown_grace = grace;
        self
    }

    /// Where the state machine runs. Default [`ApplyOn::Thread`].
    pub const fn apply_on(mut self, place: ApplyOn) -> Self {
        self.0.apply_on = place;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first one that makes no sense.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.0;
        let at_least_one = [
            ("max_outstanding", config.max_outstanding as u64),
            ("max_queued_bytes", config.max_queued_bytes as u64),
            ("max_answer_bytes", config.max_answer_bytes as u64),
            ("max_events", config.max_events as u64),
            (
                "snapshot_every_entries",
                config.snapshot_every_entries.unwrap_or(1),
            ),
            (
                "snapshot_every_bytes",
                config.snapshot_every_bytes.unwrap_or(1),
            ),
            ("piece_bytes", config.piece_bytes as u64),
            ("fetch_bytes", config.fetch_bytes as u64),
            ("max_streams", config.max_streams as u64),
        ];
        for (setting, value) in at_least_one {
            if value == 0 {
                return Err(ConfigError::Zero(setting));
            }
        }
        if config.name.contains('\0') {
            return Err(ConfigError::Name(config.name));
        }
        Ok(config)
    }
}

/// A setting that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It would let nothing through.
    #[error("{0} (0) must be at least 1")]
    Zero(&'static str),
    /// Threads cannot be called so.
    #[error("name ({0:?}) must not contain a zero character")]
    Name(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = Config::builder().max_outstanding(0).build().unwrap_err();
        assert_eq!(error.to_string(), "max_outstanding (0) must be at least 1");
        assert!(Config::builder().name("a\0b").build().is_err());
        assert_eq!(Config::builder().build(), Ok(Config::default()));
    }
}
