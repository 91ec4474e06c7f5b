//! The machine as it is breaks no rule.

use std::collections::HashSet;

use synod_raft::Body;

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
        let under_way = state.net.iter().map(|id| &world.messages[*id as usize]);
        let under_way =
            under_way.map(|e| format!("; {} to {}: {}", e.from, e.to, kind(&e.message.body)));
        let under_way = under_way.collect::<String>();
        let line = format!("{start:?}: {}{under_way}", picture(&world, &state));
        seen = seen + &line + "\n";
    }
    println!("{seen}");
    assert_eq!(seen.trim_end(), STARTS.trim());
}

fn kind(body: &Body) -> String {
    match body {
        Body::Append(append) => format!("{:?}", append.entries),
        Body::Snapshot(piece) => format!("a snapshot's bytes from {} on", piece.offset),
        other => format!("{other:?}"),
    }
}

/// For each node the terms of its log, behind a slash what is proposed there.
const STARTS: &str = "
Alone: n1 follower T0 [] commit 0
BirthOfTwo: n1 follower T0 [] commit 0 | n2 follower T0 [] commit 0
BirthOfThree: n1 follower T0 [] commit 0 | n2 follower T0 [] commit 0 | n3 follower T0 [] commit 0
Led: n1 leader T1 [1] commit 1 | n2 follower T1 [1] commit 1 | n3 follower T1 [1] commit 1
Forwarding: n1 leader T1 [1] commit 1 | n2 follower T1 [1] commit 1 | n3 follower T1 [1] commit 1
Behind: n1 leader T1 [1 1/10] commit 2 | n2 follower T1 [1 1/10] commit 1 | n3 follower T1 [1] commit 1
TwoLeaders: n1 leader T1 [1 1/10 1/11] commit 1 | n2 follower T2 [1 2] commit 1 | n3 leader T2 [1 2] commit 2
Divergent: n1 follower T1 [1 1/10 1/11] commit 0 | n2 follower T2 [1 2] commit 1 | n3 follower T2 [1 2 2/20] commit 0
Figure8: n1 follower T1 [1 1/10] commit 0 | n2 follower T2 [1] commit 1 | n3 follower T2 [1 2] commit 0
TornTail: n1 follower T2 [1] commit 0 | n2 follower T2 [1 2] commit 1 | n3 leader T2 [1 2] commit 2
HalfSnapshot: n1 leader T1 [..3@1 1/12] commit 4 | n2 follower T1 [1 1/10 1/11 1/12] commit 4 | n3 follower T1 [1] commit 1; n1 to n3: a snapshot's bytes from 2 on
OtherTail: n1 leader T1 [1 1/10 1/11] commit 1 | n2 follower T2 [1 2 2/20] commit 2 | n3 leader T2 [..2@2 2/20] commit 3; n3 to n1: a snapshot's bytes from 0 on; n3 to n1: a snapshot's bytes from 0 on
LateSnapshot: n1 leader T1 [..2@1 1/11 1/12] commit 2 | n2 follower T1 [1] commit 1 | n3 follower T1 [1 1/10] commit 1; n1 to n2: [i2..=i4 @1]; n1 to n2: a snapshot's bytes from 0 on
";

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
        println!(
            "{start:?}: {} states of {}",
            reduced.distinct, whole.distinct
        );
        assert_eq!(few, all, "{start:?}");
        assert!(reduced.distinct < whole.distinct);
    }
}
