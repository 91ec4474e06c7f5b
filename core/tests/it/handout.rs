//! What is handed to a state machine: in order, once, within a window, and reads after it.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use synod_core::{
    Entries, Entry, Generation, Handout, Instant, LoadId, LogIndex, SnapshotId, SnapshotMeta,
    Stamp, Ticket, TicketRange, Wake, Want,
};

/// What an entry of these tests weighs.
const WEIGHT: usize = Entry::OVERHEAD + 10;

fn at(index: u64) -> LogIndex {
    LogIndex(index)
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

/// The entries from `first` to `last`.
fn run(first: u64, last: u64) -> Entries {
    let entry = |_| Entry::command(Bytes::from_static(&[7; 10]));
    Entries::new(at(first), Stamp::of(1), (first..=last).map(entry))
}

fn snapshot(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(1),
            index: at(index),
        },
        stamp: Stamp::of(1),
        config: Bytes::new(),
        size: 0,
    }
}

/// A log whose first so many entries were handed out, and so many of them applied.
fn after(handed: u64, applied: u64) -> Handout {
    let mut handout = Handout::new(LogIndex::START);
    for index in 1..=handed {
        handout.hand(&run(index, index));
    }
    if applied > 0 {
        assert!(handout.applied_to(at(applied)));
    }
    handout
}

/// Reads that are taken on and wait for a place.
fn ripen(handout: &mut Handout, index: u64, tickets: TicketRange, until: u64, commit: u64) {
    for _ in tickets.iter() {
        handout.begin_read();
    }
    handout.ripen_at(at(index), tickets, ms(until), at(commit));
    handout.check();
}

// Entries.

#[test]
fn a_log_begins_behind_its_base_and_counts_nothing_as_applied() {
    let handout = Handout::new(at(4));
    assert_eq!((handout.handed(), handout.applied()), (at(4), at(0)));
    assert!(!handout.is_starting() && !handout.is_installing());
    assert_eq!(handout.next(at(4), 100), None);
    let want = Want {
        first: at(5),
        through: at(6),
        room: 100,
    };
    assert_eq!(handout.next(at(6), 100), Some(want));
}

#[test]
fn what_is_handed_out_counts_until_it_is_applied() {
    let mut handout = Handout::new(LogIndex::START);
    let limit = 3 * WEIGHT;
    handout.hand(&run(1, 2));
    assert_eq!(handout.next(at(9), limit).unwrap().room, WEIGHT);
    handout.hand(&run(3, 3));
    assert_eq!(handout.next(at(9), limit), None, "the window is full");
    assert_eq!(handout.next(at(9), limit + 1).unwrap().room, 1);

    assert!(handout.applied_to(at(1)));
    assert_eq!(handout.next(at(9), limit), None, "only the half of a part");
    assert!(handout.applied_to(at(2)));
    let want = handout.next(at(9), limit).unwrap();
    assert_eq!((want.first, want.room), (at(4), 2 * WEIGHT));
    assert!(handout.applied_to(at(3)));
    assert_eq!(handout.next(at(9), limit).unwrap().room, limit);
    assert_eq!(handout.handed(), at(3));
    handout.check();
}

#[test]
fn a_window_that_has_shrunk_is_full() {
    let handout = after(3, 0);
    assert_eq!(handout.next(at(9), WEIGHT), None);
}

#[test]
#[should_panic(expected = "entries are handed out in order")]
fn a_gap_is_not_handed_out() {
    after(2, 0).hand(&run(4, 4));
}

#[test]
#[should_panic(expected = "entries are handed out in order")]
fn nothing_is_handed_out_twice() {
    after(2, 0).hand(&run(2, 3));
}

#[test]
fn a_run_is_cut_at_what_is_committed_and_at_the_window() {
    let want = |through, room| Want {
        first: at(3),
        through: at(through),
        room,
    };
    let cut = |want: Want| want.cut(run(3, 6));
    assert_eq!(cut(want(9, 100 * WEIGHT)), run(3, 6));
    assert_eq!(cut(want(6, 4 * WEIGHT)), run(3, 6));
    assert_eq!(cut(want(5, 4 * WEIGHT)), run(3, 5));
    assert_eq!(cut(want(9, 3 * WEIGHT + 1)), run(3, 5));
    assert_eq!(cut(want(4, 3 * WEIGHT)), run(3, 4));
    assert_eq!(cut(want(5, 2 * WEIGHT)), run(3, 4));
    assert_eq!(cut(want(9, 1)), run(3, 3), "one above the limit moves, too");
}

#[test]
fn what_is_applied_is_told_once() {
    let mut handout = after(3, 2);
    assert!(!handout.applied_to(at(2)));
    assert!(!handout.applied_to(at(1)));
    assert_eq!(handout.applied(), at(2));
    assert!(handout.applied_to(at(3)));
    assert_eq!((handout.handed(), handout.applied()), (at(3), at(3)));
}

#[test]
fn a_durable_state_machine_that_is_ahead_is_handed_what_it_lacks() {
    let mut handout = after(2, 0);
    assert!(handout.applied_to(at(7)));
    assert_eq!((handout.handed(), handout.applied()), (at(7), at(7)));
    assert_eq!(handout.next(at(7), 100), None);
    let want = handout.next(at(9), 100).unwrap();
    assert_eq!((want.first, want.room), (at(8), 100));
}

// Entries that are not in memory.

#[test]
fn nothing_is_wanted_while_entries_are_read_back() {
    let mut handout = after(2, 2);
    handout.load(LoadId(5));
    assert_eq!(handout.next(at(9), 1000), None);
    assert!(!handout.loaded(LoadId(4)), "another's load");
    assert_eq!(handout.next(at(9), 1000), None);
    assert!(handout.loaded(LoadId(5)));
    assert!(!handout.loaded(LoadId(5)), "it was answered");
    assert_eq!(handout.next(at(9), 1000).unwrap().first, at(3));
}

#[test]
#[should_panic(expected = "one load at a time")]
fn one_load_is_under_way_at_a_time() {
    let mut handout = after(2, 2);
    handout.load(LoadId(5));
    handout.load(LoadId(6));
}

#[test]
fn of_what_is_read_back_the_part_that_is_next_is_handed_out() {
    let handout = after(4, 4);
    assert_eq!(handout.part_of(&run(5, 7), at(9)), Some(run(5, 7)));
    assert_eq!(handout.part_of(&run(2, 7), at(9)), Some(run(5, 7)));
    assert_eq!(handout.part_of(&run(2, 7), at(6)), Some(run(5, 6)));
    assert_eq!(
        handout.part_of(&run(2, 4), at(9)),
        None,
        "handed out before"
    );
    assert_eq!(handout.part_of(&run(6, 7), at(9)), None, "a gap before it");
    assert_eq!(handout.part_of(&run(2, 7), at(4)), None, "not committed");
}

#[test]
fn a_storage_that_lacks_entries_is_not_asked_before_the_pause_is_over() {
    let mut handout = after(2, 2);
    assert!(!handout.resume(ms(100)));
    handout.pause(ms(50));
    assert_eq!(handout.next(at(9), 1000), None);
    let why = "entries that storage did not have";
    assert_eq!(handout.deadline(), Some(Wake { at: ms(50), why }));
    assert!(!handout.resume(ms(50) - Duration::from_nanos(1)));
    assert_eq!(handout.next(at(9), 1000), None);
    assert!(handout.resume(ms(50)));
    assert!(!handout.resume(ms(50)));
    assert!(handout.next(at(9), 1000).is_some());
    assert_eq!(handout.deadline(), None);
}

// Snapshots.

#[test]
fn the_snapshot_of_the_start_comes_before_everything() {
    let mut handout = Handout::new(at(4));
    handout.restore_at_start(at(6));
    assert_eq!(handout.handed(), at(6));
    ripen(&mut handout, 6, row(1, 1), 100, 9);
    assert!(handout.is_starting());
    assert_eq!(handout.next(at(9), 1000), None);
    assert_eq!(handout.next_ripe(), None);

    assert_eq!(handout.starts_from(Some(&snapshot(6))), Some(snapshot(6)));
    assert!(!handout.is_starting());
    assert_eq!(handout.starts_from(Some(&snapshot(6))), None, "only once");
    assert_eq!(handout.next(at(9), 1000).unwrap().first, at(7));
    assert_eq!(handout.next_ripe(), Some((at(6), row(1, 1))));
}

#[test]
fn a_start_without_a_snapshot_restores_none() {
    let mut handout = Handout::new(at(4));
    assert_eq!(handout.starts_from(Some(&snapshot(4))), None);
    handout.restore_at_start(at(2));
    assert_eq!(handout.handed(), at(4), "the log begins later");
    assert_eq!(handout.starts_from(None), None);
    assert!(!handout.is_starting());
}

#[test]
fn a_state_machine_that_is_there_by_itself_needs_no_snapshot() {
    for (applied, restored) in [(5, Some(snapshot(6))), (6, None), (8, None)] {
        let mut handout = Handout::new(at(4));
        handout.restore_at_start(at(6));
        handout.applied_to(at(applied));
        assert_eq!(handout.starts_from(Some(&snapshot(6))), restored);
    }
}

#[test]
fn the_start_is_from_the_snapshot_that_storage_has_by_then() {
    let mut handout = Handout::new(at(4));
    handout.restore_at_start(at(6));
    assert_eq!(handout.starts_from(Some(&snapshot(8))), Some(snapshot(8)));
}

#[test]
fn nothing_follows_a_snapshot_that_is_not_durable() {
    let mut handout = after(4, 1);
    ripen(&mut handout, 4, row(1, 1), 100, 4);
    ripen(&mut handout, 10, row(2, 1), 100, 4);
    handout.install(at(10));
    assert!(handout.is_installing());
    assert_eq!(handout.handed(), at(10));
    assert_eq!(handout.next(at(12), 1000), None);
    assert_eq!(handout.next_ripe(), None);

    handout.installed(at(9));
    assert!(handout.is_installing(), "that was an older one");
    handout.installed(at(10));
    assert!(!handout.is_installing());
    let want = handout.next(at(12), 1000).unwrap();
    assert_eq!(
        (want.first, want.room),
        (at(11), 1000),
        "the window is empty"
    );
    assert_eq!(handout.next_ripe(), Some((at(4), row(1, 1))));
    assert_eq!(handout.next_ripe(), Some((at(10), row(2, 1))));
    handout.check();
}

#[test]
#[should_panic(expected = "does not go back")]
fn a_snapshot_of_the_past_is_not_installed() {
    after(4, 1).install(at(3));
}

#[test]
fn a_later_snapshot_has_its_own_word() {
    let mut handout = after(4, 1);
    handout.install(at(10));
    handout.install(at(20));
    handout.installed(at(10));
    assert!(handout.is_installing());
    handout.installed(at(20));
    assert!(!handout.is_installing());
    handout.installed(at(20));
    assert!(!handout.is_installing());
}

#[test]
fn a_snapshot_is_installed_whatever_the_state_machine_says_meanwhile() {
    let mut handout = after(4, 1);
    handout.install(at(10));
    handout.applied_to(at(12));
    handout.installed(at(10));
    assert!(!handout.is_installing());
    assert_eq!(handout.next(at(13), 1000).unwrap().first, at(13));
}

#[test]
fn a_snapshot_ends_what_was_under_way() {
    let mut handout = Handout::new(LogIndex::START);
    handout.restore_at_start(at(2));
    handout.load(LoadId(5));
    handout.pause(ms(50));
    handout.install(at(2)); // as little as that
    handout.install(at(10));
    handout.installed(at(10));
    assert!(!handout.loaded(LoadId(5)), "its entries are of the old log");
    assert!(!handout.resume(ms(50)));
    assert_eq!(handout.deadline(), None);
    assert_eq!(handout.starts_from(Some(&snapshot(10))), None);
    assert_eq!(handout.next(at(11), 1000).unwrap().first, at(11));
}

// Reads.

#[test]
fn a_read_ripens_when_its_place_is_handed_out() {
    let mut handout = after(4, 4);
    ripen(&mut handout, 6, row(1, 2), 100, 9);
    ripen(&mut handout, 5, row(7, 1), 100, 9);
    ripen(&mut handout, 5, row(3, 1), 100, 9);
    assert_eq!(handout.next_ripe(), None);
    handout.hand(&run(5, 5));
    assert_eq!(handout.next_ripe(), Some((at(5), row(3, 1))));
    assert_eq!(handout.next_ripe(), Some((at(5), row(7, 1))));
    assert_eq!(handout.next_ripe(), None);
    handout.hand(&run(6, 6));
    assert_eq!(handout.next_ripe(), Some((at(6), row(1, 2))));
    assert_eq!(handout.next_ripe(), None);
    assert_eq!(handout.pending_reads(), 0);
}

#[test]
fn every_read_is_pending_until_it_ends() {
    let mut handout = after(4, 4);
    for _ in 0..9 {
        handout.begin_read();
    }
    assert_eq!(handout.pending_reads(), 9);
    handout.refused(2);
    assert_eq!(handout.pending_reads(), 7);
    handout.ripen_at(at(4), row(1, 3), ms(100), at(4));
    handout.ripen_at(at(8), row(4, 3), ms(100), at(4));
    assert_eq!(handout.pending_reads(), 7);
    assert_eq!(handout.next_ripe(), Some((at(4), row(1, 3))));
    assert_eq!(handout.pending_reads(), 4);
    assert_eq!(handout.expire(ms(100), at(4)), [row(4, 3)]);
    assert_eq!(handout.pending_reads(), 1);
}

#[test]
fn reads_ahead_of_what_is_committed_wait_until_their_time_is_over() {
    let mut handout = after(4, 4);
    ripen(&mut handout, 8, row(1, 1), 70, 4);
    ripen(&mut handout, 9, row(2, 2), 50, 4);
    ripen(&mut handout, 7, row(9, 1), 60, 4);
    let why = "reads ahead of this node";
    let wake = |time| Some(Wake { at: ms(time), why });
    assert_eq!(handout.deadline(), wake(50), "the earliest, not the last");
    assert_eq!(handout.expire(ms(50) - Duration::from_nanos(1), at(4)), []);
    assert_eq!(handout.expire(ms(50), at(4)), [row(2, 2)]);
    assert_eq!(handout.deadline(), wake(60));
    assert_eq!(handout.expire(ms(70), at(4)), [row(9, 1), row(1, 1)]);
    assert_eq!(handout.deadline(), None);
    assert_eq!(handout.pending_reads(), 0);
    handout.check();
}

#[test]
fn a_read_whose_place_is_committed_is_never_late() {
    let mut handout = after(4, 4);
    ripen(&mut handout, 5, row(1, 1), 10, 5);
    assert_eq!(handout.deadline(), None, "it will come");
    assert_eq!(handout.expire(ms(1000), at(5)), []);

    ripen(&mut handout, 6, row(2, 1), 20, 5);
    ripen(&mut handout, 7, row(3, 1), 20, 5);
    // Meanwhile the first of them was committed.
    assert_eq!(handout.expire(ms(20), at(6)), [row(3, 1)]);
    assert_eq!(handout.deadline(), None);
    handout.hand(&run(5, 6));
    assert_eq!(handout.next_ripe(), Some((at(5), row(1, 1))));
    assert_eq!(handout.next_ripe(), Some((at(6), row(2, 1))));
}

#[test]
fn the_next_deadline_is_of_reads_that_are_still_ahead() {
    let mut handout = after(4, 4);
    ripen(&mut handout, 5, row(1, 1), 30, 4);
    ripen(&mut handout, 9, row(2, 1), 20, 4);
    ripen(&mut handout, 9, row(3, 1), 80, 4);
    assert_eq!(handout.expire(ms(20), at(5)), [row(2, 1)]);
    assert_eq!(handout.deadline().unwrap().at, ms(80));
}

#[test]
fn the_earlier_of_reads_and_pause_comes_first() {
    for (pause, reads, first) in [(20, 30, 20), (30, 20, 20)] {
        let mut handout = after(4, 4);
        handout.pause(ms(pause));
        ripen(&mut handout, 9, row(1, 1), reads, 4);
        assert_eq!(handout.deadline().unwrap().at, ms(first));
    }
}

// Any order of things.

#[derive(Clone, Debug)]
enum Op {
    Commit(u64),
    HandOut(usize),
    Apply(u64),
    /// The answer to the load under way, with so many entries.
    Loaded(u64),
    Snapshot(u64),
    Installed,
    Read(u64, u32),
    Time(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..6_u64).prop_map(Op::Commit),
        6 => (1..4 * WEIGHT).prop_map(Op::HandOut),
        4 => (0..6_u64).prop_map(Op::Apply),
        3 => (0..4_u64).prop_map(Op::Loaded),
        1 => (1..5_u64).prop_map(Op::Snapshot),
        2 => Just(Op::Installed),
        4 => (0..8_u64, 1..4_u32).prop_map(|(ahead, count)| Op::Read(ahead, count)),
        2 => (0..40_u64).prop_map(Op::Time),
    ]
}

/// What a state machine and a clerk who writes everything down have seen.
#[derive(Default)]
struct Clerk {
    commit: u64,
    seen: u64,
    applied: u64,
    installing: Option<u64>,
    /// What was handed out since the last snapshot.
    window: Vec<Entries>,
    load: Option<u64>,
    loads: u64,
    now: u64,
    tickets: u64,
    /// For each read its place and its time.
    reads: BTreeMap<u64, (u64, u64)>,
}

impl Clerk {
    fn hand(&mut self, handout: &mut Handout, part: &Entries) {
        assert_eq!(part.first().0, self.seen + 1, "in order");
        assert!(part.last().0 <= self.commit, "only what is committed");
        assert_eq!(self.installing, None, "behind the snapshot");
        handout.hand(part);
        self.seen = part.last().0;
        self.window.push(part.clone());
    }

    fn hand_out(&mut self, handout: &mut Handout, limit: usize) {
        while let Some(want) = handout.next(at(self.commit), limit) {
            let parts = self
                .window
                .iter()
                .filter(|part| part.last().0 > self.applied);
            let unapplied: usize = parts.map(Entries::weight).sum();
            assert_eq!(want.room + unapplied, limit);
            assert!(want.room > 0);
            // Each fifth entry is no more in memory.
            if want.first.0 % 5 == 0 {
                self.loads += 1;
                self.load = Some(self.loads);
                handout.load(LoadId(self.loads));
            } else {
                let end = want.first.0 + (4 - want.first.0 % 5);
                let part = want.cut(run(want.first.0, end));
                assert!(part.weight() <= want.room || part.len() == 1);
                self.hand(handout, &part);
            }
        }
        while let Some((index, tickets)) = handout.next_ripe() {
            assert!(index.0 <= self.seen && self.installing.is_none());
            for ticket in tickets.iter() {
                let read = self.reads.remove(&ticket.0).expect("answered once");
                assert_eq!(read.0, index.0);
            }
        }
        if self.installing.is_none() {
            assert!(self.reads.values().all(|(index, _)| *index > self.seen));
        }
    }

    fn play(&mut self, handout: &mut Handout, op: &Op) {
        match *op {
            Op::Commit(count) => self.commit += count,
            Op::HandOut(limit) => self.hand_out(handout, limit),
            Op::Apply(count) => {
                self.applied = (self.applied + count).min(self.seen).max(self.applied);
                handout.applied_to(at(self.applied));
            }
            Op::Loaded(count) => {
                let Some(load) = self.load.take() else { return };
                assert!(handout.loaded(LoadId(load)));
                let first = self.seen.max(2) - 1;
                let part = run(first, self.seen + count);
                match handout.part_of(&part, at(self.commit)) {
                    Some(part) => self.hand(handout, &part),
                    None if self.seen < self.commit => handout.pause(ms(self.now + 10)),
                    None => {}
                }
            }
            Op::Snapshot(ahead) => {
                self.commit += ahead;
                self.seen = self.commit;
                self.installing = Some(self.seen);
                self.load = None;
                self.window.clear();
                handout.install(at(self.seen));
            }
            Op::Installed => {
                if let Some(index) = self.installing.take() {
                    handout.installed(at(index));
                    self.applied = index;
                    handout.applied_to(at(index));
                }
            }
            Op::Read(ahead, count) => {
                let index = self.seen + ahead;
                let first = self.tickets;
                self.tickets += u64::from(count);
                let until = self.now + 30;
                for ticket in first..self.tickets {
                    self.reads.insert(ticket, (index, until));
                    handout.begin_read();
                }
                handout.ripen_at(at(index), row(first, count), ms(until), at(self.commit));
            }
            Op::Time(by) => {
                self.now += by;
                handout.resume(ms(self.now));
                for late in handout.expire(ms(self.now), at(self.commit)) {
                    for ticket in late.iter() {
                        let (index, until) = self.reads.remove(&ticket.0).expect("ended once");
                        assert!(index > self.commit && until <= self.now);
                    }
                }
                let (now, commit) = (self.now, self.commit);
                let late = |(index, until): &(u64, u64)| *index > commit && *until <= now;
                assert!(!self.reads.values().any(late), "none is forgotten");
                assert!(handout.deadline().is_none_or(|wake| wake.at > ms(now)));
            }
        }
        handout.check();
        assert_eq!(handout.handed(), at(self.seen));
        assert_eq!(handout.applied(), at(self.applied));
        assert_eq!(handout.pending_reads(), self.reads.len());
    }
}

proptest! {
    #[test]
    fn entries_come_in_order_and_reads_end_once(ops in vec(op(), 0..120)) {
        let (mut handout, mut clerk) = (Handout::new(LogIndex::START), Clerk::default());
        for op in &ops {
            clerk.play(&mut handout, op);
        }
        // In the end everything comes.
        clerk.play(&mut handout, &Op::Installed);
        clerk.play(&mut handout, &Op::Commit(10));
        for _ in 0..20 {
            clerk.play(&mut handout, &Op::Loaded(3));
            clerk.play(&mut handout, &Op::Time(10));
            clerk.play(&mut handout, &Op::HandOut(usize::MAX));
        }
        prop_assert_eq!(clerk.seen, clerk.commit);
        prop_assert_eq!(handout.pending_reads(), 0);
    }
}
