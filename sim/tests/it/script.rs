//! Histories of one register, in few words.

use core::ops::Range;

use synod_sim::history::{ClientId, History, Instant, OpId};
use synod_sim::linear::{Checker, Register, RegisterOp, RegisterRet, Verdict};

pub(crate) type Op = RegisterOp<(), u64>;
pub(crate) type Ret = RegisterRet<u64>;

/// A history; each method adds an operation of a client and answers with its id.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) history: History<Op, Ret>,
}

pub(crate) const fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

pub(crate) const fn write_op(value: u64) -> Op {
    RegisterOp::Write { key: (), value }
}

impl Script {
    fn answered(&mut self, client: u64, op: Op, ret: Ret, when: Range<u64>) -> OpId {
        let id = self.asked(client, op, when.start);
        self.history.complete(id, ret, at(when.end));
        id
    }

    pub(crate) fn asked(&mut self, client: u64, op: Op, from: u64) -> OpId {
        self.history.invoke(ClientId(client), op, at(from))
    }

    pub(crate) fn write(&mut self, client: u64, value: u64, when: Range<u64>) -> OpId {
        self.answered(client, write_op(value), RegisterRet::Written, when)
    }

    pub(crate) fn read(&mut self, client: u64, value: u64, when: Range<u64>) -> OpId {
        let op = RegisterOp::Read { key: () };
        self.answered(client, op, RegisterRet::Value(value), when)
    }

    pub(crate) fn cas(
        &mut self,
        client: u64,
        values: [u64; 2],
        did: bool,
        when: Range<u64>,
    ) -> OpId {
        let [expected, new] = values;
        let op = RegisterOp::Cas {
            key: (),
            expected,
            new,
        };
        self.answered(client, op, RegisterRet::Swapped(did), when)
    }

    pub(crate) fn unknown_write(&mut self, client: u64, value: u64, from: u64) -> OpId {
        let id = self.asked(client, write_op(value), from);
        self.history.unknown(id);
        id
    }

    pub(crate) fn failed_write(&mut self, client: u64, value: u64, from: u64) -> OpId {
        let id = self.asked(client, write_op(value), from);
        self.history.fail(id);
        id
    }

    pub(crate) fn verdict(&self) -> Verdict<()> {
        Checker::new(Register::new(0)).check(&self.history)
    }

    /// The order that the checker finds.
    #[track_caller]
    pub(crate) fn order(&self) -> Vec<OpId> {
        match self.verdict() {
            Verdict::Linearizable(parts) => parts.into_iter().flat_map(|part| part.order).collect(),
            other => panic!("not linearizable: {other}"),
        }
    }

    /// The operations that the checker blames.
    #[track_caller]
    pub(crate) fn blamed(&self) -> Vec<OpId> {
        match self.verdict() {
            Verdict::NotLinearizable(violation) => violation.ops,
            other => panic!("linearizable, or not known: {other}"),
        }
    }
}
