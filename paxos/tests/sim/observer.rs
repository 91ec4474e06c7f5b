//! What Multi-Paxos promises, from what can be seen outside: status, records, and what was handed out.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use synod_core::{
    Decode, Entry, EntryKind, Generation, LogIndex, LogRecord, NodeId, OldLog, Role, Stamp, Status,
};
use synod_paxos::Ballot;
use synod_paxos::log::Membership;
use synod_sim::check::{Breach, Cluster, Fact, Observer, Stored};

/// Checks that a ballot proposes one value for each slot, and later ones the same as what is chosen;
/// that promises and votes only rise, over all lives of a node, and a promise is on disk before the
/// vote; that what a node knows to be chosen never shrinks in a life, and a restart takes nothing for
/// chosen that was not; and that what is chosen cannot be missed by any quorum of phase 1: of the
/// votes that it would hear of, the one of the highest ballot is for what was chosen.
///
/// For majorities of those that vote in the slot's epoch.
/// Votes are compared as the log does: by leadership, and of one leadership's the fast before the
/// classic. Of a fast ballot what counts is what a fast quorum may have voted for as far as a quorum of
/// replies tells.
///
/// Fast quorums are three quarters.
///
/// That all nodes hand out the same in each slot,
/// in order and without a gap, and only what was proposed, is the ledger's.
#[derive(Debug, Default)]
pub(crate) struct Ballots {
    /// What was proposed for a slot in a ballot.
    proposals: HashMap<(LogIndex, Stamp), u64>,
    /// The round that each node had promised at its last step.
    rounds: BTreeMap<usize, u64>,
    /// The last round that each node has led.
    led: BTreeMap<usize, u64>,
    /// What each node knows to be chosen.
    known: BTreeMap<usize, LogIndex>,
    /// Who votes behind which slot, as far as the ledger was read.
    epochs: Vec<(LogIndex, Vec<NodeId>)>,
    read: LogIndex,
}

impl Ballots {
    /// Who votes in this slot, and which slot says so: the last stop-sign that was chosen before it.
    fn voters_of(&mut self, slot: LogIndex, cluster: Cluster<'_>) -> (LogIndex, Vec<NodeId>) {
        while let Some(fact) = cluster.ledger.get(self.read.next()) {
            self.read = self.read.next();
            if fact.kind == EntryKind::Config
                && let Ok(membership) = Membership::decode_all(fact.payload.clone())
                && membership.epoch().0 > self.epochs.len() as u64
            {
                let voters = membership.voters().to_vec();
                self.epochs.push((self.read, voters));
            }
        }
        let before = self.epochs.iter().rev().find(|(since, _)| *since < slot);
        let founders = || {
            let nodes = cluster.stored[..cluster.voters].iter();
            (LogIndex::START, nodes.map(|node| node.id).collect())
        };
        before.cloned().unwrap_or_else(founders)
    }
}

fn ensure(
    holds: bool,
    rule: &'static str,
    evidence: impl FnOnce() -> String,
) -> Result<(), Breach> {
    if holds {
        return Ok(());
    }
    Err(Breach::new(rule, evidence()))
}

/// The order of votes.
fn rank(stamp: Stamp) -> (u64, u64, bool) {
    (stamp.number / 2, stamp.node, !is_fast(stamp))
}

const fn is_fast(stamp: Stamp) -> bool {
    stamp.number % 2 == 1
}

/// Whether this is what was handed out, which carries no name.
fn is_fact(entry: &Entry, fact: &Fact) -> bool {
    const NAME: usize = 16;
    let plain = entry.payload.len().saturating_sub(NAME);
    if entry.kind == EntryKind::Named {
        return fact.kind == EntryKind::Command && entry.payload[..plain] == fact.payload;
    }
    entry.kind == fact.kind && entry.payload == fact.payload
}

fn hash_of(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.hash(&mut hasher);
    hasher.finish()
}

/// The promise in the durable state: behind a version, the node and the life of its storage.
fn promised_in(state: &Bytes) -> Option<Ballot> {
    let mut rest = state.slice(1..);
    NodeId::decode(&mut rest).ok()?;
    Generation::decode(&mut rest).ok()?;
    Ballot::decode(&mut rest).ok()
}

impl Observer for Ballots {
    fn writes(
        &mut self,
        node: usize,
        status: &Status,
        records: &[LogRecord],
        cluster: Cluster<'_>,
    ) -> Result<(), Breach> {
        let known = self.known.entry(node).or_default();
        *known = (*known).max(status.committed);
        let shadow = &cluster.stored[node].shadow;
        // What this write has put so far.
        let mut fresh: HashMap<LogIndex, Stamp> = HashMap::new();
        let mut promised = shadow.restored(0).state.as_ref().and_then(promised_in);
        // What it has dropped so far: votes behind a stop-sign.
        let mut dropped: Option<LogIndex> = None;
        for record in records {
            if let LogRecord::State(state) = record {
                promised = promised_in(state);
            }
            if let LogRecord::Truncate { from } = record {
                dropped = dropped.min(Some(*from)).or(Some(*from));
                fresh.retain(|index, _| index < from);
            }
            if let LogRecord::Activate {
                log: OldLog::Replace,
                ..
            } = record
            {
                dropped = Some(LogIndex::START);
                fresh.clear();
            }
            let LogRecord::Put(entries) = record else {
                continue;
            };
            let stamp = entries.stamp();
            let id = cluster.stored[node].id;
            // Whatever prefix of the write a crash leaves.
            let kept = promised.is_some_and(|promised| rank(stamp) <= rank(promised.stamp()));
            ensure(kept, "a promise is on disk before the vote", || {
                format!("{id} has promised {promised:?} on disk: {entries:?}")
            })?;
            ensure(
                stamp.number & !1 <= status.era,
                "no vote is cast above the promise",
                || format!("{id} has promised round {}: {entries:?}", status.era),
            )?;
            for (index, entry) in entries.iter() {
                let kept = dropped.is_none_or(|from| index < from);
                let there = || shadow.get(index).map(|(stamp, _)| stamp).filter(|_| kept);
                let before = fresh.insert(index, stamp).or_else(there);
                let rises = before.map(rank) <= Some(rank(stamp));
                ensure(rises, "votes never go back", || {
                    format!("{id} has voted in {before:?}: {entries:?}")
                })?;
                // P2b (Paxos Made Simple §2.2). The ledger's mark is of a ballot in which it was
                // chosen, or of a later one. In a fast ballot others may vote for something else
                // when it is chosen.
                let fact = cluster.ledger.get(index);
                let later = |fact: &&Fact| {
                    let (chosen, vote) = (rank(fact.stamp), rank(stamp));
                    chosen < vote || (chosen == vote && !is_fast(stamp))
                };
                let fact = fact.filter(later);
                let same = fact.is_none_or(|fact| is_fact(entry, fact));
                ensure(same, "later ballots propose what is chosen", || {
                    format!("{id} writes another entry at {index} in {stamp:?}: {fact:?}")
                })?;
                if is_fast(stamp) {
                    continue;
                }
                let found = hash_of(entry);
                let key = (index, entries.stamp());
                let known = *self.proposals.entry(key).or_insert(found);
                ensure(
                    known == found,
                    "a ballot proposes one value for a slot",
                    || format!("{id} writes another one than was written before: {key:?}"),
                )?;
            }
        }
        Ok(())
    }

    fn steps(&mut self, node: usize, status: &Status, cluster: Cluster<'_>) -> Result<(), Breach> {
        let before = self.rounds.insert(node, status.era).unwrap_or(0);
        let id = cluster.stored[node].id;
        ensure(before <= status.era, "promises only rise", || {
            format!("{id} goes from round {before} to {}", status.era)
        })?;
        let known = self.known.insert(node, status.committed);
        ensure(
            known.is_none_or(|known| known <= status.committed),
            "what is known to be chosen never shrinks",
            || format!("{id} knew {known:?}, and now {}", status.committed),
        )?;
        if status.role == Role::Leader {
            self.led.insert(node, status.era);
            ensure(status.voters.contains(&id), "only voters lead", || {
                format!("{id} leads {:?}", status.voters)
            })?;
        }
        Ok(())
    }

    fn starts(&mut self, node: usize, status: &Status, cluster: Cluster<'_>) -> Result<(), Breach> {
        self.rounds.remove(&node);
        self.known.insert(node, status.committed);
        let stored = &cluster.stored[node];
        if stored.lost > 0 {
            // It has lost its promises with all else, and nobody may count on it any more.
            return Ok(());
        }
        // What it takes for chosen it will tell others, also where its own state machine has it from a
        // snapshot.
        for (index, _, entry) in stored.image.iter() {
            if index <= status.compacted || index > status.committed {
                continue;
            }
            let fact = cluster.ledger.get(index);
            let same = fact.is_none_or(|fact| is_fact(entry, fact));
            ensure(same, "what a restart takes for chosen was chosen", || {
                format!("{} has another entry at {index}", stored.id)
            })?;
        }
        let led = self.led.get(&node).copied().unwrap_or(0);
        ensure(status.era >= led, "promises survive a crash", || {
            let id = stored.id;
            format!("{id} starts with round {}, and has led {led}", status.era)
        })
    }

    fn commits(
        &mut self,
        _: usize,
        last: LogIndex,
        _: Stamp,
        cluster: Cluster<'_>,
    ) -> Result<(), Breach> {
        let Some(fact) = cluster.ledger.get(last) else {
            return Ok(());
        };
        let (since, voters) = self.voters_of(last, cluster);
        let votes_in = |(place, node): &(usize, &Stored)| {
            // One that is not in the slot's epoch yet has votes of another there, or none, and drops
            // them before it is.
            voters.contains(&node.id) && self.known.get(place) >= Some(&since)
        };
        let there = |(_, node): &(usize, &Stored)| voters.contains(&node.id);
        let nodes = cluster.stored.iter().enumerate().filter(there);
        /// What a node would say of the slot.
        enum Vote {
            /// It knows it to be chosen: a snapshot covers it.
            Covered,
            None,
            Cast(Stamp, bool),
        }
        let vote = |node: &Stored| {
            let snapshot = node.image.snapshot().map(|meta| meta.index());
            if node.image.compacted().0 >= last || snapshot >= Some(last) {
                return Vote::Covered;
            }
            node.image.get(last).map_or(Vote::None, |(stamp, entry)| {
                Vote::Cast(stamp, is_fact(entry, fact))
            })
        };
        // Who has lost its disk does not promise.
        let votes: Vec<Vote> = nodes
            .filter(|(_, node)| node.lost == 0)
            .map(|stored| {
                if votes_in(&stored) {
                    vote(stored.1)
                } else {
                    Vote::None
                }
            })
            .collect();
        let majority = voters.len() / 2 + 1;
        for set in 0_u32..1 << votes.len() {
            if set.count_ones() as usize != majority {
                continue;
            }
            let heard = votes.iter().enumerate();
            let heard = heard
                .filter(|(k, _)| set & (1 << k) != 0)
                .map(|(_, vote)| vote);
            let (mut covered, mut cast) = (false, Vec::new());
            for vote in heard {
                match vote {
                    Vote::Covered => covered = true,
                    Vote::None => {}
                    Vote::Cast(stamp, same) => cast.push((*stamp, *same)),
                }
            }
            let highest = cast
                .iter()
                .map(|(stamp, _)| *stamp)
                .max_by_key(|stamp| rank(*stamp));
            let of_highest = cast.iter().filter(|(stamp, _)| Some(*stamp) == highest);
            let backers = of_highest.clone().filter(|(_, same)| *same).count();
            let found = covered
                || highest.is_some_and(|stamp| {
                    let silent = voters.len() - majority;
                    let fast = (3 * voters.len()).div_ceil(4);
                    backers > 0 && (!is_fast(stamp) || backers + silent >= fast)
                });
            ensure(found, "no quorum misses what is chosen", || {
                format!("{last} is chosen, and quorum {set:b} of {voters:?} hears of {highest:?}")
            })?;
        }
        Ok(())
    }
}
