//! Breadth-first search over the states of a cluster.
//!
//! A state that was seen is remembered by a fingerprint of 128 bits: at a hundred million states two
//! share one with a probability of 10⁻²³. Then the later one would not be looked at; nothing false
//! would be reported.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use synod_core::mix;

use crate::model::{Breach, Input, Model};
use crate::world::{Action, State, World};

/// What a search has seen.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) reached: usize,
    pub(crate) distinct: usize,
    /// All states up to this many steps from the start were seen.
    pub(crate) depth: usize,
    /// No state is left to go on from.
    pub(crate) complete: bool,
    pub(crate) took: Duration,
    /// What was broken, and the shortest way there.
    pub(crate) failure: Option<(Breach, Vec<String>)>,
    /// States in which a node had learned something.
    pub(crate) learned: usize,
    pub(crate) sizes: (usize, usize, usize),
}

impl Report {
    pub(crate) const HEAD: &str = "| setup | states reached | distinct | depth | learned in | \
        nodes | messages | node steps | s |\n|---|---|---|---|---|---|---|---|---|";

    pub(crate) fn row(&self, name: &str) -> String {
        let (members, messages, steps) = self.sizes;
        let end = if self.complete { ", all there are" } else { "" };
        format!(
            "| {name} | {} | {} | {}{end} | {} | {members} | {messages} | {steps} | {:.1} |",
            self.reached,
            self.distinct,
            self.depth,
            self.learned,
            self.took.as_secs_f64()
        )
    }
}

/// `SYNOD_EXPLORE_STATES` distinct states for each search, by default so few that the whole test
/// takes seconds.
pub(crate) fn limit(default: usize) -> usize {
    let given = std::env::var("SYNOD_EXPLORE_STATES").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn fingerprint(state: &State) -> u128 {
    let numbers = state.members.iter().chain(&state.net).chain([&state.past]);
    let (mut high, mut low) = (1, 2);
    for number in numbers.map(|n| u64::from(*n)) {
        high = mix(high, number);
        low = mix(low ^ 0x5bd1_e995_7b93_b1e3, number.rotate_left(32));
    }
    u128::from(high) << 64 | u128::from(low)
}

/// Searches from the beginning until so many distinct states are seen.
pub(crate) fn search<M: Model>(world: &mut World<M>, limit: usize) -> Report {
    let start = world.birth();
    search_from(world, start, limit)
}

fn search_from<M: Model>(world: &mut World<M>, start: State, limit: usize) -> Report {
    let began = Instant::now();
    let mut seen: HashSet<u128> = HashSet::from([fingerprint(&start)]);
    let mut ways: Ways<M> = vec![(0, None)];
    let mut level = vec![(0_u32, start.clone())];
    let mut report = Report {
        reached: 1,
        distinct: 1,
        depth: 0,
        complete: false,
        took: Duration::ZERO,
        failure: None,
        learned: 0,
        sizes: (0, 0, 0),
    };
    let mut actions = Vec::new();
    'search: loop {
        let mut next_level = Vec::new();
        for (place, state) in &level {
            world.actions(state, &mut actions);
            for action in actions.drain(..) {
                let Some((next, breach)) = world.act(state, action) else {
                    continue;
                };
                report.reached += 1;
                if let Some(breach) = breach {
                    let mut steps = way(&ways, *place);
                    steps.push(action);
                    report.failure = Some((breach, tell(world, &start, &steps)));
                    break 'search;
                }
                if !seen.insert(fingerprint(&next)) {
                    continue;
                }
                let learned = |member| world.model.has_learned(member);
                report.learned += usize::from(world.scene(&next).all().any(learned));
                let id = ways.len() as u32;
                ways.push((*place, Some(action)));
                next_level.push((id, next));
                if ways.len() >= limit {
                    break 'search;
                }
            }
        }
        if next_level.is_empty() {
            report.complete = true;
            break;
        }
        report.depth += 1;
        level = next_level;
    }
    report.distinct = ways.len();
    report.took = began.elapsed();
    report.sizes = world.sizes();
    report
}

/// How each state was reached: from which one, and by which step.
type Ways<M> = Vec<(u32, Option<Action<<M as Model>::Deed>>)>;

/// The steps from the start to a state.
fn way<D: Copy>(ways: &[(u32, Option<Action<D>>)], mut place: u32) -> Vec<Action<D>> {
    let mut steps = Vec::new();
    while let (before, Some(action)) = ways[place as usize] {
        steps.push(action);
        place = before;
    }
    steps.reverse();
    steps
}

/// The steps as a story.
fn tell<M: Model>(world: &mut World<M>, start: &State, steps: &[Action<M::Deed>]) -> Vec<String> {
    let mut state = start.clone();
    let mut lines = Vec::new();
    for (number, action) in steps.iter().enumerate() {
        let line = name(world, *action);
        if let Some((next, _)) = world.act(&state, *action) {
            state = next;
        }
        lines.push(format!("{:2}. {line}", number + 1));
    }
    lines
}

fn name<M: Model>(world: &World<M>, action: Action<M::Deed>) -> String {
    let id = world.ids[usize::from(action.node())];
    let what = |input| match input {
        Input::Message(message) => {
            let envelope = &world.messages[message as usize];
            let message = world.model.tell_message(&envelope.message);
            format!("{id} gets from {} {message}", envelope.from)
        }
        Input::Deed(deed) => format!("{id} {}", world.model.tell_deed(deed)),
    };
    match action {
        Action::Do { input, .. } => what(input),
        Action::Torn { input, kept, .. } => {
            format!(
                "{}, crashes with {kept} records kept, and starts",
                what(input)
            )
        }
        Action::Crash { kept, .. } => format!("{id} crashes with {kept} records kept, and starts"),
    }
}
