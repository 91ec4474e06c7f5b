use synod_core::{Decode, Encode, NodeId};
use synod_paxos::Ballot;

const fn ballot(round: u64, proposer: u64) -> Ballot {
    Ballot {
        round,
        proposer: NodeId(proposer),
    }
}

#[test]
fn rounds_come_before_proposers() {
    let mut ballots = [ballot(3, 1), ballot(2, 9), ballot(2, 1), Ballot::START];
    ballots.sort_unstable();
    assert_eq!(
        ballots,
        [Ballot::START, ballot(2, 1), ballot(2, 9), ballot(3, 1)]
    );
}

#[test]
fn the_next_ballot_is_the_first_of_its_kind_behind() {
    let me = NodeId(7);
    for round in 0..6 {
        let before = ballot(round, 99);
        let (classic, fast) = (before.next_classic(me), before.next_fast(me));
        assert!(!classic.is_fast() && fast.is_fast());
        for next in [classic, fast] {
            assert!(next > before && next.proposer == me);
            assert!(next.round <= round + 2, "{next} skips one behind {before}");
        }
    }
}

#[test]
fn bytes_there_and_back() {
    let one = ballot(0x0102, 0x0304);
    assert_eq!(Ballot::decode_all(one.to_bytes()).unwrap(), one);
    let last = ballot(Ballot::LAST_ROUND, 1);
    assert_eq!(Ballot::decode_all(last.to_bytes()).unwrap(), last);
    let beyond = ballot(Ballot::LAST_ROUND + 1, 1);
    let error = Ballot::decode_all(beyond.to_bytes()).unwrap_err();
    assert!(error.to_string().contains("2^62"), "{error}");
}

#[test]
fn a_stamp_is_the_ballot() {
    let one = ballot(5, 3);
    assert_eq!(Ballot::from(one.stamp()), one);
    assert_eq!(one.to_string(), "B5f.3");
}
