//! Raft's properties (figure 3), checked over all nodes after every line of a story, whatever it
//! expects.

use std::collections::BTreeMap;

use bytes::Bytes;
use synod_core::{Committed, Entry, LogImage, LogIndex, NodeId, Stamp};

use crate::cluster::Cluster;
use crate::words::Names;

#[derive(Clone, Default)]
pub(crate) struct Law {
    /// Who has led each term.
    leaders: BTreeMap<u64, NodeId>,
    /// What is committed: term and contents.
    committed: BTreeMap<LogIndex, (u64, Bytes)>,
}

impl Law {
    /// A node hands out committed entries: State Machine Safety.
    pub(crate) fn committed(
        &mut self,
        id: NodeId,
        committed: &Committed,
        names: &Names,
    ) -> Result<(), String> {
        let term = committed.entries.stamp().number;
        for (index, _, contents, _) in committed.iter() {
            let entry = (term, contents.clone());
            let first = self.committed.entry(index).or_insert_with(|| entry.clone());
            if *first != entry {
                return Err(format!(
                    "State Machine Safety: {} has {entry:?} at {}, committed was {first:?}",
                    names.of(id),
                    index.0
                ));
            }
        }
        Ok(())
    }

    /// A node leads: Election Safety, Leader Completeness.
    pub(crate) fn leads(
        &mut self,
        id: NodeId,
        term: u64,
        cluster: &Cluster,
        names: &Names,
    ) -> Result<(), String> {
        let name = names.of(id);
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            let other = names.of(first);
            return Err(format!(
                "Election Safety: {other} and {name} both lead term {term}"
            ));
        }
        let image = &cluster.servers[&id].image;
        for (index, (committed, _)) in &self.committed {
            let is_there = image
                .stamp_at(*index)
                .is_some_and(|at| at.number == *committed);
            if *index > image.compacted().0 && !is_there {
                let index = index.0;
                return Err(format!(
                    "Leader Completeness: {name} leads term {term} without the committed {index}"
                ));
            }
        }
        Ok(())
    }

    /// Log Matching, over what is durable.
    pub(crate) fn check_logs(&self, cluster: &Cluster, names: &Names) -> Result<(), String> {
        let log = |image: &LogImage| -> BTreeMap<LogIndex, (Stamp, Entry)> {
            let entries = image.iter();
            entries
                .map(|(index, stamp, entry)| (index, (stamp, entry.clone())))
                .collect()
        };
        let servers = cluster.servers.iter();
        let logs: Vec<_> = servers.map(|(id, s)| (*id, log(&s.image))).collect();
        for (place, (one, log)) in logs.iter().enumerate() {
            for (other, its) in &logs[place + 1..] {
                let agree = log.iter().rev().find(|(index, (stamp, _))| {
                    its.get(index).is_some_and(|(other, _)| other == stamp)
                });
                let Some((last, _)) = agree else { continue };
                let differs = log
                    .range(..=last)
                    .find(|(index, entry)| its.get(index).is_some_and(|other| other != *entry));
                if let Some((index, _)) = differs {
                    return Err(format!(
                        "Log Matching: {} and {} agree at {} and differ at {}",
                        names.of(*one),
                        names.of(*other),
                        last.0,
                        index.0
                    ));
                }
            }
        }
        Ok(())
    }
}
