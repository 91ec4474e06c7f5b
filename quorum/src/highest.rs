//! The highest value that a quorum has reached.
//!
//! `all` is the minimum of its parts, `any` the maximum, and a threshold of `k` the k-th highest:
//! a threshold holds of the members with a value of at least `v` exactly as long as `v` is at most
//! the k-th highest value of its parts. So the formula itself, read over values instead of truth,
//! gives the answer, without trying candidates. (The test compares with trying candidates.)

use crate::MAX_MEMBERS;
use crate::gate::{Count, Gate, MAX_GATES};
use core::cmp::Reverse;

/// The most parts that one threshold can have: every member and every earlier threshold.
const MAX_PARTS: usize = MAX_MEMBERS + MAX_GATES;

/// Up to here the k-th highest is found by insertion without branches on the data.
const SMALL: usize = 16;

/// The `count.need`-th highest value of its members.
#[inline]
pub(crate) fn of_count(count: Count, value: &impl Fn(usize) -> u64) -> u64 {
    // majorities of all members, each unrolled to a few instructions without a branch
    match count.of_the_first() {
        Some(1) => value(0),
        Some(2) if count.need == 2 => value(0).min(value(1)),
        Some(3) if count.need == 2 => of_the_first::<3, 2>(value),
        Some(4) if count.need == 3 => of_the_first::<4, 3>(value),
        Some(5) if count.need == 3 => of_the_first::<5, 3>(value),
        Some(6) if count.need == 4 => of_the_first::<6, 4>(value),
        Some(7) if count.need == 4 => of_the_first::<7, 4>(value),
        _ => {
            let values = count.of.iter().map(value);
            nth_highest(count.need as usize, count.of.len(), values)
        }
    }
}

/// The `NEED`-th highest value of the members at positions `0..COUNT`.
#[inline]
fn of_the_first<const COUNT: usize, const NEED: usize>(value: &impl Fn(usize) -> u64) -> u64 {
    top::<NEED>((0..COUNT).map(value))
}

/// The value of the last threshold.
pub(crate) fn of_gates(gates: &[Gate], value: &impl Fn(usize) -> u64) -> u64 {
    let mut found = [0; MAX_GATES];
    let mut last = 0;
    for (i, gate) in gates.iter().enumerate() {
        last = if gate.weights.is_empty() {
            let leaves = gate.leaves.iter().map(value);
            let inner = gate.gates.iter().map(|inner| found[inner]);
            // a count's need is at most its number of parts
            nth_highest(gate.need as usize, gate.len(), leaves.chain(inner))
        } else {
            let leaves = gate.leaf_weights().map(|(leaf, w)| (value(leaf), w));
            let inner = gate.gate_weights().map(|(inner, w)| (found[inner], w));
            match gate.len() {
                0..=8 => heaviest::<8>(gate.need, leaves.chain(inner)),
                _ => heaviest::<MAX_PARTS>(gate.need, leaves.chain(inner)),
            }
        };
        found[i] = last;
    }
    last
}

/// The `need`-th highest of `count` values; `need` is from 1 to `count`.
#[inline]
fn nth_highest(need: usize, count: usize, values: impl Iterator<Item = u64>) -> u64 {
    match need {
        1 => values.fold(0, u64::max),
        2 if count <= SMALL => top::<2>(values),
        3 if count <= SMALL => top::<3>(values),
        4 if count <= SMALL => top::<4>(values),
        5 if count <= SMALL => top::<5>(values),
        _ if need == count => values.fold(u64::MAX, u64::min),
        _ => select(need, values),
    }
}

/// The `N`-th highest value: the `N` highest so far are kept in descending order, and each new
/// value sinks to its place by minimum and maximum alone.
#[inline]
fn top<const N: usize>(values: impl Iterator<Item = u64>) -> u64 {
    let mut top = [0; N];
    for mut value in values {
        for place in &mut top {
            (*place, value) = ((*place).max(value), (*place).min(value));
        }
    }
    top[N - 1]
}

/// The `need`-th highest value by selection.
fn select(need: usize, values: impl Iterator<Item = u64>) -> u64 {
    let mut buffer = [0; MAX_PARTS];
    let mut count = 0;
    for value in values {
        buffer[count] = value;
        count += 1;
    }
    // the highest is the first in descending order, the last in ascending order
    *buffer[..count].select_nth_unstable(count - need).1
}

/// The highest value such that the parts with at least that value weigh at least `need`.
fn heaviest<const N: usize>(need: u64, parts: impl Iterator<Item = (u64, u64)>) -> u64 {
    let mut buffer = [(0, 0); N];
    let mut count = 0;
    for part in parts {
        buffer[count] = part;
        count += 1;
    }
    let parts = &mut buffer[..count];
    parts.sort_unstable_by_key(|part| Reverse(part.0));
    let mut weight = 0;
    for (value, more) in parts {
        weight += *more;
        if weight >= need {
            return *value;
        }
    }
    0 // not reached: a threshold is at most the total weight
}
