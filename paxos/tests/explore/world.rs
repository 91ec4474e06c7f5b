//! The explored decree: states as a few numbers, and the steps between them.
//!
//! Members and messages are kept once each in tables and named by number, compared in full. A step of
//! a member depends on that member and what it is told alone, so it is run once and looked up ever
//! after.

use std::collections::HashMap;
use std::sync::Arc;

use synod_core::{Envelope, NodeId};
use synod_paxos::single::{Body, Config, Message, Value};

use crate::judge::{Breach, Votes};
use crate::member::{Member, Told};
use crate::setups::Setup;

/// The most nodes.
pub(crate) const NODES: usize = 8;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) members: [u32; NODES],
    /// Every message that was ever sent, ascending.
    pub(crate) net: Box<[u32]>,
    /// Who has been asked to propose since it started, a bit each.
    pub(crate) proposed: u8,
    pub(crate) crashes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Action {
    Deliver {
        node: u8,
        message: u32,
    },
    Propose {
        node: u8,
        value: u8,
    },
    Tick {
        node: u8,
    },
    /// Crashes while it handles a message, with so many records of what it writes kept.
    Torn {
        node: u8,
        message: u32,
        kept: u8,
    },
    Crash {
        node: u8,
    },
}

type Step = Option<(u32, Box<[u32]>)>;

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) ids: Vec<NodeId>,
    configs: Vec<Config>,
    pub(crate) members: Vec<Arc<Member>>,
    member_ids: HashMap<Arc<Member>, u32>,
    pub(crate) messages: Vec<Envelope<Message>>,
    message_ids: HashMap<Envelope<Message>, u32>,
    steps: HashMap<(u32, Action), Step>,
    births: [u32; NODES],
    pub(crate) is_reduced: bool,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let ids = setup.ids();
        let configs = ids.iter().map(|id| setup.config(*id)).collect();
        Self {
            setup,
            ids,
            configs,
            members: Vec::new(),
            member_ids: HashMap::new(),
            messages: Vec::new(),
            message_ids: HashMap::new(),
            steps: HashMap::new(),
            births: [u32::MAX; NODES],
            is_reduced: true,
        }
    }

    pub(crate) fn birth(&mut self) -> State {
        let mut members = [0; NODES];
        let mut net = Vec::new();
        for (place, config) in self.configs.clone().iter().enumerate() {
            let (member, sent) = Member::found(config, &self.ids);
            members[place] = self.intern(member);
            net.extend(
                sent.into_iter()
                    .map(|envelope| self.intern_message(envelope)),
            );
        }
        let extra = self.setup.spontaneous();
        net.extend(
            extra
                .into_iter()
                .map(|envelope| self.intern_message(envelope)),
        );
        net.sort_unstable();
        net.dedup();
        self.births = members;
        let state = State {
            members,
            net: net.into(),
            proposed: 0,
            crashes: self.setup.crashes,
        };
        let state = if self.setup.opened {
            self.opened(state)
        } else {
            state
        };
        self.play(state)
    }

    /// Plays how it begins: a line for each step, `11 proposes`, `11 ticks`, or `1 prepare 2.11`: node 1 gets
    /// that message of that ballot, and `12 promise 2.12 3` is the one of node 3. A dash is for any
    /// ballot or none.
    fn play(&mut self, mut state: State) -> State {
        for line in self.setup.script.lines().map(str::trim) {
            let words: Vec<_> = line.split_whitespace().collect();
            let number = |word: &str| NodeId(word.parse().unwrap());
            let [node, what, rest @ ..] = &*words else {
                continue;
            };
            let node = self.place(number(node));
            let action = match rest {
                [] if *what == "ticks" => Action::Tick { node },
                [] => Action::Propose { node, value: 0 },
                [ballot, from @ ..] => {
                    let fits = |message: &&u32| {
                        let envelope = &self.messages[**message as usize];
                        let body = format!("{:?}", envelope.message.body).to_lowercase();
                        self.place(envelope.to) == node
                            && body.starts_with(&format!("{what} "))
                            && (*ballot == "-" || body.contains(&format!("ballot: b{ballot}")))
                            && from.first().is_none_or(|id| envelope.from == number(id))
                    };
                    let found: Vec<_> = state.net.iter().filter(fits).collect();
                    let [message] = &*found else {
                        panic!("{line}: {found:?}");
                    };
                    let message = **message;
                    Action::Deliver { node, message }
                }
            };
            state = self.act(&state, action).unwrap().0;
        }
        state
    }

    /// The coordinator's fast ballot is open, and every acceptor has promised it.
    fn opened(&mut self, mut state: State) -> State {
        let coordinator = self.place(self.setup.coordinator());
        let tick = Action::Tick { node: coordinator };
        if let Some((next, _)) = self.act(&state, tick) {
            state = next;
        }
        for to_coordinator in [false, true] {
            let mut actions = Vec::new();
            self.is_reduced = false;
            self.actions(&state, &mut actions);
            self.is_reduced = true;
            for action in actions {
                if let Action::Deliver { node, .. } = action
                    && (node == coordinator) == to_coordinator
                    && let Some((next, _)) = self.act(&state, action)
                {
                    state = next;
                }
            }
        }
        self.births = state.members;
        state
    }

    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.members.len(), self.messages.len(), self.steps.len())
    }

    fn intern(&mut self, member: Member) -> u32 {
        if let Some(id) = self.member_ids.get(&member) {
            return *id;
        }
        let id = self.members.len() as u32;
        let member = Arc::new(member);
        self.members.push(member.clone());
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

    pub(crate) fn place(&self, id: NodeId) -> u8 {
        self.ids.iter().position(|other| *other == id).unwrap() as u8
    }

    /// Everything that can happen in a state.
    pub(crate) fn actions(&self, state: &State, out: &mut Vec<Action>) {
        out.clear();
        let tears = if state.crashes > 0 { 3 } else { 0 };
        for &message in &state.net {
            let node = self.place(self.messages[message as usize].to);
            if self.is_reduced && !self.is_first_alike(state, node) || self.is_lost(message) {
                continue;
            }
            out.push(Action::Deliver { node, message });
            for kept in 0..tears {
                out.push(Action::Torn {
                    node,
                    message,
                    kept,
                });
            }
        }
        for (place, config) in self.configs.iter().enumerate() {
            let node = place as u8;
            if self.setup.values.contains(&config.id().0) && state.proposed & (1 << node) == 0 {
                let value = self.setup.crashes - state.crashes;
                out.push(Action::Propose { node, value });
            }
            let awake = self.setup.awake;
            if awake.is_empty() || awake.contains(&config.id().0) {
                out.push(Action::Tick { node });
            }
            if state.crashes > 0 {
                out.push(Action::Crash { node });
            }
        }
    }

    fn is_lost(&self, message: u32) -> bool {
        let body = &self.messages[message as usize].message.body;
        self.setup.blind && matches!(body, Body::Accepted { .. })
    }

    /// Of acceptors that nothing has told apart yet only the first acts: what another would do first
    /// is the same with names exchanged, because the machine uses names to tell nodes apart and for
    /// nothing else.
    fn is_first_alike(&self, state: &State, node: u8) -> bool {
        let untouched = |place: usize| state.members[place] == self.births[place];
        let place = usize::from(node);
        let alone = self.setup.acceptors_apart();
        place >= alone || !untouched(place) || !(0..place).any(untouched)
    }

    /// Takes a step; `None` if it changes nothing, or leads out of bounds.
    pub(crate) fn act(&mut self, state: &State, action: Action) -> Option<(State, Option<Breach>)> {
        let place = match action {
            Action::Deliver { node, .. }
            | Action::Propose { node, .. }
            | Action::Tick { node }
            | Action::Torn { node, .. }
            | Action::Crash { node } => usize::from(node),
        };
        let before = state.members[place];
        let key = (before, action);
        if !self.steps.contains_key(&key) {
            let step = self.run(before, place, action);
            self.steps.insert(key, step);
        }
        let (after, sent) = self.steps[&key].as_ref()?;
        let news = sent
            .iter()
            .any(|message| state.net.binary_search(message).is_err());
        if *after == before && !news && !matches!(action, Action::Propose { .. }) {
            return None;
        }
        let mut next = state.clone();
        next.members[place] = *after;
        let mut votes = false;
        if news {
            let mut net = state.net.to_vec();
            net.extend(sent.iter());
            net.sort_unstable();
            net.dedup();
            next.net = net.into();
            votes = true;
        }
        match action {
            Action::Propose { node, .. } => next.proposed |= 1 << node,
            Action::Torn { node, .. } | Action::Crash { node } => {
                next.crashes -= 1;
                next.proposed &= !(1 << node);
            }
            Action::Deliver { .. } | Action::Tick { .. } => {}
        }
        let breach = self.judge(&next, before, *after, votes, action);
        Some((next, breach))
    }

    fn run(&mut self, before: u32, place: usize, action: Action) -> Step {
        let member = self.members[before as usize].clone();
        let config = &self.configs[place];
        let (next, sent) = match action {
            Action::Deliver { message, .. } => {
                member.tell(Told::Message(&self.messages[message as usize]))
            }
            Action::Propose { value, .. } => {
                let client = config.id().0;
                let value = Value::new(client, u64::from(value), "".into());
                member.tell(Told::Propose(&value))
            }
            Action::Tick { .. } => member.tell(Told::Tick),
            Action::Torn { message, kept, .. } => {
                let told = Told::Message(&self.messages[message as usize]);
                member.crash(told, usize::from(kept), config, &self.ids)?
            }
            Action::Crash { .. } => member.crash(Told::Nothing, 0, config, &self.ids)?,
        };
        if next
            .decree
            .ballot()
            .is_some_and(|ballot| ballot.round > self.setup.rounds)
        {
            return None;
        }
        if self.setup.bug.is_none() {
            next.decree.check();
        }
        let sent: Vec<_> = sent
            .into_iter()
            .map(|envelope| self.intern_message(envelope))
            .collect();
        Some((self.intern(next), sent.into()))
    }

    fn judge(
        &self,
        next: &State,
        before: u32,
        after: u32,
        votes: bool,
        action: Action,
    ) -> Option<Breach> {
        let (was, is) = (
            self.members[before as usize].decree.chosen(),
            self.members[after as usize].decree.chosen(),
        );
        let crashed = matches!(action, Action::Crash { .. } | Action::Torn { .. });
        if was.is_some() && is != was && !crashed {
            return Some(Breach(format!("what was learned changes: {was:?}, {is:?}")));
        }
        if !votes && is == was {
            return None;
        }
        let net = next.net.iter().map(|id| &self.messages[*id as usize]);
        let phases = self.configs[0].quorums();
        let chosen = match Votes::of(net).check(phases) {
            Ok(chosen) => chosen,
            Err(breach) => return Some(breach),
        };
        let learned = is.map(|value| value.id);
        if let Some(learned) = learned
            && !chosen.contains(&learned)
        {
            let breach = format!("{learned} is learned, and chosen is {chosen:?}");
            return Some(Breach(breach));
        }
        let proposed = |id: &synod_paxos::single::ValueId| self.setup.values.contains(&id.client);
        if !chosen.iter().all(proposed) {
            return Some(Breach(format!("chosen and never proposed: {chosen:?}")));
        }
        None
    }
}
