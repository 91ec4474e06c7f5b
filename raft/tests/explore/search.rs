//! Breadth-first search over the states of a cluster.
//!
//! A state that was seen is remembered by a fingerprint of 128 bits. Two different states of `n`
//! have the same one with a probability of about n² / 2¹²⁹: at a hundred million states, 10⁻²³.
//! Then the later one would not be looked at; nothing false would be reported.

use core::hash::{BuildHasherDefault, Hasher};
use core::time::Duration;
use std::collections::HashSet;
use std::time::Instant;

use synod_core::mix;

use crate::judge::Breach;
use crate::world::{Action, Kind, State, World};

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) states: usize,
    pub(crate) depth: usize,
    pub(crate) time: Duration,
}

impl Limits {
    /// From the environment: `SYNOD_EXPLORE_STATES` distinct states and `SYNOD_EXPLORE_SECONDS` for
    /// each search, by default so few that the whole test takes seconds.
    pub(crate) fn from_env() -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let states = number("SYNOD_EXPLORE_STATES").unwrap_or(40_000);
        let seconds = number("SYNOD_EXPLORE_SECONDS").unwrap_or(3600) as u64;
        Self {
            states,
            depth: usize::MAX,
            time: Duration::from_secs(seconds),
        }
    }
}

/// What a search has seen.
#[derive(Debug)]
pub(crate) struct Report {
    /// Steps taken: states reached, the same one more than once.
    pub(crate) reached: usize,
    pub(crate) distinct: usize,
    /// All states up to this many steps from the start were seen.
    pub(crate) depth: usize,
    /// No state is left to go on from.
    pub(crate) complete: bool,
    pub(crate) took: Duration,
    /// What was broken, and the shortest way there, a step per line.
    pub(crate) failure: Option<(Breach, Vec<String>)>,
    /// Nodes, messages and steps of a node that differ.
    pub(crate) sizes: (usize, usize, usize),
}

impl Report {
    pub(crate) fn row(&self, name: &str) -> String {
        let (members, messages, steps) = self.sizes;
        let end = if self.complete { ", all there are" } else { "" };
        format!(
            "| {name} | {} | {} | {}{end} | {members} | {messages} | {steps} | {:.2} |",
            self.reached,
            self.distinct,
            self.depth,
            self.took.as_secs_f64()
        )
    }

    pub(crate) const HEAD: &str = "| start | states reached | distinct | depth | distinct nodes \
        | messages | node steps | s |\n|---|---|---|---|---|---|---|---|";
}

/// A fingerprint is random already.
#[derive(Default)]
pub(crate) struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }
}

/// The numbers that make a state, in 128 bits. `alike` is left out: nodes that are interchangeable
/// in a state are so whichever way it was reached.
fn fingerprint(state: &State) -> u128 {
    let budget = &state.budget;
    let small = [
        budget.beats,
        budget.proposals,
        budget.reads,
        budget.crashes,
        budget.copies,
        budget.delays,
        budget.relinks,
    ];
    let counted = state.members.iter().chain(&state.net);
    let numbers = counted.chain([&state.history]).map(|n| u64::from(*n));
    let small = small.iter().chain(&state.floors).map(|n| u64::from(*n));
    let (mut high, mut low) = (1, 2);
    for number in numbers.chain(small) {
        high = mix(high, number);
        low = mix(low ^ 0x5bd1_e995_7b93_b1e3, number.rotate_left(32));
    }
    u128::from(high) << 64 | u128::from(low)
}

type Seen = HashSet<u128, BuildHasherDefault<Plain>>;

/// Searches from `start` on.
pub(crate) fn search(world: &mut World, start: &State, limits: Limits) -> Report {
    search_each(world, start, limits, |_, _, _| {})
}

/// Searches and shows each distinct state with its depth.
pub(crate) fn search_each(
    world: &mut World,
    start: &State,
    limits: Limits,
    mut show: impl FnMut(&World, &State, usize),
) -> Report {
    let began = Instant::now();
    let mut seen = Seen::default();
    seen.insert(fingerprint(start));
    show(world, start, 0);
    // For each distinct state, from where and how it was reached.
    let mut ways: Vec<(u32, u64)> = vec![(0, 0)];
    let mut level = vec![(0_u32, start.clone())];
    let mut report = Report {
        reached: 1,
        distinct: 1,
        depth: 0,
        complete: false,
        took: Duration::ZERO,
        failure: None,
        sizes: (0, 0, 0),
    };
    let mut actions = Vec::new();
    'search: loop {
        let mut next_level = Vec::new();
        for (turn, (place, state)) in level.iter().enumerate() {
            world.actions(state, &mut actions);
            for action in actions.drain(..) {
                let Some((next, breach)) = world.act(state, action) else {
                    continue;
                };
                report.reached += 1;
                if let Some(breach) = breach {
                    let mut steps = way(&ways, *place);
                    steps.push(action);
                    report.failure = Some((breach, tell(world, start, &steps)));
                    break 'search;
                }
                if !seen.insert(fingerprint(&next)) {
                    continue;
                }
                show(world, &next, report.depth + 1);
                let id = ways.len() as u32;
                ways.push((*place, pack(action)));
                next_level.push((id, next));
                if ways.len() >= limits.states {
                    break 'search;
                }
            }
            if turn % 256 == 0 && began.elapsed() > limits.time {
                break 'search;
            }
        }
        if next_level.is_empty() {
            report.complete = true;
            break;
        }
        report.depth += 1;
        if report.depth == limits.depth {
            break;
        }
        level = next_level;
    }
    report.distinct = ways.len();
    report.took = began.elapsed();
    report.sizes = world.sizes();
    report
}

const KINDS: [Kind; 10] = [
    Kind::Deliver,
    Kind::Copy,
    Kind::Drop,
    Kind::Tick,
    Kind::Propose,
    Kind::Read,
    Kind::Finish,
    Kind::Crash,
    Kind::Relink,
    Kind::Snapshot,
];

fn pack(action: Action) -> u64 {
    let head = (action.kind as u64) << 16 | u64::from(action.node) << 8 | u64::from(action.hold);
    head << 32 | u64::from(action.what)
}

fn unpack(packed: u64) -> Action {
    let head = (packed >> 32).to_be_bytes();
    Action {
        kind: KINDS[usize::from(head[5])],
        node: head[6],
        hold: head[7] != 0,
        what: packed as u32,
    }
}

/// The steps from the start to a state.
fn way(ways: &[(u32, u64)], mut place: u32) -> Vec<Action> {
    let mut steps = Vec::new();
    while place != 0 {
        let (before, packed) = ways[place as usize];
        steps.push(unpack(packed));
        place = before;
    }
    steps.reverse();
    steps
}

/// The steps as a story.
fn tell(world: &mut World, start: &State, steps: &[Action]) -> Vec<String> {
    let mut lines = vec![format!("start: {}", picture(world, start))];
    let mut state = start.clone();
    for (number, action) in steps.iter().enumerate() {
        let line = format!("{:2}. {}", number + 1, name(world, *action));
        if let Some((next, _)) = world.act(&state, *action) {
            state = next;
        }
        lines.push(format!("{line}\n      {}", picture(world, &state)));
    }
    lines
}

pub(crate) fn name(world: &World, action: Action) -> String {
    let node = action.node + 1;
    let what = action.what;
    let message = || {
        let envelope = &world.messages[what as usize];
        let message = &envelope.message;
        format!("{} of {} {:?}", envelope.from, message.term, message.body)
    };
    let done = match action.kind {
        Kind::Deliver => format!("n{node} gets from {}", message()),
        Kind::Copy => format!("n{node} gets, and will again, from {}", message()),
        Kind::Drop => format!("to n{node} is lost from {}", message()),
        Kind::Tick => format!("n{node} times out"),
        Kind::Propose => format!("n{node} is asked to propose {what}"),
        Kind::Read => format!("n{node} is asked to read"),
        Kind::Finish => format!("n{node}'s write is durable"),
        Kind::Crash => format!("n{node} crashes with {what} records kept, and starts"),
        Kind::Relink => format!("n{node}'s link to n{what} comes up again"),
        Kind::Snapshot => format!("n{node} takes a snapshot"),
    };
    let held = if action.hold {
        "; its write is slow"
    } else {
        ""
    };
    format!("{done}{held}")
}

pub(crate) fn picture(world: &World, state: &State) -> String {
    let nodes = (0..world.count()).map(|n| format!("n{} {}", n + 1, world.view(state, n)));
    nodes.collect::<Vec<_>>().join(" | ")
}
