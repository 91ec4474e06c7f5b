//! The explored cluster: states as a few numbers, and the steps between them.
//!
//! Members, messages and pasts are kept once each in tables and named by number, compared in full. A
//! step of a member depends on that member and what it is given alone, so it is run once and looked
//! up ever after.

use std::collections::HashMap;
use std::sync::Arc;

use synod_core::{Envelope, NodeId};

use crate::model::{Breach, Change, Given, Input, Model, Outcome, Scene};

/// The most nodes.
pub(crate) const NODES: usize = 8;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) members: [u32; NODES],
    /// Every message that was ever sent, ascending.
    pub(crate) net: Box<[u32]>,
    pub(crate) past: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Action<D> {
    Do {
        node: u8,
        input: Input<D>,
    },
    /// Crashes while it does it, with so many records of what it writes kept.
    Torn {
        node: u8,
        input: Input<D>,
        kept: u8,
    },
    /// Crashes, with so many records kept of what it was writing.
    Crash {
        node: u8,
        kept: u8,
    },
}

impl<D> Action<D> {
    pub(crate) const fn node(&self) -> u8 {
        match self {
            Self::Do { node, .. } | Self::Torn { node, .. } | Self::Crash { node, .. } => *node,
        }
    }

    /// Whether a node starts again.
    pub(crate) const fn is_crash(&self) -> bool {
        match self {
            Self::Torn { .. } | Self::Crash { .. } => true,
            Self::Do { .. } => false,
        }
    }
}

struct Step<M: Model> {
    member: u32,
    sent: Box<[u32]>,
    sights: Box<[M::Sight]>,
}

/// The steps of members: `None` where there is none within the bounds.
type Steps<M> = HashMap<(u32, Action<<M as Model>::Deed>), Option<Arc<Step<M>>>>;

pub(crate) struct World<M: Model> {
    pub(crate) model: M,
    pub(crate) ids: Vec<NodeId>,
    pub(crate) members: Vec<Arc<M::Member>>,
    member_ids: HashMap<Arc<M::Member>, u32>,
    pub(crate) messages: Vec<Envelope<M::Message>>,
    message_ids: HashMap<Envelope<M::Message>, u32>,
    pasts: Vec<M::Past>,
    past_ids: HashMap<M::Past, u32>,
    steps: Steps<M>,
    births: [u32; NODES],
}

impl<M: Model> World<M> {
    pub(crate) fn new(model: M) -> Self {
        Self {
            ids: model.ids(),
            model,
            members: Vec::new(),
            member_ids: HashMap::new(),
            messages: Vec::new(),
            message_ids: HashMap::new(),
            pasts: Vec::new(),
            past_ids: HashMap::new(),
            steps: HashMap::new(),
            births: [u32::MAX; NODES],
        }
    }

    /// Where a search begins: all nodes founded, and the scripts played.
    pub(crate) fn birth(&mut self) -> State {
        let mut members = [0; NODES];
        let mut net = Vec::new();
        for (place, slot) in members.iter_mut().enumerate().take(self.ids.len()) {
            let Outcome { member, sent, .. } = self.model.found(place);
            *slot = self.intern(member);
            net.extend(sent.into_iter().map(|sent| self.intern_message(sent)));
        }
        let extra = self.model.spontaneous().into_iter();
        net.extend(extra.map(|envelope| self.intern_message(envelope)));
        net.sort_unstable();
        net.dedup();
        let past = self.intern_past(self.model.past());
        let net = net.into();
        let state = State { members, net, past };
        let (first, rest) = self.model.scripts();
        let state = self.play(state, &first, true);
        self.births = state.members;
        self.play(state, &rest, false)
    }

    /// Plays a script, a line for each step: `11 proposes` or another deed by its name, or `1 prepare
    /// 2.11`: node 1 gets that message of that ballot. `12 promise 2.12 3` is the one of node 3; a dash is
    /// for any ballot or none; `newest` takes the last of several that fit. With `torn 0` at the end it
    /// crashes in that, and keeps no record of what it writes. Where it `may_idle`, a step that changes
    /// nothing is passed over.
    fn play(&mut self, mut state: State, script: &str, may_idle: bool) -> State {
        for line in script.lines().map(str::trim) {
            let mut words: Vec<_> = line.split_whitespace().collect();
            let mut kept = None;
            if let [.., "torn", records] = &*words {
                kept = Some(records.parse().unwrap());
                words.truncate(words.len() - 2);
            }
            let number = |word: &str| NodeId(word.parse().unwrap());
            let [node, what, rest @ ..] = &*words else {
                continue;
            };
            let node = self.place(number(node));
            let input = match rest {
                [] => {
                    let past = &self.pasts[state.past as usize];
                    Input::Deed(self.model.deed(what, past))
                }
                [ballot, rest @ ..] => {
                    let (newest, from) = match rest {
                        [from @ .., "newest"] => (true, from),
                        from => (false, from),
                    };
                    let fits = |message: &&u32| {
                        let envelope = &self.messages[**message as usize];
                        self.place(envelope.to) == node
                            && self.model.is_called(&envelope.message, what, ballot)
                            && from.first().is_none_or(|id| envelope.from == number(id))
                    };
                    let found: Vec<_> = state.net.iter().filter(fits).collect();
                    let message = match &*found {
                        [message] => **message,
                        [.., message] if newest => **message,
                        _ => panic!("{line}: {found:?}"),
                    };
                    Input::Message(message)
                }
            };
            let action = match kept {
                Some(kept) => Action::Torn { node, input, kept },
                None => Action::Do { node, input },
            };
            match self.act(&state, action) {
                Some((next, None)) => state = next,
                Some((_, Some(breach))) => panic!("{line}: {breach:?}"),
                None => assert!(may_idle, "nothing changes: {line}"),
            }
        }
        state
    }

    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.members.len(), self.messages.len(), self.steps.len())
    }

    fn intern(&mut self, member: M::Member) -> u32 {
        if let Some(id) = self.member_ids.get(&member) {
            return *id;
        }
        let id = self.members.len() as u32;
        let member = Arc::new(member);
        self.members.push(Arc::clone(&member));
        self.member_ids.insert(member, id);
        id
    }

    fn intern_message(&mut self, envelope: Envelope<M::Message>) -> u32 {
        if let Some(id) = self.message_ids.get(&envelope) {
            return *id;
        }
        let id = self.messages.len() as u32;
        self.messages.push(envelope.clone());
        self.message_ids.insert(envelope, id);
        id
    }

    fn intern_past(&mut self, past: M::Past) -> u32 {
        if let Some(id) = self.past_ids.get(&past) {
            return *id;
        }
        let id = self.pasts.len() as u32;
        self.pasts.push(past.clone());
        self.past_ids.insert(past, id);
        id
    }

    pub(crate) fn place(&self, id: NodeId) -> u8 {
        self.ids.iter().position(|other| *other == id).unwrap() as u8
    }

    pub(crate) fn scene<'a>(&'a self, state: &'a State) -> Scene<'a, M> {
        Scene {
            world: self,
            members: &state.members,
            net: &state.net,
            past: &self.pasts[state.past as usize],
        }
    }

    /// Everything that can happen in a state.
    pub(crate) fn actions(&self, state: &State, out: &mut Vec<Action<M::Deed>>) {
        out.clear();
        let scene = self.scene(state);
        let tears = self.model.tears(scene.past);
        let put = |out: &mut Vec<_>, node, input| {
            out.push(Action::Do { node, input });
            if self.model.is_torn(&input) {
                out.extend((0..tears).map(|kept| Action::Torn { node, input, kept }));
            }
        };
        for &message in &state.net {
            let envelope = &self.messages[message as usize];
            let node = self.place(envelope.to);
            if self.is_first_alike(state, node) && !self.model.is_lost(&envelope.message) {
                put(out, node, Input::Message(message));
            }
        }
        let mut deeds = Vec::new();
        for place in 0..self.ids.len() {
            let node = place as u8;
            self.model.deeds(&scene, place, &mut deeds);
            for deed in deeds.drain(..) {
                put(out, node, Input::Deed(deed));
            }
            out.extend((0..tears).map(|kept| Action::Crash { node, kept }));
        }
    }

    /// Of nodes that nothing has told apart yet only the first acts: what another would do first is
    /// the same with names exchanged, because the machine uses names to tell nodes apart and for
    /// nothing else.
    fn is_first_alike(&self, state: &State, node: u8) -> bool {
        let untouched = |place: usize| state.members[place] == self.births[place];
        let place = usize::from(node);
        place >= self.model.alike() || !untouched(place) || !(0..place).any(untouched)
    }

    /// Takes a step; `None` if it changes nothing, or leads out of bounds.
    pub(crate) fn act(
        &mut self,
        state: &State,
        action: Action<M::Deed>,
    ) -> Option<(State, Option<Breach>)> {
        let place = usize::from(action.node());
        let before = state.members[place];
        let key = (before, action);
        if !self.steps.contains_key(&key) {
            let step = self.run(before, place, &action);
            self.steps.insert(key, step);
        }
        let step = Arc::clone(self.steps[&key].as_ref()?);
        let is_new = |message: &u32| state.net.binary_search(message).is_err();
        let news = step.sent.iter().any(is_new);
        let quiet = step.member == before && !news && step.sights.is_empty();
        if quiet && !self.model.counts(&action) {
            return None;
        }
        let mut next = state.clone();
        next.members[place] = step.member;
        if news {
            let mut net = state.net.to_vec();
            net.extend(step.sent.iter());
            net.sort_unstable();
            net.dedup();
            next.net = net.into();
        }
        let mut past = self.pasts[state.past as usize].clone();
        let change = Change {
            scene: self.scene(&next),
            action: &action,
            place,
            before: &self.members[before as usize],
            after: &self.members[step.member as usize],
            news: if news { &step.sent } else { &[] },
            sights: &step.sights,
        };
        let breach = self.model.update(&mut past, &change).err();
        next.past = self.intern_past(past);
        Some((next, breach))
    }

    fn run(&mut self, before: u32, place: usize, action: &Action<M::Deed>) -> Option<Arc<Step<M>>> {
        let member = Arc::clone(&self.members[before as usize]);
        let given = |input: &Input<M::Deed>| match input {
            Input::Message(message) => Given::Message(&self.messages[*message as usize]),
            Input::Deed(deed) => Given::Deed(*deed),
        };
        let Outcome {
            member,
            sent,
            sights,
        } = match action {
            Action::Do { input, .. } => self.model.give(place, &member, given(input)),
            Action::Torn { input, kept, .. } => {
                let given = given(input);
                self.model
                    .crash(place, &member, Some(given), usize::from(*kept))
            }
            Action::Crash { kept, .. } => {
                self.model.crash(place, &member, None, usize::from(*kept))
            }
        }?;
        let sent = sent.into_iter().map(|sent| self.intern_message(sent));
        let sent = sent.collect();
        let (member, sights) = (self.intern(member), sights.into());
        Some(Arc::new(Step {
            member,
            sent,
            sights,
        }))
    }
}
