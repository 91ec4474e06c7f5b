//! How a node starts: from an empty storage or from what a crash has left.

use alloc::vec::Vec;

use synod_core::{
    Decode, Entry, EntryKind, Forwards, Generation, Instant, LogIndex, LogRecord, Restored,
    SnapshotMeta, mix,
};

use super::elect::Election;
use super::fetch::Server;
use super::follower::Follower;
use super::handover::Handover;
use super::membership::History;
use super::multi::{MultiPaxos, Role};
use super::node::Node;
use super::planted::planted;
use super::quorum_read::QuorumReads;
use super::record::HardState;
use super::slots::Slots;
use super::{Config, Membership, RestoreError};
use crate::Ballot;

impl MultiPaxos {
    /// A node that goes on from what its storage holds. On an empty storage it founds the cluster
    /// that the configuration names, or waits to be taken into one; on any other the stored
    /// configuration counts.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if what is stored cannot be this node's. Nothing has been changed.
    pub fn new(config: Config, restored: Restored, now: Instant) -> Result<Self, RestoreError> {
        let (hard, fresh) = match &restored.state {
            Some(state) => {
                let state = HardState::decode_all(state.clone());
                (state.map_err(RestoreError::State)?, false)
            }
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
        let mut node = read_log(config, hard, restored)?;
        node.now = now;
        if fresh {
            node.founded = false;
            node.settled = false;
            node.write_state();
            node.outbox
                .note_after(super::node::Note::Promised(node.promised));
        } else {
            node.wait_for_leases();
        }
        if planted!(node, BallotReused) && node.promised.proposer == node.id() {
            // It takes its last ballot for one that it has not used.
            node.promised.round -= 2;
        }
        let mut election = Election::new(&node);
        let alone = node.membership().voters() == [node.id()];
        if !alone && node.is_voter() {
            election.begin(&mut node);
        }
        Ok(Self {
            epoch: node.epoch(),
            handover: Handover::new(&node),
            node,
            role: Role::Follower(Follower::after(None)),
            election,
            forwards: Forwards::default(),
            server: Server::default(),
            quorum_reads: QuorumReads::default(),
            dirty: true,
        })
    }
}

/// The state of a node whose storage is empty.
fn found(config: &Config) -> HardState {
    HardState {
        node: config.id,
        // As random as the seed: the same node with a new disk must not look like the old one.
        generation: Generation(mix(mix(config.seed, 0x6469_736b), config.id.0)),
        promised: Ballot::START,
        chosen: LogIndex::START,
        known: Vec::new(),
        founding: config.founding.clone(),
    }
}

/// The votes, and what of them is chosen.
fn read_log(config: Config, mut hard: HardState, restored: Restored) -> Result<Node, RestoreError> {
    let (mut base, stamp) = restored.compacted;
    let mut ballot = Ballot::from(stamp);
    if base > LogIndex::START && restored.snapshot.is_none() {
        return Err(RestoreError::SnapshotMissing { compacted: base });
    }
    let promised = hard.promised;
    if let Some(run) = restored
        .runs
        .iter()
        .find(|run| Ballot::from(run.stamp).rank() > promised.rank())
    {
        return Err(RestoreError::VoteAhead {
            index: run.first,
            vote: run.stamp.into(),
            promised,
        });
    }
    let snapshot = restored.snapshot;
    let covered = snapshot
        .as_ref()
        .map_or(LogIndex::START, SnapshotMeta::index);
    hard.chosen = hard.chosen.max(base).max(covered);
    let chosen = hard.chosen;
    let mut slots = Slots::restore((base, ballot), restored.runs, restored.tail);
    let mut compacts = false;
    if let Some(meta) = &snapshot
        && base < covered
        && (meta.id.origin != hard.generation || slots.stretch_end(base) < covered)
    {
        // A crash came between a snapshot of another node and the record that drops what it covers:
        // that need not be whole, and where it is, it may be votes for what was never chosen. (The
        // old leader of slots 1 to 8, cut off, gets a snapshot through 4: to keep 1 to 4 here would
        // make its own proposals chosen ones.) What a snapshot of this node covers was chosen here.
        (base, ballot) = (covered, Ballot::from(meta.stamp));
        slots.compact(base, ballot);
        compacts = true;
    }
    let end = slots.stretch_end(base);
    if end < chosen {
        return Err(RestoreError::Hole {
            chosen,
            missing: end.next(),
        });
    }
    let history = read_history(&config, snapshot.as_ref(), base, chosen, &restored.configs)?;
    let mut node = Node::new(config, hard, slots, history);
    node.staged = restored.staged;
    let behind = restored.configs.iter().filter(|(index, _)| *index > chosen);
    for (index, payload) in behind {
        let (kind, payload) = (EntryKind::Config, payload.clone());
        node.note_config(*index, Entry { kind, payload });
    }
    // What it has accepted in the ballot that it has promised counts as before.
    let own = node.slots.runs_in(chosen.next(), node.slots.sealed());
    let own: Vec<_> = own
        .filter(|run| Ballot::from(run.stamp) == promised)
        .collect();
    for run in own {
        node.held.add(run.first, run.last);
        node.durable.add(run.first, run.last);
    }
    if let Some(meta) = snapshot {
        if compacts {
            node.outbox.write(LogRecord::Compact {
                through: meta.index(),
                stamp: meta.stamp,
            });
        }
        node.restore_at_start(meta);
    }
    Ok(node)
}

/// The configurations that are known to be chosen.
fn read_history(
    config: &Config,
    snapshot: Option<&SnapshotMeta>,
    base: LogIndex,
    chosen: LogIndex,
    configs: &[(LogIndex, bytes::Bytes)],
) -> Result<History, RestoreError> {
    let read = |index, bytes: &bytes::Bytes| {
        Membership::decode_all(bytes.clone()).map_err(|error| RestoreError::Config { index, error })
    };
    let (mut history, behind) = match snapshot {
        Some(meta) => {
            let membership = read(meta.index(), &meta.config)?;
            (History::new(base, membership), meta.index())
        }
        None => (
            History::new(LogIndex::START, config.founding.clone()),
            LogIndex::START,
        ),
    };
    for (index, bytes) in configs {
        // The snapshot's covers the retained entries before it.
        if *index > behind && *index <= chosen {
            history.push(*index, read(*index, bytes)?);
        }
    }
    Ok(history)
}
