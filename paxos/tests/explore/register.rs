//! CASPaxos: one register.
//!
//! Each of a short list of operations is asked once, at its node, at any time. The acceptors stay.

mod clean;
mod judge;
mod linear;
mod member;
mod planted;
mod setups;

use std::collections::BTreeMap;

use synod_core::NodeId;
use synod_paxos::Ballot;
use synod_paxos::register::{Body, Config, Message, State};

use crate::model::{Breach, Change, Given, Input, Model, Outcome, Scene};
use crate::world::Action;
use linear::Asked;
use member::{Deed, Do, Home, Member, Sight, Told};
use setups::Setup;

/// How many nodes there are, all of them acceptors.
const ACCEPTORS: usize = 3;
/// How many rounds a life of a proposer reserves at once: the next life begins behind them.
const RESERVED: u64 = 1024;

struct Register {
    setup: Setup,
    homes: Vec<Home>,
}

impl Register {
    fn new(setup: Setup) -> Self {
        let configs: Vec<_> = (1..=ACCEPTORS as u64)
            .map(|id| setup.config(NodeId(id)))
            .collect();
        let lives: Vec<_> = configs
            .iter()
            .map(|config| (config.id(), member::generation_of(config)))
            .collect();
        let home = |config: &Config| Home {
            config: config.clone(),
            peers: lives
                .iter()
                .copied()
                .filter(|(id, _)| *id != config.id())
                .collect(),
            ops: setup.ops,
            planted: setup.bug.is_some(),
        };
        Self {
            homes: configs.iter().map(home).collect(),
            setup,
        }
    }

    fn outcome(&self, told: Told) -> Option<Outcome<Self>> {
        let Told {
            member,
            sent,
            sights,
            ..
        } = told;
        let round = |body: &Body| match body {
            Body::Prepare { ballot, .. } => ballot.round,
            Body::Accept(accept) => accept.ballot.round,
            Body::Promised { .. }
            | Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Purge { .. }
            | Body::Purged { .. }
            | Body::List { .. }
            | Body::Keys { .. }
            | Body::Behind
            | Body::Configuration(_)
            | Body::Stranger { .. } => 0,
        };
        let mut rounds = sent.iter().map(|sent| round(&sent.message.body) % RESERVED);
        let inside = rounds.all(|round| round <= self.setup.rounds);
        inside.then_some(Outcome {
            member,
            sent,
            sights,
        })
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Past {
    crashes: u8,
    expiries: u8,
    /// What was asked, in the order of the list, and what came of it.
    asked: Vec<Option<Asked>>,
    /// What was proposed in each ballot.
    proposals: BTreeMap<Ballot, State>,
    /// Whose votes for that were ever durable, a bit each.
    votes: BTreeMap<Ballot, u8>,
    /// The highest ballot that each node has said to have promised or accepted.
    said: [Ballot; ACCEPTORS],
}

impl Model for Register {
    type Member = Member;
    type Message = Message;
    type Deed = Deed;
    type Sight = Sight;
    type Past = Past;

    fn ids(&self) -> Vec<NodeId> {
        self.homes.iter().map(|home| home.config.id()).collect()
    }

    fn found(&self, place: usize) -> Outcome<Self> {
        self.outcome(self.homes[place].found()).unwrap()
    }

    fn past(&self) -> Past {
        Past {
            crashes: self.setup.crashes,
            expiries: self.setup.expiries,
            asked: vec![None; self.setup.ops.len()],
            proposals: BTreeMap::new(),
            votes: BTreeMap::new(),
            said: [Ballot::START; ACCEPTORS],
        }
    }

    fn scripts(&self) -> (String, String) {
        (String::new(), self.setup.script.to_owned())
    }

    fn deeds(&self, scene: &Scene<'_, Self>, place: usize, out: &mut Vec<Deed>) {
        let past = scene.past;
        for (op, (node, _)) in self.setup.ops.iter().enumerate() {
            if *node == place as u64 + 1 && past.asked[op].is_none() {
                out.push(Deed::Ask(op as u8));
            }
        }
        out.push(Deed::Tick);
        if past.expiries > 0 {
            out.push(Deed::Expire);
        }
    }

    fn tears(&self, past: &Past) -> u8 {
        if past.crashes > 0 { 2 } else { 0 }
    }

    fn is_torn(&self, _: &Input<Deed>) -> bool {
        true
    }

    fn is_lost(&self, _: &Message) -> bool {
        false
    }

    fn counts(&self, action: &Action<Deed>) -> bool {
        action.is_crash()
    }

    fn give(&self, place: usize, member: &Member, given: Given<'_, Self>) -> Option<Outcome<Self>> {
        let told = self.homes[place].run(member, &given_as(&given), None);
        self.outcome(told?)
    }

    fn crash(
        &self,
        place: usize,
        member: &Member,
        given: Option<Given<'_, Self>>,
        kept: usize,
    ) -> Option<Outcome<Self>> {
        let home = &self.homes[place];
        let told = match &given {
            Some(given) => home.run(member, &given_as(given), Some(kept)),
            // Nothing is being written between steps.
            None if kept == 0 => home.run(member, &Do::Crash, None),
            None => None,
        };
        self.outcome(told?)
    }

    fn update(&self, past: &mut Past, change: &Change<'_, Self>) -> Result<(), Breach> {
        judge::update(past, change, self.setup.ops)
    }

    fn has_learned(&self, member: &Member) -> bool {
        let register = member.disk.registers.get(&member::key());
        register.is_some_and(|register| register.vote.is_some())
    }

    fn is_called(&self, message: &Message, what: &str, ballot: &str) -> bool {
        let body = format!("{:?}", message.body).to_lowercase();
        let named = body.contains(&format!("ballot: b{ballot}"));
        named && body.split(|c: char| !c.is_alphabetic()).next() == Some(what)
    }

    /// `asks-0` asks the first of the list.
    fn deed(&self, word: &str, _: &Past) -> Deed {
        match word.split_once('-') {
            Some(("asks", op)) => Deed::Ask(op.parse().unwrap()),
            None if word == "ticks" => Deed::Tick,
            None if word == "expires" => Deed::Expire,
            Some(_) | None => panic!("{word} is not known"),
        }
    }

    fn tell_message(&self, message: &Message) -> String {
        format!("{:?}", message.body)
    }

    fn tell_deed(&self, deed: Deed) -> String {
        match deed {
            Deed::Ask(op) => format!("is asked {:?}", self.setup.ops[usize::from(op)].1),
            Deed::Tick => "sees its timers fire".into(),
            Deed::Expire => "gives up what takes too long".into(),
        }
    }
}

const fn given_as<'a>(given: &Given<'a, Register>) -> Do<'a> {
    match given {
        Given::Message(envelope) => Do::Message(envelope),
        Given::Deed(deed) => Do::Deed(*deed),
    }
}
