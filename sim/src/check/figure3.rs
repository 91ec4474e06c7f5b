//! The five properties of Raft (figure 3), from what can be seen outside: status, records, and what
//! was handed out.

use alloc::collections::BTreeMap;
use core::hash::{BuildHasherDefault, Hash, Hasher};
use std::collections::HashMap;
use std::hash::DefaultHasher;

use synod_core::{Entries, LogImage, LogIndex, LogRecord, OldLog, Role, Stamp, Status};

use super::{Breach, Cluster, Observer, Stored, covers, ensure};

/// An entry for ever: its index and its mark.
type Place = (LogIndex, Stamp);

/// Checks Election Safety, Leader Append-Only, Log Matching, Leader Completeness; State Machine
/// Safety is the ledger's. Besides, what they rest on: what is committed is durable where no election
/// can pass it by (§5.4), terms survive a restart, a follower drops entries only for others in
/// their place (figure 2), a snapshot takes the place of no longer log that agrees with it (§7).
///
/// For majorities of the nodes that found the cluster.
#[derive(Debug, Default)]
pub struct Figure3 {
    /// Who led each term.
    leaders: BTreeMap<u64, usize>,
    /// What is at each place, and the mark of the entry before: by induction two logs that agree on
    /// a place agree on all before it.
    matching: HashMap<Place, (u64, Stamp), BuildHasherDefault<DefaultHasher>>,
    /// What each node was at its last step.
    last: BTreeMap<usize, (u64, Role)>,
}

impl Figure3 {
    /// A watch over a cluster that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, log: &LogImage, entries: &Entries) -> Result<(), Breach> {
        let (mut index, stamp) = (entries.first(), entries.stamp());
        ensure(
            index == log.last().next(),
            "entries are appended (Raft §5.3)",
            || format!("{entries:?} does not follow {}", log.last()),
        )?;
        let before = log.stamp_at(index.previous());
        let mut before = before.unwrap_or(Stamp::START);
        ensure(before <= stamp, "terms grow along the log", || {
            format!("{entries:?} behind an entry of {before:?}")
        })?;
        for entry in entries.as_slice() {
            let mut hasher = DefaultHasher::new();
            entry.hash(&mut hasher);
            let found = (hasher.finish(), before);
            let known = *self.matching.entry((index, stamp)).or_insert(found);
            ensure(known == found, "log matching (Raft figure 3)", || {
                format!("there are two entries at {index} {stamp:?}: {known:x?}, {found:x?}")
            })?;
            (index, before) = (index.next(), stamp);
        }
        Ok(())
    }

    /// Leader Completeness: what was committed in an earlier term is in the log of a leader.
    fn complete(&self, node: usize, era: u64, cluster: Cluster<'_>) -> Result<(), Breach> {
        let mut earlier = cluster
            .ledger
            .iter()
            .rev()
            .filter(|(_, fact)| fact.era < era);
        let Some((index, fact)) = earlier.next() else {
            return Ok(());
        };
        let stored = &cluster.stored[node];
        ensure(
            covers(&stored.shadow, index, fact.stamp),
            "leader completeness (Raft figure 3)",
            || {
                format!(
                    "{} leads term {era} without {index} {:?}, committed in term {} or before",
                    stored.id, fact.stamp, fact.era
                )
            },
        )
    }
}

impl Observer for Figure3 {
    fn writes(
        &mut self,
        node: usize,
        status: &Status,
        records: &[LogRecord],
        cluster: Cluster<'_>,
    ) -> Result<(), Breach> {
        let stored = &cluster.stored[node];
        let id = stored.id;
        let simple = records
            .iter()
            .all(|record| matches!(record, LogRecord::State(_) | LogRecord::Put(_)));
        let puts = records.iter().filter(|r| matches!(r, LogRecord::Put(_)));
        if simple && puts.count() <= 1 {
            for record in records {
                if let LogRecord::Put(entries) = record {
                    self.put(&stored.shadow, entries)?;
                }
            }
            return Ok(());
        }
        let mut log = stored.shadow.clone();
        for (k, record) in records.iter().enumerate() {
            match record {
                LogRecord::Put(entries) => self.put(&log, entries)?,
                LogRecord::Truncate { from } => {
                    ensure(
                        status.role != Role::Leader,
                        "leader append-only (Raft figure 3)",
                        || format!("{id} leads term {} and drops {from}", status.era),
                    )?;
                    let dropped = log.stamp_at(*from);
                    let state = |record: &&LogRecord| matches!(record, LogRecord::State(_));
                    let instead = match records[k + 1..].iter().find(|next| !state(next)) {
                        Some(LogRecord::Put(entries)) if entries.first() == *from => {
                            Some(entries.stamp())
                        }
                        _ => None,
                    };
                    ensure(
                        dropped.is_some() && instead.is_some() && dropped != instead,
                        "entries are dropped only for others in their place (Raft figure 2)",
                        || format!("{id} drops {from} {dropped:?} and puts {instead:?}"),
                    )?;
                    not_committed(&log, *from, cluster)?;
                }
                LogRecord::Activate {
                    meta,
                    log: OldLog::Replace,
                } => {
                    ensure(
                        status.role != Role::Leader,
                        "leader append-only (Raft figure 3)",
                        || format!("{id} leads term {} and replaces its log", status.era),
                    )?;
                    let agrees = log.stamp_at(meta.index()) == Some(meta.stamp);
                    ensure(
                        !agrees || log.last() == meta.index(),
                        "a snapshot takes the place of no longer log that agrees with it (Raft §7)",
                        || format!("{id} has {} and installs {}", log.last(), meta.id),
                    )?;
                }
                LogRecord::State(_)
                | LogRecord::Stage { .. }
                | LogRecord::Activate { .. }
                | LogRecord::Compact { .. } => {}
            }
            let applied = log.apply(record.clone());
            applied.map_err(|error| Breach::new("records keep the contract", error.to_string()))?;
        }
        Ok(())
    }

    fn steps(&mut self, node: usize, status: &Status, cluster: Cluster<'_>) -> Result<(), Breach> {
        let now = (status.era, status.role);
        let before = self.last.insert(node, now);
        if before == Some(now) {
            return Ok(());
        }
        let id = cluster.stored[node].id;
        ensure(
            before.is_none_or(|(era, _)| era <= status.era),
            "terms only grow (Raft §5.1)",
            || format!("{id} goes from {before:?} to {now:?}"),
        )?;
        if status.role != Role::Leader {
            return Ok(());
        }
        let leader = *self.leaders.entry(status.era).or_insert(node);
        ensure(leader == node, "election safety (Raft figure 3)", || {
            let other = cluster.stored[leader].id;
            format!("{other} and {id} both lead term {}", status.era)
        })?;
        self.complete(node, status.era, cluster)
    }

    fn starts(&mut self, node: usize, status: &Status, cluster: Cluster<'_>) -> Result<(), Breach> {
        self.last.remove(&node);
        let stored = &cluster.stored[node];
        if stored.lost > 0 {
            // It has lost its terms with all else, and nobody may count on it any more.
            return Ok(());
        }
        let newest = stored.image.stamp_at(stored.image.last());
        let newest = newest.unwrap_or_default().number;
        let led = self
            .leaders
            .iter()
            .rev()
            .find(|(_, leader)| **leader == node);
        let led = led.map_or(0, |(era, _)| *era);
        ensure(
            status.era >= newest.max(led),
            "terms survive a crash (Raft figure 2)",
            || {
                format!(
                    "{} starts in term {}, it led term {led} and holds an entry of {newest}",
                    stored.id, status.era
                )
            },
        )
    }

    fn commits(
        &mut self,
        _: usize,
        last: LogIndex,
        stamp: Stamp,
        cluster: Cluster<'_>,
    ) -> Result<(), Breach> {
        // Who has lost its disk neither votes nor leads.
        let nodes = &cluster.stored[..cluster.voters];
        let end = |node: &Stored| {
            let last = node.image.last();
            (node.image.stamp_at(last).unwrap_or_default(), last)
        };
        let ends: Vec<_> = nodes.iter().map(end).collect();
        for (candidate, own) in nodes.iter().zip(&ends).filter(|(node, _)| node.lost == 0) {
            let voters = nodes.iter().zip(&ends).filter(|(node, _)| node.lost == 0);
            let votes = voters.filter(|(_, other)| own >= *other).count();
            let lacks = !candidate.holds(last, stamp);
            ensure(
                !(lacks && votes > nodes.len() / 2),
                "no election passes by what is committed (Raft §5.4)",
                || {
                    let id = candidate.id;
                    format!(
                        "{last} {stamp:?} is committed; if all crashed now, {id} could be elected \
                         without it: disks end at {ends:?}"
                    )
                },
            )?;
        }
        Ok(())
    }
}

/// What is dropped from `from` on holds nothing that is committed.
fn not_committed(log: &LogImage, from: LogIndex, cluster: Cluster<'_>) -> Result<(), Breach> {
    let committed = cluster.ledger.get(from);
    ensure(
        committed.is_none_or(|fact| log.stamp_at(from) != Some(fact.stamp)),
        "what is committed stays (Raft §5.4.3)",
        || format!("{from} is committed and is dropped"),
    )
}
