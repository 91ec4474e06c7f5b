//! The machine as it is breaks no rule.

use super::Single;
use super::setups::{ONE_APART, Setup, TWO_AND_TWO};
use crate::search::{Report, limit, search};
use crate::world::World;

fn nothing_breaks(setups: &[Setup], default: usize) {
    println!("{}", Report::HEAD);
    for setup in setups {
        let mut world = World::new(Single::new(setup.clone()));
        let report = search(&mut world, limit(default));
        println!("{}", report.row(setup.name));
        if let Some((breach, steps)) = &report.failure {
            panic!("{}: {breach:?}\n{}", setup.name, steps.join("\n"));
        }
    }
}

#[test]
fn no_rule_is_broken_in_classic_ballots() {
    let setups = [
        Setup::classic()
            .with_rounds(2)
            .named("3 acceptors, proposers apart, 1 round each"),
        Setup::classic(),
        Setup::crashing(),
        Setup::together(),
        Setup::nudged(),
    ];
    nothing_breaks(&setups, 50_000);
}

#[test]
fn no_rule_is_broken_in_fast_ballots() {
    let setups = [
        Setup::fast(),
        Setup::fast()
            .opened("fast, 4 acceptors, opened, votes are lost")
            .blind(&[11]),
        Setup::fast().opened("fast, 4 acceptors, opened"),
        Setup::fast_uncoordinated().opened("fast, 4 acceptors, opened, uncoordinated"),
        Setup::fast_crashing().opened("fast, 4 acceptors, opened, 1 crash"),
        Setup::fast_of_five().opened("fast, 5 acceptors, opened"),
    ];
    nothing_breaks(&setups, 50_000);
}

#[test]
fn no_rule_is_broken_after_collisions() {
    let one = |setup: Setup, name| setup.opened(name).after(ONE_APART).calm();
    let two = |setup: Setup, name| setup.opened(name).after(TWO_AND_TWO).calm();
    let setups = [
        one(Setup::fast(), "fast, 4 acceptors, votes 3 and 1"),
        two(Setup::fast(), "fast, 4 acceptors, votes 2 and 2"),
        two(
            Setup::fast_uncoordinated(),
            "fast, 4 acceptors, votes 2 and 2, uncoordinated",
        ),
        one(
            Setup::fast_crashing(),
            "fast, 4 acceptors, votes 3 and 1, 1 crash",
        ),
        two(
            Setup::fast_crashing(),
            "fast, 4 acceptors, votes 2 and 2, 1 crash",
        ),
    ];
    nothing_breaks(&setups, 50_000);
}
