//! Test a machine of your own that is no log under a thousand failures: `cargo run --example
//! own_scene`. It is single-decree Paxos (Lamport, "Paxos Made Simple", 2001); run it with
//! `forget` to see what happens if acceptors promise before their disk has answered.

#![allow(clippy::print_stdout)] // an example talks

extern crate alloc;

use alloc::collections::{BTreeMap, BTreeSet};
use core::convert::Infallible;
use core::time::Duration;

use synod_core::{
    Envelope, Instant, Link, LinkId, LoadId, Machine, NodeId, Outbox, Output, Wake, WriteId, mix,
};
use synod_sim::{Campaign, Keyed, Latest, Plan, Scene, Scenery, Simulation, Stage, Start, Subject};

/// Greater is later.
type Ballot = (u64, NodeId);

/// What an acceptor must not forget.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Acceptor {
    promised: Option<Ballot>,
    accepted: Option<(Ballot, u64)>,
}

impl Keyed for Acceptor {
    type Key = ();

    fn key(&self) {}
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Message {
    Prepare(Ballot),
    Promise(Ballot, Option<(Ballot, u64)>),
    Accept(Ballot, u64),
    Accepted(Ballot),
    Chosen(u64),
}

/// A proposal under way: first promises are gathered, then acceptances.
struct Proposal {
    ballot: Ballot,
    value: u64,
    found: Option<(Ballot, u64)>,
    promised: bool,
    heard: BTreeSet<NodeId>,
}

struct Paxos {
    id: NodeId,
    peers: Vec<NodeId>,
    seed: u64,
    forgets: bool,
    links: BTreeMap<NodeId, LinkId>,
    acceptor: Acceptor,
    wanted: Option<u64>,
    proposal: Option<Proposal>,
    chosen: Option<u64>,
    retry_at: Option<Instant>,
    // Messages, records, events, loads (none), and private notes: what it has answered itself.
    outbox: Outbox<Message, Acceptor, u64, Infallible, Message>,
}

impl Paxos {
    fn new(start: Start<'_, Vec<Acceptor>>, forgets: bool) -> Self {
        let peers = start.voters.iter().filter(|id| **id != start.id);
        Self {
            id: start.id,
            peers: peers.copied().collect(),
            seed: start.seed,
            forgets,
            links: BTreeMap::new(),
            acceptor: start.restored.first().copied().unwrap_or_default(),
            wanted: None,
            proposal: None,
            chosen: None,
            retry_at: None,
            outbox: Outbox::new(1),
        }
    }

    fn say(&mut self, to: NodeId, message: Message) {
        if let Some(&link) = self.links.get(&to) {
            let from = self.id;
            let envelope = Envelope {
                from,
                to,
                link,
                message,
            };
            if self.forgets {
                self.outbox.send_now(envelope);
            } else {
                self.outbox.send_after(envelope);
            }
        }
    }

    fn say_all(&mut self, message: Message) {
        for peer in self.peers.clone() {
            self.say(peer, message);
        }
    }

    /// Phase 1a, with a ballot above all that this node knows of.
    fn prepare(&mut self, now: Instant) {
        let Some(value) = self.wanted.filter(|_| self.chosen.is_none()) else {
            self.retry_at = None;
            return;
        };
        let ours = self.proposal.as_ref().map(|proposal| proposal.ballot);
        let (round, _) = ours.max(self.acceptor.promised).unwrap_or((0, self.id));
        let ballot = (round + 1, self.id);
        let (found, promised, heard) = (None, false, BTreeSet::new());
        self.proposal = Some(Proposal {
            ballot,
            value,
            found,
            promised,
            heard,
        });
        let jitter = mix(self.seed, round) % 400;
        self.retry_at = Some(now + Duration::from_millis(100 + jitter));
        self.say_all(Message::Prepare(ballot));
        self.answer_self(Message::Prepare(ballot));
    }

    /// The acceptor: what it answers, once that is durable (phases 1b and 2b).
    fn answer(&mut self, message: Message) -> Option<Message> {
        let promised = self.acceptor.promised;
        let (ballot, answer) = match message {
            Message::Prepare(ballot) => (ballot, Message::Promise(ballot, self.acceptor.accepted)),
            Message::Accept(ballot, value) => {
                if promised <= Some(ballot) {
                    self.acceptor.accepted = Some((ballot, value));
                }
                (ballot, Message::Accepted(ballot))
            }
            Message::Promise(..) | Message::Accepted(_) | Message::Chosen(_) => return None,
        };
        if promised > Some(ballot) {
            return None;
        }
        self.acceptor.promised = Some(ballot);
        self.outbox.write(self.acceptor);
        Some(answer)
    }

    /// No message to itself: a note that comes back when the write is durable.
    fn answer_self(&mut self, message: Message) {
        if let Some(answer) = self.answer(message) {
            self.outbox.note_after(answer);
        }
    }

    /// The proposer: a promise or an acceptance has come (phase 2a, and the end).
    fn hear(&mut self, from: NodeId, answer: Message) {
        let members = self.peers.len() + 1;
        let majority = members / 2 + 1;
        let Some(proposal) = &mut self.proposal else {
            return;
        };
        match answer {
            Message::Promise(ballot, accepted)
                if ballot == proposal.ballot && !proposal.promised =>
            {
                proposal.found = proposal.found.max(accepted);
            }
            Message::Accepted(ballot) if ballot == proposal.ballot && proposal.promised => {}
            Message::Promise(..) | Message::Accepted(_) => return,
            Message::Prepare(_) | Message::Accept(..) | Message::Chosen(_) => return,
        }
        proposal.heard.insert(from);
        if proposal.heard.len() < majority {
            return;
        }
        if proposal.promised {
            let value = proposal.value;
            self.say_all(Message::Chosen(value));
            return self.learn(value);
        }
        (proposal.promised, proposal.heard) = (true, BTreeSet::new());
        proposal.value = proposal.found.map_or(proposal.value, |(_, value)| value);
        let accept = Message::Accept(proposal.ballot, proposal.value);
        self.say_all(accept);
        self.answer_self(accept);
    }

    fn learn(&mut self, value: u64) {
        if self.chosen.replace(value) != Some(value) {
            self.outbox.event_now(value);
        }
    }

    fn notes(&mut self) {
        while let Some(answer) = self.outbox.next_note() {
            self.hear(self.id, answer);
        }
    }
}

impl Machine for Paxos {
    type Command = u64;
    type Reply = ();
    type Message = Message;
    type Record = Acceptor;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = u64;

    fn call(&mut self, now: Instant, value: u64) {
        self.wanted.get_or_insert(value);
        if self.retry_at.is_none() {
            self.prepare(now);
        }
        self.notes();
    }

    fn step(&mut self, _: Instant, Envelope { from, message, .. }: Envelope<Message>) {
        match message {
            Message::Prepare(_) | Message::Accept(..) => match self.chosen {
                Some(value) => self.say(from, Message::Chosen(value)),
                None => {
                    if let Some(answer) = self.answer(message) {
                        self.say(from, answer);
                    }
                }
            },
            Message::Promise(..) | Message::Accepted(_) => self.hear(from, message),
            Message::Chosen(value) => self.learn(value),
        }
        self.notes();
    }

    fn link(&mut self, _: Instant, peer: NodeId, link: Link) {
        self.outbox.purge(peer);
        match link {
            Link::Up(link) => self.links.insert(peer, link),
            Link::Down => self.links.remove(&peer),
        };
    }

    fn tick(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.prepare(now);
            self.notes();
        }
    }

    fn persisted(&mut self, _: Instant, write: WriteId) {
        self.outbox.persisted(write);
        self.notes();
    }

    fn loaded(&mut self, _: Instant, _: LoadId, answer: Option<Infallible>) {
        match answer {
            Some(impossible) => match impossible {},
            None => unreachable!("this machine loads nothing"),
        }
    }

    fn poll(&mut self) -> Option<Output<Message, Acceptor, u64, Infallible>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        self.retry_at.map(|at| Wake {
            at,
            why: "another ballot",
        })
    }
}

/// How its nodes start, from what their disks hold.
struct OnPaxos {
    forgets: bool,
}

impl Subject for OnPaxos {
    type Machine = Paxos;
    type Disk = Latest<Acceptor>;

    fn start(&self, start: Start<'_, Vec<Acceptor>>) -> Paxos {
        Paxos::new(start, self.forgets)
    }
}

/// What stands on it: somebody proposes now and then, everywhere.
struct Proposing;

impl Scenery<OnPaxos> for Proposing {
    type Scene<'a> = Decision;

    fn scene(&self, _: &OnPaxos, _: &Plan) -> Decision {
        Decision::default()
    }
}

/// What was proposed and chosen in one run.
#[derive(Default)]
struct Decision {
    proposed: BTreeSet<u64>,
    chosen: Option<u64>,
}

/// A node is asked to propose something.
struct Propose(usize);

impl Scene<OnPaxos> for Decision {
    type Item = Propose;

    fn opens(&mut self, stage: &mut Stage<'_, OnPaxos, Propose>) {
        for node in 0..stage.size() {
            stage.later(100_000_000 * (node as u64 + 1), Propose(node));
        }
    }

    fn happens(&mut self, stage: &mut Stage<'_, OnPaxos, Propose>, Propose(node): Propose) {
        let value = self.proposed.len() as u64;
        let taken = stage.call(node, value).is_some();
        if taken {
            self.proposed.insert(value);
        }
        // Nobody answers at a node that is down.
        if !(stage.is_calm() && taken) {
            stage.later(500_000_000, Propose(node));
        }
    }

    fn event(&mut self, stage: &mut Stage<'_, OnPaxos, Propose>, node: usize, value: u64) {
        let (id, first) = (stage.id(node), *self.chosen.get_or_insert(value));
        stage.ensure(first == value, "agreement", || {
            format!("{id} learns {value}, and {first} was chosen")
        });
        stage.ensure(self.proposed.contains(&value), "validity", || {
            format!("{id} learns {value}, and nobody proposed that")
        });
    }

    /// Stability, from the disks alone: what is chosen is accepted where no ballot can pass it by.
    fn steps(&mut self, stage: &mut Stage<'_, OnPaxos, Propose>, _: usize) {
        let Some(value) = self.chosen else { return };
        let accepted = (0..stage.size()).filter(|node| {
            let acceptor = stage.stored(*node).image.get(&());
            acceptor
                .and_then(|acceptor| acceptor.accepted)
                .map(|(_, value)| value)
                == Some(value)
        });
        let holds = accepted.count() > stage.size() / 2;
        stage.ensure(holds, "stability", || {
            format!("{value} is chosen and is not on a majority")
        });
    }

    /// Everybody proposes once more, and so learns what was chosen.
    fn calms(&mut self, stage: &mut Stage<'_, OnPaxos, Propose>) {
        for node in 0..stage.size() {
            stage.later(1_000_000_000, Propose(node));
        }
    }

    fn unrest(&self, stage: &Stage<'_, OnPaxos, Propose>) -> Option<String> {
        let knows = |node: &usize| {
            stage
                .machine(*node)
                .is_some_and(|paxos| paxos.chosen.is_some())
        };
        let lacks = (0..stage.size()).find(|node| !knows(node));
        lacks.map(|node| format!("{} does not know what was chosen", stage.id(node)))
    }

    fn judge(&mut self, stage: &mut Stage<'_, OnPaxos, Propose>) {
        stage.decided();
    }
}

fn main() {
    let forgets = std::env::args().any(|arg| arg == "forget");
    let simulation = Simulation::new(OnPaxos { forgets }, Proposing);
    let summary = Campaign::from_env("paxos", 100).run(&simulation);
    println!("{summary}");
    assert_eq!(summary.failure.is_some(), forgets);
}
