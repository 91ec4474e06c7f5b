//! A history cut into parts that do not affect each other, each ready for the search.

use alloc::collections::BTreeMap;

use super::Model;
use super::plant::{Bug, planted};
use crate::history::{History, Instant, OpId, Stamp};

/// One operation as the search sees it. Places count the events of its part from 0.
#[derive(Debug)]
pub(super) struct Entry<'h, Op, Ret> {
    pub(super) id: OpId,
    pub(super) op: &'h Op,
    /// `None`: any answer will do.
    pub(super) ret: Option<&'h Ret>,
    /// The place of the invocation.
    pub(super) call: u32,
    /// The place by which it has taken effect. `None`: it need not have at all.
    pub(super) by: Option<u32>,
}

// Derived `Clone` and `Copy` would ask that of `Op` and `Ret`.
impl<Op, Ret> Clone for Entry<'_, Op, Ret> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Op, Ret> Copy for Entry<'_, Op, Ret> {}

/// All entries of one key, in the order of their invocations.
pub(super) type Part<'h, M> = Vec<Entry<'h, <M as Model>::Op, <M as Model>::Ret>>;

/// The parts of `history`, without the operations that certainly did not happen.
pub(super) fn partition<'h, M: Model>(
    model: &M,
    history: &'h History<M::Op, M::Ret>,
) -> BTreeMap<M::Key, Part<'h, M>> {
    let mut ids: BTreeMap<M::Key, Vec<OpId>> = BTreeMap::new();
    for (id, record) in history.iter() {
        if !record.is_failed() || planted(Bug::FailedIsPossible) {
            ids.entry(model.key(record.op())).or_default().push(id);
        }
    }
    let parts = ids.into_iter().map(|(key, ids)| (key, part(history, &ids)));
    parts.collect()
}

fn part<'h, Op, Ret>(history: &'h History<Op, Ret>, ids: &[OpId]) -> Vec<Entry<'h, Op, Ret>> {
    let mut events: Vec<(Stamp, usize, bool)> = Vec::with_capacity(2 * ids.len());
    for (index, &id) in ids.iter().enumerate() {
        let record = history.get(id);
        events.push((record.invoked(), index, true));
        events.extend(effect_by(history, id).map(|by| (by, index, false)));
    }
    events.sort_unstable();
    let mut entries: Vec<_> = ids
        .iter()
        .map(|&id| {
            let record = history.get(id);
            let ret = record.ret().filter(|_| !planted(Bug::AnswerIgnored));
            let op = record.op();
            Entry {
                id,
                op,
                ret,
                call: 0,
                by: None,
            }
        })
        .collect();
    for (place, (_, index, is_call)) in (0..).zip(events) {
        if is_call {
            entries[index].call = place;
        } else {
            entries[index].by = Some(place);
        }
    }
    if planted(Bug::UnknownNever) {
        entries.retain(|entry| entry.by.is_some());
    }
    entries.sort_unstable_by_key(|entry| entry.call);
    entries
}

fn effect_by<Op, Ret>(history: &History<Op, Ret>, id: OpId) -> Option<Stamp> {
    let record = history.get(id);
    if planted(Bug::BoundForgotten) {
        return record.completed();
    }
    if planted(Bug::BoundTooLate) && record.bound().is_some() {
        return Some(Stamp::end_of(Instant::MAX));
    }
    if planted(Bug::UnknownAtOnce) && record.effect_by().is_none() {
        return Some(Stamp::end_of(record.invoked_at()));
    }
    record.effect_by()
}
