//! How a node starts: from an empty storage or from what a crash has left.

use synod_core::{
    Decode, Forwards, Generation, Instant, LogIndex, Restored, Run, SnapshotMeta, mix,
};

use crate::follower::Follower;
use crate::log::Log;
use crate::membership::History;
use crate::node::Node;
use crate::raft::{Raft, Role};
use crate::record::HardState;
use crate::{Config, Membership, Position, RestoreError, Term};

impl Raft {
    /// A node that goes on from what its storage holds. On an empty storage it founds the cluster
    /// that the configuration names, or waits to be taken into one; on any other the stored
    /// configuration counts.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if what is stored cannot be this node's. Nothing has been changed.
    pub fn new(config: Config, restored: Restored, now: Instant) -> Result<Self, RestoreError> {
        let (hard, fresh) = match &restored.state {
            Some(state) => (
                HardState::decode_all(state.clone()).map_err(RestoreError::State)?,
                false,
            ),
            None if restored.last() > LogIndex::START || restored.snapshot.is_some() => {
                return Err(RestoreError::StateMissing {
                    last: restored.last(),
                });
            }
            None => (found(&config), true),
        };
        if hard.node != config.id {
            return Err(RestoreError::OtherNode {
                found: hard.node,
                node: config.id,
            });
        }
        let mut config = config;
        config.founding = hard.founding.clone();
        let (log, history) = read_log(&config, &restored)?;
        let mut node = Node::new(config, hard, log, history);
        node.now = now;
        node.staged = restored.staged;
        if fresh {
            node.founded = false;
            node.write_state();
        }
        if let Some(snapshot) = restored.snapshot {
            node.restore_at_start(snapshot);
        }
        let follower = Follower::new(&node, 0);
        let mut raft = Self {
            node,
            role: Role::Follower(follower),
            forwards: Forwards::default(),
            dirty: true,
        };
        raft.hasten_alone();
        Ok(raft)
    }

    /// A voter that needs nobody else need not wait for a leader that cannot be.
    fn hasten_alone(&mut self) {
        let alone = self.node.membership().voters() == [self.node.config.id];
        if let Role::Follower(follower) = &mut self.role
            && alone
        {
            follower.deadline = self.node.now;
        }
    }
}

/// The state of a node whose storage is empty.
fn found(config: &Config) -> HardState {
    HardState {
        node: config.id,
        // As random as the seed: the same node with a new disk must not look like the old one.
        generation: Generation(mix(mix(config.seed, 0x6469_736b), config.id.0)),
        term: Term::START,
        vote: None,
        known: alloc::vec::Vec::new(),
        founding: config.founding.clone(),
    }
}

/// The log and its configurations.
fn read_log(config: &Config, restored: &Restored) -> Result<(Log, History), RestoreError> {
    let (index, stamp) = restored.compacted;
    let base = Position {
        term: stamp.into(),
        index,
    };
    if index > LogIndex::START && restored.snapshot.is_none() {
        return Err(RestoreError::SnapshotMissing { compacted: index });
    }
    let mut log = Log::new(base);
    for Run { first, last, stamp } in restored.runs.iter().copied() {
        if first != log.last().next() {
            return Err(RestoreError::Gap {
                before: log.last(),
                after: first,
            });
        }
        log.restore_run(first, last, stamp.into());
    }
    if let Some(snapshot) = &restored.snapshot
        && log.term_at(snapshot.index()) != Some(snapshot.stamp.into())
    {
        return Err(RestoreError::SnapshotElsewhere {
            id: snapshot.id,
            last: log.last(),
        });
    }
    log.restore_tail(restored.tail.clone());
    let mut history = match &restored.snapshot {
        Some(snapshot) => History::new(index, membership_of(snapshot)?),
        None => History::new(LogIndex::START, config.founding.clone()),
    };
    let behind = restored
        .snapshot
        .as_ref()
        .map_or(LogIndex::START, SnapshotMeta::index);
    for (index, bytes) in &restored.configs {
        let membership =
            Membership::decode_all(bytes.clone()).map_err(|error| RestoreError::Config {
                index: *index,
                error,
            })?;
        // The snapshot's covers the retained entries before it.
        if *index > behind {
            history.push(*index, membership);
        }
    }
    Ok((log, history))
}

fn membership_of(snapshot: &SnapshotMeta) -> Result<Membership, RestoreError> {
    Membership::decode_all(snapshot.config.clone()).map_err(|error| RestoreError::Config {
        index: snapshot.index(),
        error,
    })
}
