//! What a follower passes on: in order, within limits, and each ends once.

use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::hash::DefaultHasher;

use bytes::Bytes;
use synod_core::{
    Denial, Entry, Forward, Forwards, Instant, LogIndex, Lost, Outcome, Refusal, Ticket,
    TicketRange,
};

use crate::codec::round_trip;
use crate::golden::golden;

/// What a command of these tests weighs.
const WEIGHT: usize = Entry::OVERHEAD + 4;
const MUCH: usize = 1 << 20;

fn command(number: u64) -> Bytes {
    Bytes::from(format!("c{number:03}"))
}

fn ms(time: u64) -> Instant {
    Instant::from_millis(time)
}

fn row(first: u64, count: u32) -> TicketRange {
    TicketRange {
        first: Ticket(first),
        count,
    }
}

/// Commands with these tickets gather.
fn gather(forwards: &mut Forwards, tickets: core::ops::Range<u64>) {
    for ticket in tickets {
        forwards.propose(Ticket(ticket), command(ticket));
    }
}

fn proposal(first: u64, count: u64) -> Option<Forward> {
    Some(Forward::Propose {
        first: Ticket(first),
        commands: (first..first + count).map(command).collect(),
    })
}

fn question(ticket: u64) -> Option<Forward> {
    Some(Forward::Read {
        ticket: Ticket(ticket),
    })
}

#[test]
fn commands_leave_in_order_as_much_as_fits() {
    let mut forwards = Forwards::default();
    assert!(!forwards.is_gathering());
    gather(&mut forwards, 5..10);
    assert!(forwards.is_gathering());
    assert_eq!(forwards.bytes(), 5 * WEIGHT);
    assert_eq!(forwards.next(ms(10), 2 * WEIGHT), proposal(5, 2));
    assert_eq!(forwards.next(ms(10), 2 * WEIGHT - 1), proposal(7, 1));
    assert_eq!(forwards.next(ms(10), 1), proposal(8, 1), "one always fits");
    assert!(forwards.is_gathering());
    assert_eq!(forwards.next(ms(10), MUCH), proposal(9, 1));
    assert!(!forwards.is_gathering());
    assert_eq!(forwards.next(ms(10), MUCH), None);
    assert_eq!(forwards.bytes(), 5 * WEIGHT, "all wait for an answer");
}

#[test]
fn a_new_row_begins_once_the_last_was_sent() {
    let mut forwards = Forwards::default();
    gather(&mut forwards, 1..3);
    assert_eq!(forwards.next(ms(10), MUCH), proposal(1, 2));
    gather(&mut forwards, 7..8);
    assert_eq!(forwards.next(ms(10), MUCH), proposal(7, 1));
}

#[test]
#[should_panic(expected = "as a row")]
fn tickets_of_what_gathers_are_in_a_row() {
    let mut forwards = Forwards::default();
    gather(&mut forwards, 1..3);
    gather(&mut forwards, 4..5);
}

#[test]
fn a_command_fits_as_long_as_the_limit_is_not_exceeded() {
    let mut forwards = Forwards::default();
    assert!(forwards.fits(&command(1), 1), "where nothing waits");
    gather(&mut forwards, 1..2);
    assert!(forwards.fits(&command(2), 2 * WEIGHT));
    assert!(!forwards.fits(&command(2), 2 * WEIGHT - 1));
    assert!(forwards.next(ms(10), MUCH).is_some());
    assert!(
        !forwards.fits(&command(2), 2 * WEIGHT - 1),
        "it still waits"
    );
    assert!(forwards.proposed(row(1, 1)));
    assert!(forwards.fits(&command(2), 1));
}

#[test]
fn reads_in_a_row_are_one_question() {
    let mut forwards = Forwards::default();
    for ticket in [1, 2, 3, 5, 6] {
        forwards.read(Ticket(ticket));
    }
    assert!(forwards.is_gathering());
    assert_eq!(forwards.bytes(), 0);
    assert_eq!(forwards.next(ms(10), MUCH), question(1));
    assert!(forwards.is_gathering());
    assert_eq!(forwards.next(ms(10), MUCH), question(5));
    assert!(!forwards.is_gathering());
    assert_eq!(forwards.read_at(Ticket(5)), Some(row(5, 2)));
    assert_eq!(forwards.read_at(Ticket(1)), Some(row(1, 3)));
    assert_eq!(forwards.read_at(Ticket(1)), None, "answered before");
}

#[test]
fn commands_leave_before_reads() {
    let mut forwards = Forwards::default();
    forwards.read(Ticket(90));
    gather(&mut forwards, 1..2);
    assert_eq!(forwards.next(ms(10), MUCH), proposal(1, 1));
    assert_eq!(forwards.next(ms(10), MUCH), question(90));
}

#[test]
fn a_read_after_a_question_was_sent_needs_another() {
    let mut forwards = Forwards::default();
    forwards.read(Ticket(1));
    assert_eq!(forwards.next(ms(10), MUCH), question(1));
    forwards.read(Ticket(2));
    assert_eq!(forwards.next(ms(10), MUCH), question(2));
}

#[test]
fn only_the_answer_that_names_all_of_them_ends_the_wait() {
    let mut forwards = Forwards::default();
    gather(&mut forwards, 1..6);
    assert_eq!(forwards.next(ms(10), 2 * WEIGHT), proposal(1, 2));
    assert_eq!(forwards.next(ms(10), MUCH), proposal(3, 3));
    assert!(!forwards.proposed(row(1, 3)));
    assert!(!forwards.proposed(row(2, 2)));
    assert_eq!(forwards.read_at(Ticket(1)), None, "it is no read");
    assert_eq!(forwards.bytes(), 5 * WEIGHT);
    assert!(forwards.proposed(row(3, 3)), "answers come in any order");
    assert_eq!(forwards.bytes(), 2 * WEIGHT);
    assert!(!forwards.proposed(row(3, 3)));
    assert!(forwards.proposed(row(1, 2)));
    assert_eq!((forwards.bytes(), forwards.deadline()), (0, None));
}

#[test]
fn an_answer_to_proposals_answers_no_read() {
    let mut forwards = Forwards::default();
    forwards.read(Ticket(1));
    assert_eq!(forwards.next(ms(10), MUCH), question(1));
    assert!(!forwards.proposed(row(1, 1)));
    assert_eq!(forwards.read_at(Ticket(1)), Some(row(1, 1)));
}

#[test]
fn what_is_not_sent_is_not_answered() {
    let mut forwards = Forwards::default();
    gather(&mut forwards, 1..2);
    forwards.read(Ticket(90));
    assert!(!forwards.proposed(row(1, 1)));
    assert_eq!(forwards.read_at(Ticket(90)), None);
}

#[test]
fn what_is_not_answered_in_time_expires() {
    let mut forwards = Forwards::default();
    assert_eq!(forwards.expire(ms(99)), None);
    gather(&mut forwards, 1..3);
    forwards.read(Ticket(90));
    assert_eq!(forwards.deadline(), None, "nothing was sent");
    assert_eq!(forwards.next(ms(10), MUCH), proposal(1, 2));
    assert_eq!(forwards.next(ms(20), MUCH), question(90));
    gather(&mut forwards, 3..4);
    assert_eq!(forwards.deadline(), Some(ms(10)));
    assert_eq!(forwards.expire(ms(10) - Duration::from_nanos(1)), None);
    assert_eq!(forwards.expire(ms(10)), Some(Lost::Unanswered(row(1, 2))));
    assert_eq!(forwards.bytes(), WEIGHT);
    assert_eq!(forwards.expire(ms(10)), None);
    assert_eq!(forwards.deadline(), Some(ms(20)));
    assert_eq!(forwards.expire(ms(20)), Some(Lost::Reads(row(90, 1))));
    assert_eq!(forwards.deadline(), None);
    assert!(!forwards.proposed(row(1, 2)), "too late");
    assert_eq!(forwards.next(ms(30), MUCH), proposal(3, 1));
}

#[test]
fn what_is_given_up_says_what_became_of_it() {
    let mut forwards = Forwards::default();
    assert_eq!(forwards.give_up(), []);
    gather(&mut forwards, 1..3);
    forwards.read(Ticket(90));
    assert!(forwards.next(ms(10), MUCH).is_some());
    assert!(forwards.next(ms(10), MUCH).is_some());
    gather(&mut forwards, 3..6);
    forwards.read(Ticket(91));
    forwards.read(Ticket(93));
    let lost = [
        Lost::Unsent(row(3, 3)),
        Lost::Reads(row(91, 1)),
        Lost::Reads(row(93, 1)),
        Lost::Unanswered(row(1, 2)),
        Lost::Reads(row(90, 1)),
    ];
    assert_eq!(forwards.give_up(), lost);
    assert_eq!(forwards.give_up(), []);
    assert_eq!((forwards.bytes(), forwards.deadline()), (0, None));
    assert!(!forwards.is_gathering());
    assert_eq!(forwards.next(ms(10), MUCH), None);
}

#[test]
fn tickets_make_no_difference() {
    let sent = |first: u64| {
        let mut forwards = Forwards::default();
        for ticket in first..first + 2 {
            forwards.propose(Ticket(ticket), command(0));
        }
        forwards.read(Ticket(first));
        assert!(forwards.next(ms(10), WEIGHT).is_some());
        let mut hasher = DefaultHasher::new();
        forwards.hash(&mut hasher);
        (forwards, hasher.finish())
    };
    assert_eq!(sent(1), sent(100));
}

#[test]
fn a_denial_is_a_refusal() {
    assert_eq!(Refusal::from(Denial::NotLeader), Refusal::NotLeader);
    let busy = Refusal::Busy {
        what: "what is under way at the leader",
        limit: 7,
    };
    assert_eq!(Refusal::from(Denial::Busy { limit: 7 }), busy);
    let long = Refusal::TooLarge { len: 9, limit: 7 };
    assert_eq!(Refusal::from(Denial::TooLarge { len: 9, limit: 7 }), long);
}

#[test]
fn answers_have_these_bytes() {
    let busy = Denial::Busy { limit: 7 };
    let long = Denial::TooLarge { len: 9, limit: 7 };
    golden(&Denial::NotLeader, "01");
    golden(&busy, "02 07000000");
    golden(&long, "03 09000000 07000000");
    golden(&Outcome::Accepted(LogIndex(5)), "01 0500000000000000");
    golden(&Outcome::Refused(busy), "02 02 07000000");
    golden(&Outcome::Unknown, "03");
    golden(&synod_core::Round(9), "0900000000000000");
    for outcome in [Outcome::Refused(long), Outcome::Accepted(LogIndex(5))] {
        round_trip(&outcome);
    }
}

#[test]
fn unknown_answers_are_refused() {
    use synod_core::{Decode, DecodeError};
    let unknown = |what, tag| Some(DecodeError::Tag { what, tag });
    let denial = |tag| Denial::decode_all(Bytes::copy_from_slice(&[tag])).err();
    let outcome = |tag| Outcome::decode_all(Bytes::copy_from_slice(&[tag])).err();
    assert_eq!(denial(0), unknown("denial", 0));
    assert_eq!(denial(5), unknown("denial", 5));
    assert_eq!(outcome(0), unknown("outcome", 0));
    assert_eq!(outcome(4), unknown("outcome", 4));
}
