//! The machine as it is breaks no rule.

use std::collections::HashSet;

use crate::search::{Limits, Report, picture, search, search_each};
use crate::starts::{BARE, Start};
use crate::world::{Budget, State, World};

fn nothing_breaks(starts: &[Start]) {
    let limits = Limits::from_env();
    println!("{}", Report::HEAD);
    for start in starts {
        for (name, budget) in start.budgets() {
            let (mut world, state) = start.make(None, budget);
            let report = search(&mut world, &state, limits);
            println!("{}", report.row(&format!("{start:?}, {name}")));
            if let Some((breach, steps)) = &report.failure {
                panic!("{start:?}, {name}: {breach}\n{}", steps.join("\n"));
            }
        }
    }
}

#[test]
fn no_rule_is_broken_from_the_beginning() {
    nothing_breaks(&Start::ALL[..5]);
}

#[test]
fn no_rule_is_broken_from_deep_states() {
    nothing_breaks(&Start::ALL[5..]);
}

/// The scripts lead where they say.
#[test]
fn starts_are_what_they_are_called() {
    let mut seen = String::new();
    for start in Start::ALL {
        let (world, state) = start.make(None, BARE);
        let under_way = state.net.len();
        let line = format!("{start:?}: {}; {under_way} under way", picture(&world, &state));
        seen = seen + &line + "\n";
    }
    println!("{seen}");
    assert_eq!(seen.trim_end(), STARTS.trim());
}

const STARTS: &str = "";

/// What nodes show, whatever they are called, and how much is under way.
fn nameless(world: &World, state: &State) -> Vec<String> {
    let nodes = (0..world.count()).map(|node| world.view(state, node).to_string());
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort();
    nodes.push(state.net.len().to_string());
    nodes
}

/// With and without the reduction by symmetry the same is seen, but for names.
#[test]
fn symmetry_loses_nothing() {
    let small = Budget {
        terms: 2,
        beats: 1,
        proposals: 1,
        messages: 3,
        ..BARE
    };
    let crash = Budget {
        crashes: 1,
        proposals: 0,
        ..small
    };
    for (start, budget, alike) in [
        (Start::BirthOfTwo, small, 0b11),
        (Start::BirthOfTwo, crash, 0b11),
        (Start::BirthOfThree, crash, 0b111),
        (Start::Led, small, 0b110),
    ] {
        let seen = |alike: u8| {
            let (mut world, mut state) = start.make(None, budget);
            state.alike = alike;
            let mut levels: Vec<HashSet<Vec<String>>> = Vec::new();
            let limits = Limits {
                depth: 6,
                states: 1_000_000,
                ..Limits::from_env()
            };
            let report = search_each(&mut world, &state, limits, |world, state, depth| {
                levels.resize_with(levels.len().max(depth + 1), HashSet::new);
                levels[depth].insert(nameless(world, state));
            });
            (levels, report)
        };
        let ((few, reduced), (all, whole)) = (seen(alike), seen(0));
        println!("{start:?}: {} states of {}", reduced.distinct, whole.distinct);
        assert_eq!(few, all, "{start:?}");
        assert!(reduced.distinct < whole.distinct);
    }
}
