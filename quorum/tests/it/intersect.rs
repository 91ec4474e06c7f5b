//! Proofs of intersection, against comparing all quorums with all.

use crate::reference::{any_quorum, minimal, nodes, quorums};
use proptest::prelude::*;
use synod_core::NodeId;
use synod_quorum::{
    Evidence, Expr, Grid, NodeSet, PaxosPhases, Phases, Quorum, ReadWrite, Role, SystemError,
};

fn all_meet(a: &Quorum, b: &Quorum) -> bool {
    let b = quorums(b);
    quorums(a)
        .iter()
        .all(|a| b.iter().all(|b| !a.is_disjoint(*b)))
}

fn all_three_meet(a: &Quorum, b: &Quorum) -> bool {
    let (a, b) = (minimal(a), minimal(b));
    let meet = |a: &NodeSet| {
        let with = |x: &NodeSet| b.iter().all(|y| !(*a & *x & *y).is_empty());
        b.iter().all(with)
    };
    a.iter().all(meet)
}

/// The evidence names a minimal quorum of the system it is said to be of.
fn is_minimal(evidence: &Evidence, quorum: &Quorum) -> NodeSet {
    let set = quorum.set(evidence.nodes.iter().copied());
    assert_eq!(set.len(), evidence.nodes.len(), "strangers in {evidence}");
    assert_eq!(
        quorum.shrink(set),
        Some(set),
        "{evidence} is not minimal in {quorum}"
    );
    set
}

fn evidence_of_two(error: &SystemError) -> [&Evidence; 2] {
    match error {
        SystemError::Disjoint(a, b) => [a, b],
        other => panic!("{other}"),
    }
}

proptest! {
    #[test]
    fn two_ways(a in any_quorum(6), b in any_quorum(6)) {
        let proof = ReadWrite::new(&a, &b);
        prop_assert_eq!(proof.is_ok(), all_meet(&a, &b));
        if let Err(error) = proof {
            let [left, right] = evidence_of_two(&error);
            prop_assert!(is_minimal(left, &a).is_disjoint(is_minimal(right, &b)));
            prop_assert_eq!((left.role, right.role), (Role::Read, Role::Write));
        }
    }

    #[test]
    fn three_ways(phase1 in any_quorum(5), fast in any_quorum(5)) {
        // the dual meets every phase-1 quorum, so only the fast quorums are in question
        let proof = PaxosPhases::with_fast(&phase1, &phase1.dual(), &fast);
        prop_assert_eq!(proof.is_ok(), all_three_meet(&phase1, &fast));
        if let Err(error) = proof {
            let SystemError::DisjointThree(one, two, three) = error else {
                panic!("{error}");
            };
            let common = is_minimal(&one, &phase1) & is_minimal(&two, &fast);
            prop_assert!((common & is_minimal(&three, &fast)).is_empty());
            prop_assert_eq!((one.role, two.role), (Role::Phase1, Role::Fast));
        }
    }

    #[test]
    fn raft_needs_elections_to_meet_as_well(election in any_quorum(5), replication in any_quorum(5)) {
        let safe = all_meet(&election, &replication) && all_meet(&election, &election);
        prop_assert_eq!(Phases::new(&election, &replication).is_ok(), safe);
    }

    #[test]
    fn the_dual_always_meets(quorum in any_quorum(6)) {
        let (a, b) = (ReadWrite::from_reads(&quorum), ReadWrite::from_writes(&quorum));
        prop_assert_eq!(ReadWrite::new(a.reads(), a.writes()), Ok(a));
        prop_assert_eq!(ReadWrite::new(b.reads(), b.writes()), Ok(b));
    }

    #[test]
    fn a_joint_of_two_proved_ones_is_proved(
        (a, b) in (any_quorum(5), any_quorum(5)),
        (c, d) in (any_quorum(5), any_quorum(5)),
    ) {
        let pair = |a: &Quorum, b: &Quorum| Phases::new(a, b).or_else(|_| Phases::new(b, a));
        let (Ok(old), Ok(new)) = (pair(&a, &b), pair(&c, &d)) else {
            return Ok(());
        };
        let joint = Phases::joint(&old, &new).unwrap();
        // with itself, and during the change with either side
        for side in [&joint, &old, &new] {
            prop_assert!(all_meet(joint.election(), side.replication()));
            prop_assert!(all_meet(side.election(), joint.replication()));
            prop_assert!(all_meet(joint.election(), side.election()));
        }
        prop_assert_eq!(Phases::new(joint.election(), joint.replication()), Ok(joint));
    }

    #[test]
    fn at_most_one_value_is_choosable(
        phase1 in any_quorum(5),
        fast in any_quorum(5),
        // each node: silent, or its vote for one of three values
        votes in prop::collection::vec(0..4_u8, 5),
    ) {
        let Ok(system) = PaxosPhases::with_fast(&phase1, &phase1.dual(), &fast) else {
            return Ok(());
        };
        let who = |value: u8| -> NodeSet {
            (0..5).filter(|place| votes[*place] == value).collect()
        };
        let replied = NodeSet::first(5) - who(0);
        let choosable = |value: &u8| system.choosable(replied, who(*value));
        for value in 1..4 {
            // by its definition: some fast quorum whose replies are all for the value
            let expected = quorums(&fast).iter().any(|q| (*q & replied).is_subset(who(value)));
            prop_assert_eq!(choosable(&value), expected);
        }
        if phase1.is_quorum(replied) {
            prop_assert!((1..4).filter(choosable).count() <= 1);
        }
    }
}

#[test]
fn counts_meet_as_the_formulas_say() {
    for n in 1..=8_usize {
        let count = |need| Quorum::count(need, nodes(0..n as u64)).unwrap();
        for a in 1..=n {
            for b in 1..=n {
                assert_eq!(PaxosPhases::new(&count(a), &count(b)).is_ok(), a + b > n);
                assert_eq!(
                    ReadWrite::counts(nodes(0..n as u64), a, b).is_ok(),
                    a + b > n
                );
                let raft = Phases::new(&count(a), &count(b));
                assert_eq!(raft.is_ok(), a + b > n && 2 * a > n);
                let fast = PaxosPhases::with_fast(&count(a), &count(n), &count(b));
                assert_eq!(fast.is_ok(), a + 2 * b > 2 * n, "{n}: {a} and {b}");
            }
        }
    }
}

#[test]
fn fast_quorums_of_a_classic_majority() {
    // Lamport, Fast Paxos §2.2: ⌈3N/4⌉; one less is refused
    for (n, need) in [
        (3, 3),
        (4, 3),
        (5, 4),
        (6, 5),
        (7, 6),
        (8, 6),
        (9, 7),
        (11, 9),
    ] {
        let majority = Quorum::majority(nodes(0..n)).unwrap();
        let with = |need| {
            let fast = Quorum::count(need, nodes(0..n)).unwrap();
            PaxosPhases::with_fast(&majority, &majority, &fast)
        };
        assert!(with(need).is_ok(), "{n}");
        assert!(
            matches!(with(need - 1), Err(SystemError::DisjointThree(..))),
            "{n}"
        );
    }
}

#[test]
fn large_systems_are_proved() {
    let majority = Quorum::majority(nodes(0..64)).unwrap();
    assert!(Phases::same(&majority).is_ok());
    let half = Quorum::count(32, nodes(0..64)).unwrap();
    assert!(Phases::new(&majority, &half).is_ok());
    assert!(Phases::same(&half).is_err());
    let fast = Quorum::count(48, nodes(0..64)).unwrap();
    assert!(PaxosPhases::with_fast(&majority, &majority, &fast).is_ok());
    let less = Quorum::count(47, nodes(0..64)).unwrap();
    assert!(PaxosPhases::with_fast(&majority, &majority, &less).is_err());

    let groups = (0..8).map(|group| nodes(group * 8..(group + 1) * 8));
    assert!(Phases::same(&Quorum::hierarchical(groups).unwrap()).is_ok());
    let grid = Grid::new(nodes(0..64), 8).unwrap();
    let [row, column, both, one_per_row] = [
        grid.row(),
        grid.column(),
        grid.row_and_column(),
        grid.one_per_row(),
    ]
    .map(|expr| Quorum::new(expr).unwrap());
    assert!(PaxosPhases::new(&row, &column).is_ok());
    assert!(PaxosPhases::new(&one_per_row, &row).is_ok());
    assert!(Phases::same(&both).is_ok());
    assert!(Phases::same(&row).is_err());

    // 64 different weights: too many minimal quorums to look at
    let weight = |id: u64| (NodeId(id), 1000 + id as u32 * id as u32);
    let weighted = Quorum::weighted_majority((0..64).map(weight)).unwrap();
    assert!(Phases::same(&weighted).is_ok());
    let shifted = |need| Quorum::weighted(need, (0..64).map(weight)).unwrap();
    assert!(matches!(
        ReadWrite::new(&shifted(1000), &shifted(40_000)),
        Err(SystemError::Disjoint(..)),
    ));
}

#[test]
fn thresholds_over_different_weights_are_no_proof() {
    // together above the total of either, and yet apart
    let heavy = |heaviest: u64| {
        let weight = |id| (NodeId(id), if id == heaviest { 5 } else { 1 });
        Quorum::weighted(5, (1..=3).map(weight)).unwrap()
    };
    let refused = ReadWrite::new(&heavy(1), &heavy(2)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "read quorum {n1} and write quorum {n2} have no node in common",
    );
}

#[test]
fn what_cannot_be_proved_is_said_and_not_assumed() {
    let weighted = |shift: u64| {
        let weight = |id: u64| (NodeId(id), 1000 + (id as u32 * 37 + shift as u32 * 11) % 64);
        Quorum::weighted_majority((0..40).map(weight)).unwrap()
    };
    let error = ReadWrite::new(&weighted(0), &weighted(1)).unwrap_err();
    assert!(matches!(error, SystemError::TooComplex(_)), "{error}");
    // each side is small, but not all pairs of its quorums
    let weight = |id: u64| (NodeId(id), 100 + (1_u32 << id) % 97);
    let fast = Quorum::weighted_majority((0..15).map(weight)).unwrap();
    let all = Quorum::count(15, nodes(0..15)).unwrap();
    let error = PaxosPhases::with_fast(&all, &all, &fast).unwrap_err();
    assert!(matches!(error, SystemError::TooComplex(_)), "{error}");
}

#[test]
fn members_of_both_sides_share_one_list() {
    let reads = Quorum::new(Expr::all(nodes([2, 9]))).unwrap();
    let writes = Quorum::new(Expr::any(nodes([2, 5]))).unwrap();
    let refused = ReadWrite::new(&reads, &writes).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "read quorum {n2, n9} and write quorum {n5} have no node in common",
    );
    let system = ReadWrite::new(&reads, &reads.dual()).unwrap();
    assert_eq!(system.members(), nodes([2, 9]));
    let writes = Quorum::new(Expr::all(nodes([2, 5]))).unwrap();
    let system = ReadWrite::new(&reads, &writes).unwrap();
    assert_eq!(system.members(), nodes([2, 5, 9]));
    assert_eq!(system.reads().members(), system.writes().members());
    assert!(system.writes().is_quorum(NodeSet::from_bits(0b011)));
}

#[test]
fn phases_have_their_members_in_order() {
    let phases = Phases::majority(nodes([9, 2, 5])).unwrap();
    assert_eq!(phases.members(), nodes([2, 5, 9]));
    let places = [2, 5, 9, 4].map(|id| phases.position(NodeId(id)));
    assert_eq!(places, [Some(0), Some(1), Some(2), None]);
}

#[test]
fn too_many_members_together() {
    let low = Quorum::majority(nodes(0..40)).unwrap();
    let high = Quorum::majority(nodes(30..70)).unwrap();
    let message = "70 nodes are more than the limit of 64";
    assert_eq!(Phases::new(&low, &high).unwrap_err().to_string(), message);
    assert_eq!(Quorum::joint(&low, &high).unwrap_err().to_string(), message);
}

#[test]
fn read_one_write_all_and_its_kin() {
    let system = ReadWrite::read_one_write_all(nodes(1..=4)).unwrap();
    assert_eq!(
        (system.read_resilience(), system.write_resilience()),
        (Ok(3), Ok(0))
    );
    assert!(system.check_writes().is_ok());
    let majority = ReadWrite::majority(nodes(1..=4)).unwrap();
    assert_eq!(majority.resilience(), Ok(1));
    let larger = ReadWrite::majority(nodes(1..=5)).unwrap();
    assert_eq!(larger.resilience(), Ok(2));
    assert!(majority.check_writes().is_ok());
    let skewed = ReadWrite::counts(nodes(1..=4), 3, 2).unwrap();
    assert_eq!(
        skewed.check_writes().unwrap_err().to_string(),
        "write quorum {n1, n2} and write quorum {n3, n4} have no node in common",
    );
    let paxos = PaxosPhases::majority(nodes(1..=3)).unwrap();
    assert_eq!(
        Ok(&paxos),
        PaxosPhases::new(paxos.phase1(), paxos.phase2()).as_ref()
    );
    assert!(paxos.fast().is_none() && paxos.members().len() == 3);
    assert!(!paxos.choosable(NodeSet::EMPTY, NodeSet::EMPTY));
}
