//! Session guarantees.

use core::ops::Range;

use synod_core::LogIndex;
use synod_sim::history::{ClientId, History, Instant, OpId};
use synod_sim::linear::session::{Access, Guarantee, SessionFault, Versions, check_sessions};

type Done = Access<char, u32>;

/// A history of what was done, and the log: x is 1, then y is 2, then x is 3, then x is gone.
#[derive(Default)]
struct Sessions(History<Done, ()>);

impl Sessions {
    fn add(&mut self, client: u64, done: Done, when: Range<u64>) -> OpId {
        let at = Instant::from_nanos;
        let id = self.0.invoke(ClientId(client), done, at(when.start));
        self.0.complete(id, (), at(when.end));
        id
    }

    fn read(&mut self, client: u64, key: char, value: Option<u32>, when: Range<u64>) -> OpId {
        self.add(client, Access::Read { key, value }, when)
    }

    fn write(&mut self, client: u64, index: u64, when: Range<u64>) -> OpId {
        let index = LogIndex(index);
        self.add(client, Access::Write { index }, when)
    }

    fn faults(&self) -> Vec<SessionFault> {
        let mut versions = Versions::new();
        let log = [('x', Some(1)), ('y', Some(2)), ('x', Some(3)), ('x', None)];
        for (index, (key, value)) in (1..).zip(log) {
            versions.write(LogIndex(10 * index), key, value);
        }
        check_sessions(&versions, &self.0, |_, record| Some(record.op().clone()))
    }

    #[track_caller]
    fn breaks(&self, guarantee: Guarantee, earlier: OpId, later: OpId) {
        let client = ClientId(1);
        let fault = SessionFault::Broken {
            guarantee,
            client,
            earlier,
            later,
        };
        assert_eq!(self.faults(), [fault]);
    }
}

#[test]
fn a_session_on_one_lagging_replica_is_fine() {
    let mut sessions = Sessions::default();
    sessions.read(1, 'x', None, 0..1);
    sessions.read(1, 'x', Some(1), 2..3);
    sessions.read(1, 'y', None, 4..5);
    sessions.read(1, 'y', Some(2), 6..7);
    sessions.read(1, 'x', Some(1), 8..9);
    sessions.write(1, 40, 10..11);
    sessions.read(1, 'x', None, 12..13);
    assert_eq!(sessions.faults(), []);
}

#[test]
fn own_writes_are_to_be_seen() {
    let mut sessions = Sessions::default();
    let write = sessions.write(1, 30, 0..1);
    let read = sessions.read(1, 'x', Some(1), 2..3);
    sessions.breaks(Guarantee::ReadYourWrites, write, read);
}

/// The write was to x; that y is as it was before index 20 shows that it was not seen.
#[test]
fn own_writes_count_for_other_keys_too() {
    let mut sessions = Sessions::default();
    let write = sessions.write(1, 30, 0..1);
    let read = sessions.read(1, 'y', None, 2..3);
    sessions.breaks(Guarantee::ReadYourWrites, write, read);
}

#[test]
fn time_does_not_run_backwards() {
    let mut sessions = Sessions::default();
    let new = sessions.read(1, 'x', Some(3), 0..1);
    let old = sessions.read(1, 'x', Some(1), 2..3);
    sessions.breaks(Guarantee::MonotonicReads, new, old);
}

#[test]
fn time_does_not_run_backwards_between_keys() {
    let mut sessions = Sessions::default();
    let new = sessions.read(1, 'x', Some(3), 0..1);
    let old = sessions.read(1, 'y', None, 2..3);
    sessions.breaks(Guarantee::MonotonicReads, new, old);
}

#[test]
fn writes_stay_in_order() {
    let mut sessions = Sessions::default();
    let first = sessions.write(1, 30, 0..1);
    let second = sessions.write(1, 20, 2..3);
    sessions.breaks(Guarantee::MonotonicWrites, first, second);
}

#[test]
fn a_write_comes_after_what_was_read() {
    let mut sessions = Sessions::default();
    let read = sessions.read(1, 'x', Some(3), 0..1);
    let write = sessions.write(1, 20, 2..3);
    sessions.breaks(Guarantee::WritesFollowReads, read, write);
}

#[test]
fn sessions_and_concurrent_operations_owe_each_other_nothing() {
    let mut sessions = Sessions::default();
    sessions.read(1, 'x', Some(3), 0..10);
    sessions.read(2, 'x', Some(1), 20..30);
    sessions.read(1, 'x', Some(1), 5..15);
    sessions.write(1, 20, 9..12);
    assert_eq!(sessions.faults(), []);
}

/// x is absent twice: before index 10 and from 40 on. The doubt is for the reader, but not both
/// ways.
#[test]
fn a_value_that_was_there_twice_gets_the_benefit_of_the_doubt() {
    let mut sessions = Sessions::default();
    sessions.read(1, 'x', None, 0..1);
    sessions.read(1, 'x', Some(3), 2..3);
    let gone = sessions.read(1, 'x', None, 4..5);
    assert_eq!(sessions.faults(), []);
    let back = sessions.read(1, 'x', Some(3), 6..7);
    sessions.breaks(Guarantee::MonotonicReads, gone, back);
}

#[test]
fn what_was_never_there_is_told() {
    let mut sessions = Sessions::default();
    let read = sessions.read(1, 'x', Some(9), 0..1);
    let other = sessions.read(1, 'z', Some(1), 2..3);
    let client = ClientId(1);
    let fault = |read| SessionFault::NeverThere { client, read };
    assert_eq!(sessions.faults(), [fault(read), fault(other)]);
    assert_eq!(
        fault(read).to_string(),
        "op0 of c1 returned a value that its key never had"
    );
}
