//! Plans, against a game played out: the two players of the zero-sum game learn by themselves, and
//! the value lies between what either has secured.

use crate::reference::{any_quorum, minimal, nodes};
use proptest::prelude::*;
use synod_core::NodeId;
use synod_quorum::{Demand, Grid, NodeSet, Plan, PlanError, Quorum, ReadWrite};

/// Bounds on the least load, by multiplicative weights over all minimal quorums: nodes raise their
/// price when they are loaded, and each round takes the cheapest quorums. The mean over the rounds
/// of what was paid is a lower bound, the load of the mean choice an upper bound.
fn learn(system: &ReadWrite, fraction: f64, capacity: &[[f64; 2]]) -> (f64, f64) {
    let sides = [minimal(system.reads()), minimal(system.writes())];
    let shares = [fraction, 1.0 - fraction];
    let cost = |place: usize, side: usize| shares[side] / capacity[place][side];
    let members = system.members().len();
    let worst = (0..members)
        .flat_map(|place| [cost(place, 0) + cost(place, 1)])
        .fold(0.0, f64::max);
    let rounds = 4000;
    let rate = (members as f64).ln().max(0.1).sqrt() / f64::from(rounds).sqrt();
    let mut weights = vec![1.0; members];
    let mut loads = vec![0.0; members];
    let mut paid = 0.0;
    for _ in 0..rounds {
        let sum: f64 = weights.iter().sum();
        let price = |set: &NodeSet, side: usize| -> f64 {
            set.iter()
                .map(|place| weights[place] / sum * cost(place, side))
                .sum()
        };
        let mut now = vec![0.0; members];
        for (side, quorums) in sides.iter().enumerate() {
            let by_price = |a: &&NodeSet, b: &&NodeSet| price(a, side).total_cmp(&price(b, side));
            let cheapest = quorums.iter().min_by(by_price).unwrap();
            paid += price(cheapest, side);
            cheapest
                .iter()
                .for_each(|place| now[place] += cost(place, side));
        }
        for place in 0..members {
            loads[place] += now[place];
            weights[place] *= (rate * now[place] / worst).exp();
        }
        let largest = weights.iter().copied().fold(0.0, f64::max);
        weights.iter_mut().for_each(|weight| *weight /= largest);
    }
    let rounds = f64::from(rounds);
    (
        paid / rounds,
        loads.iter().copied().fold(0.0, f64::max) / rounds,
    )
}

/// What must be true of any plan for a demand of one case.
fn check_strategy(plan: &Plan, system: &ReadWrite, fraction: f64, capacity: &[[f64; 2]]) {
    let mut loads = vec![0.0; system.members().len()];
    let sides = [
        (plan.reads(), system.reads(), fraction),
        (plan.writes(), system.writes(), 1.0 - fraction),
    ];
    for (side, (choices, quorum, share)) in sides.into_iter().enumerate() {
        let sum: f64 = choices.iter().map(|choice| choice.probability).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{plan:?}");
        for choice in choices {
            assert!(quorum.is_quorum(choice.quorum));
            for class in plan.classes() {
                let part = (choice.quorum & *class).len() as f64 / class.len() as f64;
                for place in *class {
                    loads[place] += share * choice.probability * part / capacity[place][side];
                }
            }
        }
    }
    assert_eq!(loads.len(), plan.loads().len());
    for (mine, told) in loads.iter().zip(plan.loads()) {
        assert!(
            (mine - told).abs() < 1e-6 * (1.0 + told),
            "{loads:?} {plan:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_load_is_the_value_of_the_game(
        reads in any_quorum(6),
        fraction in prop_oneof![Just(0.0), Just(1.0), Just(0.5), 0.0..1.0],
        classes in prop::collection::vec(0..3_usize, 6),
    ) {
        let system = ReadWrite::from_reads(&reads);
        let capacity: Vec<[f64; 2]> =
            classes.iter().map(|class| [[1.0, 1.0], [4.0, 2.0], [1.0, 0.5]][*class]).collect();
        let mut demand = Demand::reads(fraction);
        for (node, [read, write]) in system.members().iter().zip(&capacity) {
            demand = demand.node(*node, *read, *write);
        }
        let plan = system.plan(&demand).unwrap();
        check_strategy(&plan, &system, fraction, &capacity);
        prop_assert!((plan.load() - plan.lower_bound()).abs() < 1e-6);
        prop_assert!((plan.load() * plan.capacity() - 1.0).abs() < 1e-9);
        let (low, high) = learn(&system, fraction, &capacity);
        prop_assert!(high - low < 0.2, "the reference has not learned: {low} {high}");
        prop_assert!(low - 1e-6 <= plan.load() && plan.load() <= high + 1e-6,
            "{} is not within {low} and {high}", plan.load());
    }

    #[test]
    fn quorums_with_members_to_spare(reads in any_quorum(6), failures in 1..3_usize) {
        let system = ReadWrite::from_reads(&reads);
        let survives = |quorum: &Quorum, set: NodeSet| {
            let mut dead = (0..64_u64).map(NodeSet::from_bits);
            dead.all(|dead| dead.len() > failures || quorum.is_quorum(set - dead))
        };
        let possible = |quorum: &Quorum| survives(quorum, quorum.all());
        match system.plan(&Demand::reads(0.5).surviving(failures)) {
            Err(error) => {
                prop_assert!(matches!(error, PlanError::Resilience { .. }), "{}", error);
                prop_assert!(!possible(system.reads()) || !possible(system.writes()));
            }
            Ok(plan) => {
                for choice in plan.reads() {
                    prop_assert!(survives(system.reads(), choice.quorum));
                }
                for choice in plan.writes() {
                    prop_assert!(survives(system.writes(), choice.quorum));
                }
                prop_assert!((plan.load() - plan.lower_bound()).abs() < 1e-6);
                let without = system.plan(&Demand::reads(0.5)).unwrap();
                prop_assert!(without.load() <= plan.load() + 1e-9);
            }
        }
    }

    #[test]
    fn a_mixed_demand_is_bounded_by_its_own_proof(
        reads in any_quorum(6),
        cases in prop::collection::vec((0.0..=1.0, 0.1..5.0), 1..4),
    ) {
        let plan = ReadWrite::from_reads(&reads).plan(&Demand::mixed(cases)).unwrap();
        prop_assert!((plan.load() - plan.lower_bound()).abs() < 1e-6, "{plan:?}");
        // a mean of inverses is at least the inverse of the mean
        prop_assert!(plan.capacity() * plan.load() > 1.0 - 1e-9);
    }
}

#[test]
fn large_systems_are_planned() {
    let majority = ReadWrite::majority(nodes(0..64)).unwrap();
    let plan = majority.plan(&Demand::reads(0.5)).unwrap();
    assert!((plan.load() - 33.0 / 64.0).abs() < 1e-9);
    assert!((plan.network_load(0.5) - 33.0).abs() < 1e-9);
}

#[test]
fn numbers_out_of_range_are_named() {
    let system = ReadWrite::majority(nodes(1..=3)).unwrap();
    let error = |demand: Demand| system.plan(&demand).unwrap_err().to_string();
    let fraction = "the fraction of reads (1.5) must be between 0 and 1";
    assert_eq!(error(Demand::reads(1.5)), fraction);
    assert_eq!(
        error(Demand::reads(f64::NAN)),
        "the fraction of reads (NaN) must be between 0 and 1",
    );
    assert_eq!(
        error(Demand::mixed([(0.5, 0.0)])),
        "the weight of a fraction of reads (0) must be above 0 and finite",
    );
    assert!(system.plan(&Demand::mixed([])).is_err());
    assert_eq!(
        error(Demand::reads(0.5).node(NodeId(2), 1.0, -3.0)),
        "the capacity of n2 (-3) must be above 0 and finite",
    );
    assert_eq!(
        error(Demand::reads(0.5).surviving(2)),
        "no read quorum survives 2 failures",
    );
}

/// Capacities per second or per year: the plan is the same.
#[test]
fn the_unit_of_time_does_not_matter() {
    let system = ReadWrite::majority(nodes(1..=5)).unwrap();
    let speeds = [4.0, 2.0, 2.0, 1.0, 1.0];
    let capacity = |scale: f64| {
        let mut demand = Demand::reads(0.5);
        for (node, speed) in nodes(1..=5).into_iter().zip(speeds) {
            demand = demand.node(node, speed * scale, speed * scale);
        }
        let plan = system.plan(&demand).unwrap();
        assert!((plan.load() / plan.lower_bound() - 1.0).abs() < 1e-6);
        plan.capacity() / scale
    };
    // three nodes per operation of nodes that do ten; the fastest is in every one
    assert!((capacity(1.0) - 3.0).abs() < 1e-6, "{}", capacity(1.0));
    for scale in [1e-12, 1e-3, 1e3, 1e12] {
        let relative = capacity(scale) / capacity(1.0);
        assert!((relative - 1.0).abs() < 1e-6, "{relative} at {scale}");
    }
}

/// Sixteen nodes that all differ are 2^16 combinations, which is the limit.
#[test]
fn combinations_of_members_are_looked_at_up_to_their_limit() {
    let error = |count: u64| {
        let system = ReadWrite::read_one_write_all(nodes(1..=count)).unwrap();
        let mut demand = Demand::reads(0.5).surviving(1);
        for node in 1..=count {
            demand = demand.node(NodeId(node), node as f64, 1.0);
        }
        system.plan(&demand).unwrap_err().to_string()
    };
    assert_eq!(error(16), "no write quorum survives 1 failures");
    assert!(
        error(17).contains("combinations of members"),
        "{}",
        error(17)
    );
}

/// Like members with a weight above one: the plan knows that all of them are needed.
#[test]
fn a_class_of_heavy_members_counts_with_all_of_its_weight() {
    let [a, b, c, d] = [1, 2, 3, 4].map(NodeId);
    let heavy = Quorum::weighted(10, [(a, 3), (b, 3), (c, 3), (d, 1)]).unwrap();
    let plan = ReadWrite::from_reads(&heavy)
        .plan(&Demand::reads(1.0))
        .unwrap();
    assert_eq!(plan.reads().len(), 1);
    assert_eq!(plan.reads()[0].quorum.len(), 4);
    assert!((plan.load() - 1.0).abs() < 1e-9);
}

/// Nodes of many speeds and hours of many kinds: the plan is as good as its own proof.
#[test]
fn plans_of_unlike_members_are_optimal() {
    let grid = |columns| Quorum::new(Grid::new(nodes(1..=12), columns).unwrap().row()).unwrap();
    for system in [
        ReadWrite::from_reads(&grid(3)),
        ReadWrite::from_reads(&grid(4)),
        ReadWrite::majority(nodes(1..=7)).unwrap(),
    ] {
        for step in [1, 3, 5, 7] {
            let mut demand = Demand::mixed([(0.9, 3.0), (0.5, 2.0), (0.1, 1.0)]);
            for (place, node) in system.members().iter().enumerate() {
                let speed = (place * step % 11 + 1) as f64;
                demand = demand.node(*node, 2.0 * speed, speed);
            }
            let plan = system.plan(&demand).unwrap();
            let gap = plan.load() - plan.lower_bound();
            assert!(gap.abs() < 1e-9, "{} {gap}", plan.load());
        }
    }
}
