//! Reads at a leader: each waits for a round that began after it and for its index.

use synod_core::{LeaderRead, LeaderReads, LogIndex, NodeId, Reader, Round, Ticket, TicketRange};

const ALL: (Round, LogIndex) = (Round(99), LogIndex(99));

fn here(first: u64, count: u32) -> Reader {
    Reader::Here(TicketRange {
        first: Ticket(first),
        count,
    })
}

fn peer(ticket: u64) -> Reader {
    Reader::Peer {
        node: NodeId(2),
        life: 5,
        ticket: Ticket(ticket),
    }
}

fn take(reads: &mut LeaderReads, round: Round, commit: LogIndex) -> Vec<Reader> {
    core::iter::from_fn(|| reads.next_confirmed(round, commit))
        .map(|read| read.reader)
        .collect()
}

#[test]
fn a_read_waits_for_its_round_and_its_index() {
    let mut reads = LeaderReads::default();
    reads.here(Ticket(1), LogIndex(5), Round(3));
    assert_eq!(reads.next_confirmed(Round(2), LogIndex(9)), None);
    assert_eq!(reads.next_confirmed(Round(9), LogIndex(4)), None);
    assert_eq!(reads.next_round(), Some(Round(3)));
    let read = LeaderRead {
        reader: here(1, 1),
        index: LogIndex(5),
        round: Round(3),
    };
    assert_eq!(reads.next_confirmed(Round(3), LogIndex(5)), Some(read));
    assert_eq!(reads.next_confirmed(Round(3), LogIndex(5)), None);
    assert_eq!(reads.next_round(), None);
}

#[test]
fn a_round_answers_what_waited_for_it_and_no_more() {
    let mut reads = LeaderReads::default();
    reads.here(Ticket(1), LogIndex(5), Round(1));
    reads.peer(NodeId(2), 5, Ticket(7), LogIndex(5), Round(2));
    reads.here(Ticket(2), LogIndex(6), Round(3));
    assert_eq!(reads.len(), 3);
    assert_eq!(
        take(&mut reads, Round(2), LogIndex(9)),
        [here(1, 1), peer(7)]
    );
    assert_eq!(reads.next_round(), Some(Round(3)));
    assert_eq!(reads.len(), 1);
    assert_eq!(take(&mut reads, ALL.0, ALL.1), [here(2, 1)]);
}

#[test]
fn reads_in_a_row_wait_as_one() {
    let mut reads = LeaderReads::default();
    assert!(reads.is_empty());
    reads.here(Ticket(1), LogIndex(5), Round(1));
    assert!(!reads.is_empty());
    reads.here(Ticket(2), LogIndex(5), Round(1));
    reads.here(Ticket(3), LogIndex(5), Round(1));
    assert_eq!(reads.len(), 1);
    assert_eq!(take(&mut reads, Round(1), LogIndex(5)), [here(1, 3)]);
    assert_eq!(reads.len(), 0);
    assert!(reads.is_empty());
}

#[test]
fn reads_that_differ_wait_apart() {
    for (ticket, index, round) in [(3, 5, 1), (2, 6, 1), (2, 5, 2)] {
        let mut reads = LeaderReads::default();
        reads.here(Ticket(1), LogIndex(5), Round(1));
        reads.here(Ticket(ticket), LogIndex(index), Round(round));
        assert_eq!(reads.len(), 2);
        assert_eq!(take(&mut reads, Round(1), LogIndex(5))[0], here(1, 1));
    }
    let mut reads = LeaderReads::default();
    reads.here(Ticket(1), LogIndex(5), Round(1));
    reads.peer(NodeId(2), 5, Ticket(2), LogIndex(5), Round(1));
    reads.here(Ticket(2), LogIndex(5), Round(1));
    let order = [here(1, 1), peer(2), here(2, 1)];
    assert_eq!(take(&mut reads, Round(1), LogIndex(5)), order);
}

#[test]
fn the_end_takes_out_all_in_order() {
    let mut reads = LeaderReads::default();
    reads.peer(NodeId(2), 5, Ticket(7), LogIndex(5), Round(1));
    reads.here(Ticket(1), LogIndex(5), Round(2));
    assert!(reads.end().eq([peer(7), here(1, 1)]));
    assert!(reads.is_empty());
}

#[test]
#[should_panic(expected = "rounds and what is committed only grow")]
fn rounds_grow() {
    let mut reads = LeaderReads::default();
    reads.here(Ticket(1), LogIndex(5), Round(2));
    reads.here(Ticket(2), LogIndex(5), Round(1));
}

#[test]
#[should_panic(expected = "rounds and what is committed only grow")]
fn what_is_committed_grows() {
    let mut reads = LeaderReads::default();
    reads.here(Ticket(1), LogIndex(5), Round(2));
    reads.peer(NodeId(2), 5, Ticket(2), LogIndex(4), Round(2));
}
