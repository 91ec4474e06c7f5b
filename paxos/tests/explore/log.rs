//! Multi-Paxos.
//!
//! Besides what is said of every search: of the election only the outcome is explored. A node that may
//! stand does so at any time, as if a voter had said that nobody leads; a leader's round of the election
//! ends with its quorum. Nothing that an acceptor does rests on such words. There are no snapshots, no
//! learners, no proposals that are passed on, and the voters stay.

mod clean;
mod judge;
mod member;
mod planted;
mod setups;

use std::collections::BTreeMap;

use synod_core::NodeId;
use synod_paxos::Ballot;
use synod_paxos::log::{Body, Message};

use crate::model::{Breach, Change, Given, Input, Model, Outcome, Scene};
use crate::world::Action;
use member::{Deed, Do, Home, Member, Sight, Told};
use setups::Setup;

/// How many nodes there are, all of them voters.
const VOTERS: usize = 3;

struct Log {
    setup: Setup,
    homes: Vec<Home>,
}

impl Log {
    fn new(setup: Setup) -> Self {
        let configs: Vec<_> = (1..=VOTERS as u64)
            .map(|id| setup.config(NodeId(id)))
            .collect();
        let lives: Vec<_> = configs
            .iter()
            .map(|config| (config.id(), member::generation_of(config)))
            .collect();
        let home = |config: &synod_paxos::log::Config| Home {
            config: config.clone(),
            peers: lives
                .iter()
                .copied()
                .filter(|(id, _)| *id != config.id())
                .collect(),
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
        (member.era <= self.setup.rounds).then_some(Outcome {
            member,
            sent,
            sights,
        })
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Past {
    // What may still happen.
    commands: u8,
    beats: u8,
    reads: u8,
    slows: u8,
    crashes: u8,
    /// Every vote that was ever durable: for what, and whose, a bit each.
    votes: BTreeMap<(u64, Ballot), (u8, u8)>,
    /// What anybody has handed out.
    ledger: Vec<u8>,
    /// Commands of which a node has said that they did not and will not happen.
    disowned: Vec<u8>,
    /// The highest round in which each node has promised or voted, as far as it has said so.
    said: [u64; VOTERS],
    /// Where a read waits, how much was handed out when it was asked, and one.
    floors: [u8; VOTERS],
}

impl Model for Log {
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
        let Setup {
            commands,
            beats,
            reads,
            slows,
            crashes,
            ..
        } = self.setup;
        Past {
            commands,
            beats,
            reads,
            slows,
            crashes,
            votes: BTreeMap::new(),
            ledger: Vec::new(),
            disowned: Vec::new(),
            said: [0; VOTERS],
            floors: [0; VOTERS],
        }
    }

    fn scripts(&self) -> (String, String) {
        (String::new(), self.setup.script.to_owned())
    }

    fn deeds(&self, scene: &Scene<'_, Self>, place: usize, out: &mut Vec<Deed>) {
        let (member, past) = (scene.member(place), scene.past);
        if self.setup.standing.contains(&(place as u64 + 1)) {
            out.push(Deed::Stand);
        }
        if member.leads && past.commands > 0 {
            out.push(self.deed("proposes", past));
        }
        if member.leads && past.beats > 0 {
            out.push(Deed::Beat);
        }
        if member.leads && past.reads > 0 && member.reading.is_none() {
            out.push(Deed::Read);
        }
        if member.writing.is_some() {
            out.push(Deed::Finish);
        } else if past.slows > 0 && !member.slow {
            out.push(Deed::Slow);
        }
    }

    fn tears(&self, past: &Past) -> u8 {
        if past.crashes > 0 { 3 } else { 0 }
    }

    fn is_torn(&self, input: &Input<Deed>) -> bool {
        matches!(
            input,
            Input::Message(_) | Input::Deed(Deed::Propose(_) | Deed::Stand)
        )
    }

    fn is_lost(&self, message: &Message) -> bool {
        self.setup.blind && matches!(message.body, Body::Accepted { .. })
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
            // A write under way, or the next one, may be torn as it crashes later.
            Some(_) if member.slow => None,
            Some(given) => home.run(member, &given_as(given), Some(kept)),
            None if member.may_keep(kept) => home.run(member, &Do::Crash(kept), None),
            None => None,
        };
        self.outcome(told?)
    }

    fn update(&self, past: &mut Past, change: &Change<'_, Self>) -> Result<(), Breach> {
        judge::update(past, change, self.setup.commands)
    }

    fn has_learned(&self, member: &Member) -> bool {
        member.applied > 0
    }

    /// `accept:2` is the one that begins with slot 2.
    fn is_called(&self, message: &Message, what: &str, ballot: &str) -> bool {
        let (kind, slot) = what
            .split_once(':')
            .map_or((what, None), |(kind, slot)| (kind, Some(slot)));
        let name = format!("{:?}", message.body).to_lowercase();
        let name = name.split(|c: char| !c.is_alphabetic()).next();
        let first = match &message.body {
            Body::Accept(accept) if !accept.entries.is_empty() => {
                accept.entries.first().0.to_string()
            }
            _ => String::new(),
        };
        let own = format!("{}.{}", message.ballot.round, message.ballot.proposer.0);
        name == Some(kind) && own == ballot && slot.is_none_or(|slot| slot == first)
    }

    fn deed(&self, word: &str, past: &Past) -> Deed {
        match word {
            "stands" => Deed::Stand,
            "proposes" => Deed::Propose(self.setup.commands - past.commands + 1),
            "beats" => Deed::Beat,
            "reads" => Deed::Read,
            "slow" => Deed::Slow,
            "finishes" => Deed::Finish,
            other => panic!("{other} is not known"),
        }
    }

    fn tell_message(&self, message: &Message) -> String {
        format!("{} {:?}", message.ballot, message.body)
    }

    fn tell_deed(&self, deed: Deed) -> String {
        match deed {
            Deed::Stand => "hears of no leader and stands".into(),
            Deed::Beat => "is followed, and its timers fire".into(),
            Deed::Propose(command) => format!("is asked to propose {command}"),
            Deed::Read => "is asked to read".into(),
            Deed::Slow => "has a disk that is slow".into(),
            Deed::Finish => "has written what it was writing".into(),
        }
    }
}

const fn given_as<'a>(given: &Given<'a, Log>) -> Do<'a> {
    match given {
        Given::Message(envelope) => Do::Message(envelope),
        Given::Deed(deed) => Do::Deed(*deed),
    }
}
