//! Is a given order an explanation? For those who know it: the replicated log does.

use alloc::collections::BTreeMap;

use thiserror::Error;

use super::Model;
use crate::history::{History, OpId};

/// Why an order does not explain a history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderFault {
    /// The order has an operation twice.
    #[error("{op} is in the order twice")]
    Twice {
        /// The operation.
        op: OpId,
    },
    /// The order has an operation that certainly did not happen.
    #[error("{op} is in the order, but it failed")]
    Failed {
        /// The operation.
        op: OpId,
    },
    /// The order lacks an operation that happened.
    #[error("{op} happened, but it is not in the order")]
    Missing {
        /// The operation.
        op: OpId,
    },
    /// The order contradicts real time.
    #[error("{later} was over before {earlier} was invoked, but the order has it after that")]
    RealTime {
        /// The one that the order has first.
        earlier: OpId,
        /// The one that the order has later, although it was over first.
        later: OpId,
    },
    /// A correct object would have given another answer at this place of the order.
    #[error("the answer to {op} is not right at its place in the order")]
    Answer {
        /// The operation.
        op: OpId,
    },
}

/// Whether `order`, over all keys, explains `history`: it has each operation that happened, once,
/// in an order that respects real time and gives the answers that were given. Operations of unknown
/// outcome may be in it or not.
///
/// Takes time proportional to the length, so it suits a simulator that knows the order (by log
/// index, reads at the index that they were served at); a [`Checker`](super::Checker) is for
/// those who do not.
///
/// # Errors
///
/// The first [`OrderFault`] met.
///
/// ```
/// use synod_sim::history::{ClientId, History, Instant};
/// use synod_sim::linear::{OrderFault, Register, RegisterOp, RegisterRet, verify_order};
///
/// let mut history = History::new();
/// let write = RegisterOp::Write { key: (), value: 1 };
/// let write = history.invoke(ClientId(1), write, Instant::from_nanos(0));
/// let read = history.invoke(ClientId(2), RegisterOp::Read { key: () }, Instant::from_nanos(1));
/// history.complete(read, RegisterRet::Value(1), Instant::from_nanos(2));
/// let register = Register::new(0);
/// assert_eq!(verify_order(&register, &history, &[write, read]), Ok(()));
/// let fault = OrderFault::Answer { op: read };
/// assert_eq!(verify_order(&register, &history, &[read]), Err(fault));
/// ```
pub fn verify_order<M: Model>(
    model: &M,
    history: &History<M::Op, M::Ret>,
    order: &[OpId],
) -> Result<(), OrderFault> {
    is_complete(history, order)?;
    respects_real_time(history, order)?;
    let mut states: BTreeMap<M::Key, M::State> = BTreeMap::new();
    for &op in order {
        let record = history.get(op);
        let key = model.key(record.op());
        let state = states.remove(&key).unwrap_or_else(|| model.initial(&key));
        let next = model.step(&state, record.op(), record.ret());
        states.insert(key, next.ok_or(OrderFault::Answer { op })?);
    }
    Ok(())
}

fn is_complete<Op, Ret>(history: &History<Op, Ret>, order: &[OpId]) -> Result<(), OrderFault> {
    let mut is_there = vec![false; history.len()];
    for &op in order {
        if core::mem::replace(&mut is_there[op.index()], true) {
            return Err(OrderFault::Twice { op });
        }
    }
    for (op, record) in history.iter() {
        match (is_there[op.index()], record.effect_by()) {
            (true, _) if record.is_failed() => return Err(OrderFault::Failed { op }),
            (false, Some(_)) => return Err(OrderFault::Missing { op }),
            _ => {}
        }
    }
    Ok(())
}

fn respects_real_time<Op, Ret>(
    history: &History<Op, Ret>,
    order: &[OpId],
) -> Result<(), OrderFault> {
    let mut last_invoked: Option<OpId> = None;
    for &later in order {
        let record = history.get(later);
        if let Some(earlier) = last_invoked {
            let first = history.get(earlier);
            if record.precedes(first) {
                return Err(OrderFault::RealTime { earlier, later });
            }
            if record.invoked() < first.invoked() {
                continue;
            }
        }
        last_invoked = Some(later);
    }
    Ok(())
}
