//! The rules of an acceptor in fast rounds, one by one, on a machine whose peers and disk the test plays.

use synod_core::{Encode, Entries, Entry, EntryKind, LogIndex, Stamp};

use synod_paxos::Ballot;
use synod_paxos::log::{Accept, Body, Name, Votes};

use super::cluster::i;
use super::solo::{Solo, accept, b, votes};

const LEADER: Ballot = b(2, 2);
const FAST: Stamp = Stamp { number: 3, node: 2 };

fn named(number: u64) -> Entry {
    let name = Name { life: 9, number };
    Entry {
        kind: EntryKind::Named,
        payload: [&b"x"[..], &name.to_bytes()].concat().into(),
    }
}

fn offer(slot: u64, numbers: &[u64]) -> Body {
    let entries = numbers.iter().map(|number| named(*number));
    Body::Offer(Entries::new(LogIndex(slot), FAST, entries))
}

fn voted(slot: u64, count: u32, number: u64) -> Body {
    Body::Voted(vec![Votes {
        first: LogIndex(slot),
        count,
        name: Name { life: 9, number },
    }])
}

/// Node 1 of five follows node 2, which has opened everything behind slot 1.
fn following() -> Solo {
    let mut solo = Solo::with(1, 5, |builder| builder.fast_rounds());
    solo.say(2, LEADER, opening());
    solo.settle();
    solo.take();
    solo
}

fn opening() -> Body {
    Body::Accept(Accept {
        entries: Entries::empty(i(2), LEADER.stamp()),
        chosen: i(0),
        pushed: i(1),
        round: synod_core::Round(0),
        fast: Some(i(2)),
    })
}

/// The votes that were sent to node 3 since, of those that were sent to all voters.
fn said(solo: &mut Solo) -> Vec<Votes> {
    let all = solo.take().into_iter();
    let to_three = all.filter(|(to, _)| *to == 3);
    to_three
        .filter_map(|(_, body)| match body {
            Body::Voted(votes) => Some(votes),
            _ => None,
        })
        .flatten()
        .collect()
}

#[test]
fn it_votes_once_in_a_slot() {
    let mut solo = following();
    solo.say(3, LEADER, offer(2, &[7]));
    solo.settle();
    assert_eq!(Body::Voted(said(&mut solo)), voted(2, 1, 7));
    // Another value in the same slot: it says what it has voted for, again.
    solo.say(3, LEADER, offer(2, &[8, 9]));
    solo.settle();
    let again = said(&mut solo);
    let slots: Vec<_> = again
        .iter()
        .map(|run| (run.first, run.name.number))
        .collect();
    assert!(
        slots.contains(&(i(2), 7)) && slots.contains(&(i(3), 9)),
        "{again:?}"
    );
    assert!(!slots.contains(&(i(2), 8)), "{again:?}");
    assert_eq!(solo.image.get(i(2)).unwrap().1, &named(7));
}

/// A vote is told once it is durable.
#[test]
fn a_vote_is_durable_before_it_is_told() {
    let mut solo = following();
    solo.say(3, LEADER, offer(2, &[7]));
    assert_eq!(said(&mut solo), []);
    solo.settle();
    assert_eq!(Body::Voted(said(&mut solo)), voted(2, 1, 7));
}

#[test]
fn it_votes_only_in_open_slots_of_what_it_has_promised() {
    // Nothing is open.
    let mut solo = Solo::with(1, 5, |builder| builder.fast_rounds());
    solo.say(
        2,
        LEADER,
        accept(Entries::empty(i(1), LEADER.stamp()), 0, 1),
    );
    solo.settle();
    solo.take();
    solo.say(3, LEADER, offer(2, &[7]));
    solo.settle();
    assert_eq!(solo.image.get(i(2)), None);
    // Slot 1 is not open, 2 is.
    let mut solo = following();
    solo.say(3, LEADER, offer(1, &[7, 8]));
    solo.settle();
    assert_eq!(solo.image.get(i(1)), None);
    assert_eq!(solo.image.get(i(2)).unwrap().1, &named(8));
    // Another ballot is promised: what was open is not.
    solo.say(3, b(4, 3), Body::Prepare { after: i(0) });
    solo.settle();
    solo.say(4, LEADER, offer(3, &[9]));
    let late = Entries::new(i(3), Stamp { number: 5, node: 3 }, [named(9)]);
    solo.say(4, b(4, 3), Body::Offer(late));
    solo.settle();
    assert_eq!(solo.image.get(i(3)), None);
    // Nor far away.
    let mut solo = following();
    solo.say(3, LEADER, offer(5_000, &[7]));
    solo.settle();
    assert_eq!(solo.status().last, i(0));
}

/// What the leader proposes itself is of the later ballot: it goes over a fast vote, and no fast vote goes
/// over it.
#[test]
fn the_leaders_own_proposal_comes_after_fast_votes() {
    let mut solo = following();
    solo.say(3, LEADER, offer(2, &[7]));
    solo.settle();
    solo.say(2, LEADER, accept(votes(2, LEADER, &["mine", "next"]), 0, 2));
    solo.settle();
    solo.say(3, LEADER, offer(2, &[7, 8]));
    solo.settle();
    for slot in [2, 3] {
        assert_eq!(solo.image.get(i(slot)).unwrap().0, LEADER.stamp());
    }
}

/// A leader alone opens slots: votes for what nobody has opened count nothing.
#[test]
fn votes_for_what_is_not_open_count_nothing() {
    let mut solo = Solo::with(1, 5, |builder| builder.fast_rounds());
    let idle = accept(Entries::empty(i(1), LEADER.stamp()), 0, 1);
    solo.say(2, LEADER, idle);
    solo.settle();
    for voter in 2..=5 {
        solo.say(voter, LEADER, voted(1, 1, 7));
    }
    solo.settle();
    assert_eq!(solo.status().committed, i(0));
}

/// A fast quorum of five is four.
#[test]
fn a_value_is_chosen_by_a_fast_quorum_of_different_voters() {
    let mut solo = following();
    solo.say(3, LEADER, offer(2, &[7]));
    solo.settle();
    // Slot 1 is the leader's.
    solo.say(2, LEADER, accept(votes(1, LEADER, &["one"]), 1, 1));
    solo.settle();
    for voter in [3, 3, 3, 9, 4] {
        solo.say(voter, LEADER, voted(2, 1, 7));
    }
    solo.settle();
    assert_eq!(
        solo.status().committed,
        i(1),
        "its own vote, and those of 3 and 4"
    );
    solo.say(5, LEADER, voted(2, 1, 8));
    solo.settle();
    assert_eq!(solo.status().committed, i(1));
    solo.say(2, LEADER, voted(2, 1, 7));
    solo.settle();
    assert_eq!(solo.status().committed, i(2));
    // Its own vote carries the fast ballot still: it was cast.
    assert_eq!(solo.image.get(i(2)).unwrap().0, FAST);
}

/// One who has voted for another value takes the chosen one on with the mark of the leader's own ballot: it
/// never says that it has voted for it in the fast one.
#[test]
fn a_vote_that_was_not_cast_is_not_made_up() {
    let mut solo = following();
    solo.say(2, LEADER, accept(votes(1, LEADER, &["one"]), 1, 1));
    solo.say(4, LEADER, offer(2, &[8]));
    solo.settle();
    solo.say(3, LEADER, offer(2, &[7]));
    for voter in 2..=5 {
        solo.say(voter, LEADER, voted(2, 1, 7));
    }
    solo.settle();
    assert_eq!(solo.status().committed, i(2));
    let (stamp, entry) = solo.image.get(i(2)).unwrap();
    assert_eq!((stamp, entry), (LEADER.stamp(), &named(7)));
}

/// Fast votes on disk are not held to be the leader's: a restart counts none of them for what is chosen.
#[test]
fn a_restart_holds_no_fast_vote() {
    let mut solo = following();
    solo.say(2, LEADER, accept(votes(1, LEADER, &["one"]), 1, 1));
    solo.say(3, LEADER, offer(2, &[7]));
    solo.settle();
    let mut again = Solo::on(1, 5, solo.image.clone(), |builder| builder.fast_rounds());
    again.say(
        2,
        LEADER,
        accept(Entries::empty(i(3), LEADER.stamp()), 2, 1),
    );
    again.settle();
    assert_eq!(
        again.status().committed,
        i(1),
        "what is in slot 2 is a vote"
    );
    assert_eq!(again.status().last, i(2));
}
