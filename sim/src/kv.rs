//! The application that the simulator brings along: a key-value map.

use alloc::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use synod_core::{Chunks, LogIndex, MachineError, Rng, StateMachine};

use crate::application::{Application, Request, Workload};
use crate::linear::{KvAction, KvMap, KvOp, KvRet};

/// A map from keys to values; clients put, append, compare and swap unique values, and get.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kv;

impl Application for Kv {
    type Machine = KvStore;
    type Model = KvMap;

    fn machine(&self) -> KvStore {
        KvStore::default()
    }

    fn model(&self) -> KvMap {
        KvMap
    }

    fn draw(&self, rng: &mut Rng, work: &Workload, unique: u64) -> KvOp {
        let key = Bytes::from(format!("k{}", rng.below(work.keys)));
        if rng.chance(work.reads_per_million) {
            return KvOp::new(key, KvAction::Get);
        }
        let value = |unique: u64| Bytes::from(format!("{unique:0width$}.", width = work.padding));
        let action = match rng.below(10) {
            0..5 => KvAction::Put(value(unique)),
            5..7 => KvAction::Append(value(unique)),
            7 => KvAction::Delete,
            _ => KvAction::Cas {
                expected: rng
                    .chance(700_000)
                    .then(|| value(unique - rng.below(unique.min(8)))),
                new: Some(value(unique)),
            },
        };
        KvOp::new(key, action)
    }

    fn request(&self, op: &KvOp) -> Request {
        let mut out = BytesMut::new();
        put_bytes(&mut out, &op.key);
        match &op.action {
            KvAction::Get => return Request::Query(op.key.clone()),
            KvAction::Put(value) => {
                out.put_u8(1);
                put_bytes(&mut out, value);
            }
            KvAction::Delete => out.put_u8(2),
            KvAction::Cas { expected, new } => {
                out.put_u8(3);
                put_option(&mut out, expected.as_ref());
                put_option(&mut out, new.as_ref());
            }
            KvAction::Append(value) => {
                out.put_u8(4);
                put_bytes(&mut out, value);
            }
            KvAction::Incr(by) => {
                out.put_u8(5);
                out.put_i64(*by);
            }
        }
        Request::Command(out.freeze())
    }

    fn answer(&self, op: &KvOp, response: &Bytes) -> KvRet {
        let mut response = response.clone();
        match &op.action {
            KvAction::Get => KvRet::Value(take_option(&mut response)),
            KvAction::Put(_) => KvRet::Done,
            KvAction::Delete => KvRet::Deleted(response.get_u8() == 1),
            KvAction::Cas { .. } => KvRet::Swapped(response.get_u8() == 1),
            KvAction::Append(_) => {
                KvRet::Length(usize::try_from(response.get_u64()).unwrap_or(usize::MAX))
            }
            KvAction::Incr(_) if response.is_empty() => KvRet::NotANumber,
            KvAction::Incr(_) => KvRet::Number(response.get_i64()),
        }
    }
}

/// The state machine of [`Kv`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KvStore(BTreeMap<Bytes, Bytes>);

impl StateMachine for KvStore {
    fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
        let mut input = command.clone();
        let key = take_bytes(&mut input);
        match input.get_u8() {
            1 => {
                self.0.insert(key, take_bytes(&mut input));
                Bytes::new()
            }
            2 => flag(self.0.remove(&key).is_some()),
            3 => {
                let (expected, new) = (take_option(&mut input), take_option(&mut input));
                let swaps = self.0.get(&key) == expected.as_ref();
                match new {
                    Some(new) if swaps => drop(self.0.insert(key, new)),
                    None if swaps => drop(self.0.remove(&key)),
                    _ => {}
                }
                flag(swaps)
            }
            4 => {
                let old = self.0.get(&key).map_or(&[][..], |value| value);
                let value = Bytes::from([old, &take_bytes(&mut input)].concat());
                let len = value.len() as u64;
                self.0.insert(key, value);
                Bytes::copy_from_slice(&len.to_be_bytes())
            }
            _ => self.add(key, input.get_i64()),
        }
    }

    fn query(&self, key: &Bytes) -> Bytes {
        let mut out = BytesMut::new();
        put_option(&mut out, self.0.get(key));
        out.freeze()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        let mut out = BytesMut::new();
        for (key, value) in &self.0 {
            put_bytes(&mut out, key);
            put_bytes(&mut out, value);
        }
        Ok(out.freeze().into())
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        let mut bytes = snapshot.collect_bytes()?;
        self.0.clear();
        while !bytes.is_empty() {
            let (key, value) = (take_bytes(&mut bytes), take_bytes(&mut bytes));
            self.0.insert(key, value);
        }
        Ok(())
    }
}

impl KvStore {
    fn add(&mut self, key: Bytes, by: i64) -> Bytes {
        let old = match self.0.get(&key) {
            None => Some(0),
            Some(value) => core::str::from_utf8(value)
                .ok()
                .and_then(|s| s.parse().ok()),
        };
        let Some(sum) = old.and_then(|old: i64| old.checked_add(by)) else {
            return Bytes::new();
        };
        self.0.insert(key, sum.to_string().into());
        Bytes::copy_from_slice(&sum.to_be_bytes())
    }
}

fn flag(is: bool) -> Bytes {
    Bytes::from_static(if is { &[1] } else { &[0] })
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn take_bytes(input: &mut Bytes) -> Bytes {
    let len = input.get_u32() as usize;
    input.split_to(len)
}

fn put_option(out: &mut BytesMut, value: Option<&Bytes>) {
    out.put_u8(value.is_some().into());
    if let Some(value) = value {
        put_bytes(out, value);
    }
}

fn take_option(input: &mut Bytes) -> Option<Bytes> {
    (input.get_u8() == 1).then(|| take_bytes(input))
}
