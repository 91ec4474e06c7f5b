//! What Multi-Paxos promises, from what can be seen outside: status, records, and what was handed out.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use synod_core::{
    Decode, Entry, EntryKind, LogIndex, LogRecord, NodeId, OldLog, Role, Stamp, Status,
};
use synod_paxos::log::Membership;
use synod_sim::check::{Breach, Cluster, Observer, Stored};

/// Checks that a ballot proposes one value for each slot, that promises and votes only rise, over all
/// lives of a node, that a restart takes nothing for chosen that was not, and that what is chosen cannot be missed by any quorum of phase 1: of the votes that it would
/// hear of, the one of the highest ballot is for what was chosen.
///
/// For majorities of those that vote in the slot's epoch.
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

fn hash_of(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.hash(&mut hasher);
    hasher.finish()
}

impl Observer for Ballots {
    fn writes(
        &mut self,
        node: usize,
        status: &Status,
        records: &[LogRecord],
        cluster: Cluster<'_>,
    ) -> Result<(), Breach> {
        self.known.insert(node, status.committed);
        let shadow = &cluster.stored[node].shadow;
        // What this write has put so far.
        let mut fresh: HashMap<LogIndex, Stamp> = HashMap::new();
        // What it has dropped so far: votes behind a stop-sign.
        let mut dropped: Option<LogIndex> = None;
        for record in records {
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
            ensure(
                stamp.number <= status.era,
                "no vote is cast above the promise",
                || format!("{id} has promised round {}: {entries:?}", status.era),
            )?;
            for (index, entry) in entries.iter() {
                let kept = dropped.is_none_or(|from| index < from);
                let there = || shadow.get(index).map(|(stamp, _)| stamp).filter(|_| kept);
                let before = fresh.insert(index, stamp).or_else(there);
                ensure(before <= Some(stamp), "votes never go back", || {
                    format!("{id} has voted in {before:?}: {entries:?}")
                })?;
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
        if status.role == Role::Leader {
            self.led.insert(node, status.era);
            ensure(status.voters.contains(&id), "only voters lead", || {
                format!("{id} leads {:?}", status.voters)
            })?;
        }
        self.known.insert(node, status.committed);
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
            let same =
                fact.is_none_or(|fact| entry.kind == fact.kind && entry.payload == fact.payload);
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
                let same = entry.kind == fact.kind && entry.payload == fact.payload;
                Vote::Cast(stamp, same)
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
            let (mut covered, mut highest) = (false, None);
            for vote in heard {
                match vote {
                    Vote::Covered => covered = true,
                    Vote::None => {}
                    Vote::Cast(stamp, same) => highest = highest.max(Some((*stamp, *same))),
                }
            }
            let found = covered || highest.is_some_and(|(_, same)| same);
            ensure(found, "no quorum misses what is chosen", || {
                format!("{last} is chosen, and quorum {set:b} of {voters:?} hears of {highest:?}")
            })?;
        }
        Ok(())
    }
}
