//! The choice of protocol, in one place: the service is the same on any replicated log.

use std::str::FromStr;

use synod_core::{Decode, Encode, Instant, NodeId, ReplicatedLog, Restored};
use synod_paxos::log::MultiPaxos;
use synod_raft::Raft;

/// A protocol by name: what `--protocol` takes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum ProtocolName {
    #[default]
    Raft,
    MultiPaxos,
    /// Multi-Paxos with fast rounds: the same machine under another setting.
    FastPaxos,
}

impl ProtocolName {
    /// Its name on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::MultiPaxos => "multi-paxos",
            Self::FastPaxos => "fast-paxos",
        }
    }

    /// How many nodes make sense if nobody says otherwise: as few as go on as before when one is gone.
    pub(crate) const fn nodes(self) -> u64 {
        match self {
            Self::Raft | Self::MultiPaxos => 3,
            // Four of five are a fast quorum; of three all are, and of four three.
            Self::FastPaxos => 5,
        }
    }
}

impl FromStr for ProtocolName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "raft" => Ok(Self::Raft),
            "multi-paxos" => Ok(Self::MultiPaxos),
            "fast-paxos" => Ok(Self::FastPaxos),
            other => Err(format!(
                "--protocol ({other}) must be one of: raft, multi-paxos, fast-paxos"
            )),
        }
    }
}

/// What a node needs to know to take part.
#[derive(Clone, Debug)]
pub(crate) struct Founding {
    pub(crate) id: NodeId,
    /// Who votes when the cluster is founded; empty for a node that joins one that runs.
    pub(crate) voters: Vec<NodeId>,
    /// Fresh for each start.
    pub(crate) seed: u64,
    /// With fast rounds, where the protocol has them.
    pub(crate) fast: bool,
}

/// A replicated log that the service can run on.
pub(crate) trait Protocol:
    ReplicatedLog<Detail: Send + Sync, Message: Encode + Decode + Send> + Sized + Send + 'static
{
    /// Makes the machine from what the disk holds.
    fn open(founding: &Founding, restored: Restored, now: Instant) -> Result<Self, String>;
}

impl Protocol for Raft {
    fn open(founding: &Founding, restored: Restored, now: Instant) -> Result<Self, String> {
        let config = synod_raft::Config::builder(founding.id)
            .voters(founding.voters.iter().copied())
            .seed(founding.seed)
            // Clients find the leader themselves: a command that a follower has passed on to a
            // leader that dies would be of unknown outcome for longer than need be.
            .forward_proposals(false);
        #[cfg(feature = "planted")]
        let config = crate::planted::raft(config)?;
        let config = config.build().map_err(|error| error.to_string())?;
        Self::new(config, restored, now).map_err(|error| error.to_string())
    }
}

impl Protocol for MultiPaxos {
    fn open(founding: &Founding, restored: Restored, now: Instant) -> Result<Self, String> {
        let config = synod_paxos::log::Config::builder(founding.id)
            .voters(founding.voters.iter().copied())
            .seed(founding.seed)
            // As above.
            .forward_proposals(false);
        let config = if founding.fast {
            config.fast_rounds()
        } else {
            config
        };
        #[cfg(feature = "planted")]
        let config = crate::planted::multi_paxos(config)?;
        let config = config.build().map_err(|error| error.to_string())?;
        Self::new(config, restored, now).map_err(|error| error.to_string())
    }
}
