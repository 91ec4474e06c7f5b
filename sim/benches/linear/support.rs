//! Histories to judge: clients that ask one atomic map, which answers some of them never.

use alloc::collections::BTreeMap;

use synod_sim::history::{ClientId, History, Instant, OpId};
use synod_sim::linear::{RegisterOp, RegisterRet};

pub(crate) type RegisterHistory = History<RegisterOp<u64, u64>, RegisterRet<u64>>;

/// What a history looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) clients: u64,
    pub(crate) ops_per_client: u64,
    pub(crate) keys: u64,
    pub(crate) read_percent: u64,
    /// Compare-and-swap, out of what is not a read.
    pub(crate) cas_percent: u64,
    /// How many values there are; otherwise each write has its own.
    pub(crate) values: Option<u64>,
    pub(crate) unknown_per_thousand: u64,
    /// The last read returns a value of long ago.
    pub(crate) stale: bool,
}

/// SplitMix64 (Steele, Lea & Flood 2014).
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What happens to one operation, and when.
enum Event {
    Invoke {
        client: u64,
        op: RegisterOp<u64, u64>,
        known: bool,
    },
    Effect,
    Answer,
}

/// A history, and the log of the writes in the order in which they took effect.
pub(crate) fn history(load: Load) -> (RegisterHistory, Vec<OpId>) {
    let mut events = events(load);
    events.sort_by_key(|(at, operation, _)| (*at, *operation));
    let mut history = History::new();
    let mut ids: BTreeMap<u64, (OpId, bool)> = BTreeMap::new();
    let mut answers: BTreeMap<u64, RegisterRet<u64>> = BTreeMap::new();
    let mut values: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut log = Vec::new();
    let last_read = events
        .iter()
        .rev()
        .find_map(|(_, operation, event)| match event {
            Event::Invoke {
                op: RegisterOp::Read { .. },
                known: true,
                ..
            } => Some(*operation),
            _ => None,
        });
    for (at, operation, event) in events {
        let at = Instant::from_nanos(at);
        match event {
            Event::Invoke { client, op, known } => {
                ids.insert(operation, (history.invoke(ClientId(client), op, at), known));
            }
            Event::Effect => {
                let (id, _) = ids[&operation];
                let ret = match history.get(id).op() {
                    RegisterOp::Write { key, value } => {
                        values.entry(*key).or_default().push(*value);
                        log.push(id);
                        RegisterRet::Written
                    }
                    RegisterOp::Cas { key, expected, new } => {
                        let seen = values.entry(*key).or_default();
                        let is_there = seen.last().copied().unwrap_or(0) == *expected;
                        if is_there {
                            seen.push(*new);
                            log.push(id);
                        }
                        RegisterRet::Swapped(is_there)
                    }
                    RegisterOp::Read { key } => {
                        let seen = values.entry(*key).or_default();
                        let is_stale = load.stale && last_read == Some(operation);
                        let value = if is_stale { seen.first() } else { seen.last() };
                        RegisterRet::Value(value.copied().unwrap_or(0))
                    }
                };
                answers.insert(operation, ret);
            }
            Event::Answer => match (ids[&operation], answers.remove(&operation)) {
                ((id, true), Some(ret)) => history.complete(id, ret, at),
                ((id, _), _) => history.unknown(id),
            },
        }
    }
    (history, log)
}

fn events(load: Load) -> Vec<(u64, u64, Event)> {
    let mut rng = Rng(7);
    let (mut events, mut operation) = (Vec::new(), 0);
    for client in 0..load.clients {
        let mut at = rng.below(1_000);
        for _ in 0..load.ops_per_client {
            operation += 1;
            let key = rng.below(load.keys);
            let is_read = rng.below(100) < load.read_percent;
            let op = if is_read {
                RegisterOp::Read { key }
            } else {
                let value =
                    |rng: &mut Rng| load.values.map_or(operation, |values| rng.below(values));
                let new = value(&mut rng);
                if rng.below(100) < load.cas_percent {
                    RegisterOp::Cas {
                        key,
                        expected: value(&mut rng),
                        new,
                    }
                } else {
                    RegisterOp::Write { key, value: new }
                }
            };
            let known = is_read || rng.below(1_000) >= load.unknown_per_thousand;
            let (took, gap) = (100 + rng.below(900), rng.below(100));
            events.push((at, operation, Event::Invoke { client, op, known }));
            events.push((at + took, operation, Event::Answer));
            // What is unknown happens late, or never.
            let delay = if known {
                rng.below(took)
            } else {
                rng.below(4 * took)
            };
            if known || rng.below(2) == 0 {
                events.push((at + delay, operation, Event::Effect));
            }
            at += took + gap;
        }
    }
    events
}
