//! The explored cluster: states as a few numbers, and the steps between them.
//!
//! Nodes, messages and histories are kept once each in tables and named by number, compared in
//! full. A step of a node depends on that node and its input alone, so it is run once and looked up
//! ever after.

use std::collections::HashMap;
use std::sync::Arc;

use synod_core::{Envelope, NodeId};
use synod_raft::{Body, Message};

use crate::judge::{Breach, History, View};
use crate::member::{Input, Member, Outcome, Setup, Sight};

/// The most nodes.
pub(crate) const NODES: usize = 3;

/// How much of everything may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget {
    /// Nobody stands for election beyond this term.
    pub(crate) terms: u8,
    /// Time-outs of leaders: heartbeats.
    pub(crate) beats: u8,
    pub(crate) proposals: u8,
    pub(crate) reads: u8,
    pub(crate) crashes: u8,
    /// Messages delivered and kept, to come again.
    pub(crate) copies: u8,
    /// Writes that are not durable at once: they end later, or in a crash, whole or in part.
    pub(crate) delays: u8,
    pub(crate) relinks: u8,
    /// The most messages under way; beyond it one is lost, whichever.
    pub(crate) messages: u8,
}

/// A state of the whole cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) members: [u32; NODES],
    /// The messages under way: a multiset, in ascending order.
    pub(crate) net: Box<[u32]>,
    pub(crate) history: u32,
    /// For each node with a read that waits, how much was committed when it was asked.
    pub(crate) floors: [u8; NODES],
    /// Nodes that nothing tells apart (a bit each): what one of them does, each could do.
    pub(crate) alike: u8,
    pub(crate) budget: Budget,
}

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Action {
    pub(crate) kind: Kind,
    pub(crate) node: u8,
    /// The write that the step begins is not finished at once.
    pub(crate) hold: bool,
    /// Which message, how many records, which peer.
    pub(crate) what: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Deliver,
    /// Delivers a message that comes again.
    Copy,
    Drop,
    Tick,
    Propose,
    Read,
    Finish,
    Crash,
    Relink,
    Snapshot,
}

/// What a step of a node leads to.
#[derive(Debug)]
struct Step {
    member: u32,
    sends: Box<[u32]>,
    sights: Box<[Sight]>,
}

/// Everything that was seen, and each thing once.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    members: Vec<Arc<Member>>,
    pub(crate) views: Vec<View>,
    member_ids: HashMap<Arc<Member>, u32>,
    pub(crate) messages: Vec<Envelope<Message>>,
    message_ids: HashMap<Envelope<Message>, u32>,
    pub(crate) histories: Vec<History>,
    history_ids: HashMap<History, u32>,
    steps: HashMap<(u32, u8, u32), Arc<Step>>,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            members: Vec::new(),
            views: Vec::new(),
            member_ids: HashMap::new(),
            messages: Vec::new(),
            message_ids: HashMap::new(),
            histories: vec![History::default()],
            history_ids: HashMap::from([(History::default(), 0)]),
            steps: HashMap::new(),
        }
    }

    /// All nodes founded, nothing under way.
    pub(crate) fn birth(&mut self, budget: Budget) -> State {
        let mut members = [0; NODES];
        for (slot, id) in members.iter_mut().zip(self.setup.ids()) {
            *slot = self.intern(Member::found(self.setup, id));
        }
        State {
            members,
            net: Box::default(),
            history: 0,
            floors: [0; NODES],
            alike: (1 << self.setup.nodes) - 1,
            budget,
        }
    }

    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.members.len(), self.messages.len(), self.steps.len())
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.setup.nodes)
    }

    fn intern(&mut self, member: Member) -> u32 {
        if let Some(id) = self.member_ids.get(&member) {
            return *id;
        }
        let id = self.members.len() as u32;
        self.views.push(View::of(&member, self.setup));
        let member = Arc::new(member);
        self.members.push(Arc::clone(&member));
        self.member_ids.insert(member, id);
        id
    }

    fn intern_message(&mut self, envelope: Envelope<Message>) -> u32 {
        if let Some(id) = self.message_ids.get(&envelope) {
            return *id;
        }
        let id = self.messages.len() as u32;
        self.messages.push(envelope.clone());
        self.message_ids.insert(envelope, id);
        id
    }

    pub(crate) fn intern_history(&mut self, history: History) -> u32 {
        if let Some(id) = self.history_ids.get(&history) {
            return *id;
        }
        let id = self.histories.len() as u32;
        self.histories.push(history.clone());
        self.history_ids.insert(history, id);
        id
    }

    /// The step of one node, run or looked up.
    fn step(&mut self, member: u32, kind: Kind, what: u32) -> Arc<Step> {
        let kind = if kind == Kind::Copy {
            Kind::Deliver
        } else {
            kind
        };
        let key = (member, kind as u8, what);
        if let Some(step) = self.steps.get(&key) {
            return Arc::clone(step);
        }
        let input = match kind {
            Kind::Deliver | Kind::Copy => Input::Deliver(&self.messages[what as usize]),
            Kind::Tick => Input::Tick,
            Kind::Propose => Input::Propose(what as u8),
            Kind::Read => Input::Read,
            Kind::Finish => Input::Finish,
            Kind::Crash => Input::Crash(what as usize),
            Kind::Relink => Input::Relink(NodeId(u64::from(what))),
            Kind::Snapshot => Input::Snapshot,
            Kind::Drop => unreachable!("a lost message is no step of a node"),
        };
        let outcome = Arc::clone(&self.members[member as usize]).step(self.setup, input);
        let Outcome {
            member,
            sends,
            sights,
        } = outcome;
        let sends = sends.into_iter().map(|sent| self.intern_message(sent));
        let step = Arc::new(Step {
            sends: sends.collect(),
            member: self.intern(member),
            sights: sights.into(),
        });
        self.steps.insert(key, Arc::clone(&step));
        step
    }

    fn is_writing(&self, member: u32) -> bool {
        self.views[member as usize].records.is_some()
    }

    /// What can happen in `state`.
    pub(crate) fn actions(&mut self, state: &State, out: &mut Vec<Action>) {
        out.clear();
        let mut push = |kind, node, what| {
            out.push(Action {
                kind,
                node,
                hold: false,
                what,
            });
        };
        let full = state.net.len() > usize::from(state.budget.messages);
        let mut last = None;
        for message in state.net.iter().copied() {
            // Of messages that are the same, one.
            if last.replace(message) == Some(message) {
                continue;
            }
            let to = self.messages[message as usize].to.0 as u8 - 1;
            if full {
                push(Kind::Drop, to, message);
                continue;
            }
            push(Kind::Deliver, to, message);
            if state.budget.copies > 0 {
                push(Kind::Copy, to, message);
            }
        }
        if full {
            return;
        }
        for node in 0..self.setup.nodes {
            let view = &self.views[state.members[usize::from(node)] as usize];
            let budget = &state.budget;
            if view.leads && budget.beats > 0 || !view.leads && view.term < budget.terms.into() {
                push(Kind::Tick, node, 0);
            }
            if budget.proposals > 0 && (view.leads || self.setup.forward) {
                push(Kind::Propose, node, u32::from(budget.proposals));
            }
            if budget.reads > 0 && !view.reads {
                push(Kind::Read, node, 0);
            }
            if view.records.is_some() {
                push(Kind::Finish, node, 0);
            }
            if budget.crashes > 0 {
                for kept in 0..=view.records.unwrap_or(0) {
                    push(Kind::Crash, node, kept);
                }
            }
            if budget.relinks > 0 {
                for peer in (0..self.setup.nodes).filter(|peer| *peer != node) {
                    push(Kind::Relink, node, u32::from(peer) + 1);
                }
            }
        }
        out.retain(|action| is_first_alike(state.alike, action));
        if state.budget.delays > 0 {
            self.with_holds(state, out);
        }
    }

    /// Adds each step that begins a write once more, with the write left under way.
    fn with_holds(&mut self, state: &State, out: &mut Vec<Action>) {
        for place in 0..out.len() {
            let action = out[place];
            if action.kind == Kind::Drop {
                continue;
            }
            let before = state.members[usize::from(action.node)];
            let free = matches!(action.kind, Kind::Finish | Kind::Crash);
            if !free && self.is_writing(before) {
                continue;
            }
            let after = self.step(before, action.kind, action.what).member;
            if self.is_writing(after) {
                out.push(Action {
                    hold: true,
                    ..action
                });
            }
        }
    }

    /// Takes a step; `None` if it changes nothing.
    pub(crate) fn act(&mut self, state: &State, action: Action) -> Option<(State, Option<Breach>)> {
        let node = usize::from(action.node);
        let before = state.members[node];
        let mut next = state.clone();
        let mut net = state.net.to_vec();
        spend(&mut next.budget, action, self.views[before as usize].leads);
        if matches!(action.kind, Kind::Deliver | Kind::Drop)
            && let Ok(place) = net.binary_search(&action.what)
        {
            net.remove(place);
        }
        next.alike &= !(1 << node);
        if action.kind == Kind::Drop {
            next.net = net.into();
            return Some((next, None));
        }
        if action.kind == Kind::Relink {
            next.alike &= !(1 << (action.what - 1));
        }
        let mut steps = Vec::new();
        self.run(&mut next, node, action, &mut steps);
        let quiet =
            |(_, step): &(usize, Arc<Step>)| step.sends.is_empty() && step.sights.is_empty();
        if next.members == state.members && steps.iter().all(quiet) {
            return None;
        }
        if action.kind == Kind::Crash {
            next.floors[node] = 0;
            for peer in (0..self.count()).filter(|peer| *peer != node) {
                let relink = Action {
                    kind: Kind::Relink,
                    node: peer as u8,
                    hold: false,
                    what: node as u32 + 1,
                };
                self.run(&mut next, peer, relink, &mut steps);
            }
        }
        for (_, step) in &steps {
            net.extend(&step.sends);
        }
        net.retain(|message| !self.is_dead(&next, *message));
        net.sort_unstable();
        next.net = net.into();
        let sights = steps
            .iter()
            .flat_map(|(node, step)| step.sights.iter().map(move |sight| (*node, sight)));
        let mut history = self.histories[next.history as usize].clone();
        if action.kind == Kind::Read {
            next.floors[node] = 1 + history.len() as u8;
        }
        let breach = history.update(self, &next, sights).err();
        for node in 0..self.count() {
            if !self.view(&next, node).reads {
                next.floors[node] = 0;
            }
        }
        next.history = self.intern_history(history);
        Some((next, breach))
    }

    fn run(
        &mut self,
        next: &mut State,
        node: usize,
        action: Action,
        steps: &mut Vec<(usize, Arc<Step>)>,
    ) {
        let before = next.members[node];
        let begins = matches!(action.kind, Kind::Finish | Kind::Crash) || !self.is_writing(before);
        let mut step = self.step(before, action.kind, action.what);
        next.members[node] = step.member;
        steps.push((node, step));
        while begins && !action.hold && self.is_writing(next.members[node]) {
            step = self.step(next.members[node], Kind::Finish, 0);
            next.members[node] = step.member;
            steps.push((node, step));
        }
    }

    pub(crate) fn view(&self, state: &State, node: usize) -> &View {
        &self.views[state.members[node] as usize]
    }

    /// An answer to a term that its receiver has durably left changes nothing any more, ever.
    fn is_dead(&self, state: &State, message: u32) -> bool {
        let envelope = &self.messages[message as usize];
        let to = self.view(state, envelope.to.0 as usize - 1);
        let answer = matches!(
            envelope.message.body,
            Body::Voted { pre: false, .. }
                | Body::Appended { .. }
                | Body::Conflict { .. }
                | Body::SnapshotGot { .. }
        );
        answer && envelope.message.term.0 < to.durable_term.min(to.term)
    }
}

/// Of nodes that nothing tells apart, only the first acts.
fn is_first_alike(alike: u8, action: &Action) -> bool {
    alike & (1 << action.node) == 0 || alike.trailing_zeros() == u32::from(action.node)
}

fn spend(budget: &mut Budget, action: Action, leads: bool) {
    let spent = match action.kind {
        Kind::Tick if leads => &mut budget.beats,
        Kind::Propose => &mut budget.proposals,
        Kind::Read => &mut budget.reads,
        Kind::Crash => &mut budget.crashes,
        Kind::Copy => &mut budget.copies,
        Kind::Relink => &mut budget.relinks,
        Kind::Deliver | Kind::Drop | Kind::Tick | Kind::Finish | Kind::Snapshot => {
            return held(budget, action);
        }
    };
    *spent = spent.saturating_sub(1);
    held(budget, action);
}

fn held(budget: &mut Budget, action: Action) {
    if action.hold {
        budget.delays = budget.delays.saturating_sub(1);
    }
}
