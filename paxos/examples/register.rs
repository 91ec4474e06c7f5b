//! Three nodes in one process: a counter that any of them increments, a lock that one of them gets,
//! and a node that is replaced.
//!
//! `cargo run -p synod-paxos --example register`
#![allow(clippy::print_stdout, reason = "an example shows what happens")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "examples have std"
)]

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use synod_core::{Envelope, Instant, Link, LinkId, Machine, NodeId, Output, Ticket};
use synod_paxos::register::{
    CasPaxos, Change, Command, Condition, Config, Decision, Event, Message, Refusal, Restored, Step,
};
use synod_quorum::PaxosPhases;

/// A node: the machine, and a disk in memory.
struct Node {
    machine: CasPaxos,
    disk: Restored,
}

struct Cluster {
    nodes: Vec<Node>,
    mail: VecDeque<Envelope<Message>>,
    now: Instant,
}

impl Cluster {
    fn new(count: u64, acceptors: [u64; 3]) -> Result<Self, Box<dyn Error>> {
        let mut cluster = Self {
            nodes: Vec::new(),
            mail: VecDeque::new(),
            now: Instant::START,
        };
        for id in 1..=count {
            let mut builder = Config::builder(NodeId(id)).seed(1000 + id);
            if acceptors.contains(&id) {
                builder = builder.acceptors(acceptors.map(NodeId));
            }
            let disk = Restored::new();
            let mut machine = CasPaxos::new(builder.build()?, disk.clone(), cluster.now)?;
            for other in (1..=count).filter(|other| *other != id) {
                machine.link(cluster.now, NodeId(other), Link::Up(LinkId(1)));
            }
            cluster.nodes.push(Node { machine, disk });
        }
        Ok(cluster)
    }

    fn node(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.machine.id() == id)
    }

    /// The loop around each machine: does what it says, and gathers what it tells.
    fn run(&mut self, told: &mut Vec<(NodeId, Event)>) {
        for Node { machine, disk } in &mut self.nodes {
            while let Some(output) = machine.poll() {
                match output {
                    Output::Send(envelope) => self.mail.push_back(envelope),
                    Output::Persist(write, records) => {
                        // In order, then one sync.
                        records.into_iter().for_each(|record| disk.apply(record));
                        machine.persisted(self.now, write);
                    }
                    Output::Load(_, never) => match never {},
                    Output::Event(event) => told.push((machine.id(), event)),
                }
            }
        }
        let now = self.now;
        if let Some(envelope) = self.mail.pop_front() {
            if let Some(node) = self.node(envelope.to) {
                node.machine.step(now, envelope);
            }
        } else {
            self.now = self.now + Duration::from_millis(1);
            let now = self.now;
            let nodes = self.nodes.iter_mut();
            nodes.for_each(|node| node.machine.tick(now));
        }
    }

    /// Asks a node, and waits for what comes of it.
    fn ask(&mut self, at: NodeId, command: Command) -> Result<Event, Box<dyn Error>> {
        let now = self.now;
        let node = self.node(at).ok_or("no such node")?;
        let ticket = node.machine.call(now, command)?.ok_or("it has a ticket")?;
        let mut told = Vec::new();
        loop {
            self.run(&mut told);
            for (id, event) in told.drain(..) {
                match event {
                    // A custom change: what is there comes as an event, what shall be as a command.
                    Event::Ask {
                        ticket,
                        ballot,
                        current,
                    } => {
                        let count: u64 = match &current {
                            Some(current) => std::str::from_utf8(&current.value)?.parse()?,
                            None => 0,
                        };
                        let decision = Decision::Write((count + 1).to_string().into());
                        let answer = Command::Decide {
                            ticket,
                            ballot,
                            decision,
                        };
                        let now = self.now;
                        let node = self.node(id).ok_or("no such node")?;
                        // Refused as late if there is a newer question by now.
                        let _ = node.machine.call(now, answer);
                    }
                    event if id == at && settles(&event, ticket) => return Ok(event),
                    _ => {}
                }
            }
        }
    }
}

/// Whether an event is the end of a ticket.
fn settles(event: &Event, ticket: Ticket) -> bool {
    matches!(event,
        Event::Done { ticket: it, .. }
        | Event::Refused { ticket: it, .. }
        | Event::Unknown { ticket: it }
        | Event::Stepped { ticket: it, .. } if *it == ticket)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut cluster = Cluster::new(4, [1, 2, 3])?;
    let change = |key: &'static str, change| Command::Change {
        key: key.into(),
        change,
    };

    // Any node may change any register; there is no leader.
    for id in [1, 2, 3, 1, 2, 3] {
        let event = cluster.ask(NodeId(id), change("count", Change::Custom))?;
        println!("n{id}: {event:?}");
    }
    let Event::Done { current, .. } = cluster.ask(NodeId(2), change("count", Change::Read))? else {
        return Err("a quorum is there".into());
    };
    let current = current.ok_or("it was written")?;
    println!(
        "the counter is {:?}, version {}",
        current.value, current.version
    );
    assert_eq!(current.value, "6");

    // Who finds nothing there puts its name; the other is told whose it is.
    for name in ["alice", "bob"] {
        let take = Change::Write {
            value: name.into(),
            when: Condition::Absent,
        };
        match cluster.ask(NodeId(1), change("lock", take))? {
            Event::Done { .. } => println!("{name} has the lock"),
            Event::Refused {
                why: Refusal::Condition { current },
                ..
            } => println!("{name} does not: {:?} has it", current.map(|it| it.value)),
            other => return Err(format!("unexpected: {other:?}").into()),
        }
    }

    // The fourth node takes the place of the third, step by step.
    let target = PaxosPhases::majority([1, 2, 4].map(NodeId))?;
    loop {
        let node = cluster.node(NodeId(1)).ok_or("no such node")?;
        let configuration = node
            .machine
            .configuration()
            .ok_or("it is one of the founders")?;
        let Some(step) = configuration.toward(&target)? else {
            break;
        };
        let name = match &step {
            Step::Phases(phases) => format!("phase 2: {}", phases.phase2()),
            Step::Settle => "settle".into(),
        };
        cluster.ask(NodeId(1), Command::Configure(step))?;
        println!("step taken: {name}");
    }
    let read = cluster.ask(NodeId(4), change("count", Change::Read))?;
    println!("the new node reads {read:?}");
    Ok(())
}
