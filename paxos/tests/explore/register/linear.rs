//! Linearizability of a handful of operations: by trying all orders.

use super::member::{Op, Ret};

/// An operation that was asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Asked {
    /// Which operations had been answered before it was asked, a bit each.
    pub(super) after: u8,
    /// `None` while it waits, and for ever if its node has crashed.
    pub(super) ret: Option<Ret>,
}

/// Whether there is an order in which these operations, one after the other, give these answers: none
/// comes before one that was answered before it was asked, and one without an answer may have happened
/// or not.
pub(super) fn is_linearizable(ops: &[(u64, Op)], asked: &[Option<Asked>]) -> bool {
    let happened = |ask: &Asked| ask.ret != Some(Ret::Never);
    let open = asked.iter().enumerate();
    let open = open.filter(|(_, ask)| ask.as_ref().is_some_and(happened));
    let open = open.fold(0, |open, (op, _)| open | 1 << op);
    goes_on(ops, asked, open, 0)
}

/// The rest of an order, `value` being there.
fn goes_on(ops: &[(u64, Op)], asked: &[Option<Asked>], open: u8, value: u8) -> bool {
    let known = |ask: &Asked| matches!(ask.ret, Some(Ret::Done(_) | Ret::Mismatch(_)));
    let mut rest = asked.iter().enumerate();
    if rest.all(|(op, ask)| open & (1 << op) == 0 || !ask.as_ref().is_some_and(known)) {
        return true;
    }
    let mut each = asked.iter().enumerate();
    each.any(|(op, ask)| {
        let Some(ask) = ask.as_ref().filter(|_| open & (1 << op) != 0) else {
            return false;
        };
        // One that it follows and that is still to come; whoever has not answered may come later.
        let too_early = asked.iter().enumerate().any(|(other, earlier)| {
            let waits = open & (1 << other) != 0 && ask.after & (1 << other) != 0;
            waits && earlier.as_ref().is_some_and(known)
        });
        let next = match (ops[op].1, ask.ret) {
            (Op::Read, Some(Ret::Done(told))) => (told == value).then_some(value),
            (Op::Write(new), Some(Ret::Done(told))) => (told == new).then_some(new),
            (Op::Create(new), Some(Ret::Done(told))) => (value == 0 && told == new).then_some(new),
            (Op::Create(_), Some(Ret::Mismatch(told))) => {
                (value != 0 && told == value).then_some(value)
            }
            (Op::Delete, Some(Ret::Done(told))) => (told == 0).then_some(0),
            (Op::Read | Op::Write(_) | Op::Delete, Some(Ret::Mismatch(_)))
            | (_, Some(Ret::Never)) => None,
            (Op::Read, None | Some(Ret::Unknown)) => Some(value),
            (Op::Write(new), None | Some(Ret::Unknown)) => Some(new),
            (Op::Create(new), None | Some(Ret::Unknown)) => {
                Some(if value == 0 { new } else { value })
            }
            (Op::Delete, None | Some(Ret::Unknown)) => Some(0),
        };
        let next = next.filter(|_| !too_early);
        next.is_some_and(|next| goes_on(ops, asked, open & !(1 << op), next))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: &[(u64, Op)] = &[(1, Op::Write(1)), (2, Op::Read), (2, Op::Read)];

    fn judged(rets: [Option<Ret>; 3], after: [u8; 3]) -> bool {
        let asked = rets.into_iter().zip(after);
        let asked: Vec<_> = asked
            .map(|(ret, after)| Some(Asked { after, ret }))
            .collect();
        is_linearizable(OPS, &asked)
    }

    #[test]
    fn reads_may_not_go_back() {
        let (one, none) = (Some(Ret::Done(1)), Some(Ret::Done(0)));
        for write in [None, one, Some(Ret::Unknown)] {
            assert!(judged([write, none, one], [0, 0, 0b10]));
            assert!(judged([write, one, one], [0, 0, 0b10]));
            assert!(judged([write, one, none], [0, 0, 0]));
            assert!(!judged([write, one, none], [0, 0, 0b10]));
        }
        assert!(
            !judged([one, none, one], [0, 0b1, 0b10]),
            "it was there before"
        );
        assert!(!judged([Some(Ret::Never), one, None], [0, 0, 0]));
    }
}
