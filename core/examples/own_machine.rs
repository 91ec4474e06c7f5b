//! A machine written by hand, and the loop that runs it: a register with one backup.
//!
//! The primary takes a value, makes it durable, and sends it; the backup makes it durable and
//! acknowledges; then the primary tells the application that the value is safe. Neither speaks
//! before its own disk has answered, and nobody here had to take care of that: the `Outbox` does.
//!
//! `cargo run -p synod-core --example own_machine`

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    reason = "an example has std, and shows what it does"
)]

use core::convert::Infallible;
use core::time::Duration;
use std::collections::VecDeque;

use synod_core::{
    Envelope, Instant, Link, LinkId, LoadId, Machine, NodeId, Outbox, Output, Wake, WriteId,
};

const PRIMARY: NodeId = NodeId(1);
const BACKUP: NodeId = NodeId(2);
const RETRY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Message {
    Store(u64),
    Stored(u64),
}

/// One end of the register. Both ends run the same code; who is given commands is the primary.
struct Register {
    id: NodeId,
    peer: NodeId,
    value: u64,
    safe: u64,
    link: Option<LinkId>,
    retry_at: Option<Instant>,
    // Messages, records, events, loads (none), private notes (none).
    outbox: Outbox<Message, u64, u64, Infallible, Infallible>,
}

impl Register {
    fn new(id: NodeId, peer: NodeId) -> Self {
        Self {
            id,
            peer,
            value: 0,
            safe: 0,
            link: None,
            retry_at: None,
            outbox: Outbox::new(1),
        }
    }

    /// Sends once everything written so far is durable.
    fn say(&mut self, message: Message) {
        if let Some(link) = self.link {
            let (from, to) = (self.id, self.peer);
            self.outbox.send_after(Envelope {
                from,
                to,
                link,
                message,
            });
        }
    }

    fn replicate(&mut self, now: Instant) {
        self.say(Message::Store(self.value));
        self.retry_at = Some(now + RETRY);
    }
}

impl Machine for Register {
    type Command = u64;
    type Reply = ();
    type Message = Message;
    type Record = u64;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = u64;

    fn call(&mut self, now: Instant, value: u64) {
        self.value = value;
        self.outbox.write(value);
        self.replicate(now);
    }

    fn step(&mut self, _: Instant, envelope: Envelope<Message>) {
        match envelope.message {
            Message::Store(value) if value > self.value => {
                self.value = value;
                self.outbox.write(value);
                self.say(Message::Stored(value));
            }
            // A repetition: its answer was lost.
            Message::Store(value) => self.say(Message::Stored(value)),
            Message::Stored(value) if value > self.safe => {
                self.safe = value;
                self.retry_at = None;
                self.outbox.event_after(value);
            }
            Message::Stored(_) => {}
        }
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        self.outbox.purge(peer);
        self.link = match link {
            Link::Up(link) => Some(link),
            Link::Down => None,
        };
        if self.safe < self.value {
            self.replicate(now);
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.replicate(now);
        }
    }

    fn persisted(&mut self, _: Instant, write: WriteId) {
        self.outbox.persisted(write);
    }

    fn loaded(&mut self, _: Instant, _: LoadId, answer: Option<Infallible>) {
        match answer {
            Some(impossible) => match impossible {},
            None => unreachable!("this machine loads nothing"),
        }
    }

    fn poll(&mut self) -> Option<Output<Message, u64, u64, Infallible>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        self.retry_at.map(|at| Wake { at, why: "retry" })
    }
}

/// What is on its way: to a machine, or to a disk.
enum Under {
    Message(Envelope<Message>),
    Write(NodeId, WriteId),
}

fn main() {
    let mut nodes = [
        Register::new(PRIMARY, BACKUP),
        Register::new(BACKUP, PRIMARY),
    ];
    let mut now = Instant::START;
    for (node, peer) in [(0, BACKUP), (1, PRIMARY)] {
        nodes[node].link(now, peer, Link::Up(LinkId(1)));
    }
    let mut under_way = VecDeque::new();
    let mut lose_next = true;
    nodes[0].call(now, 7);
    while nodes[0].safe < 7 {
        // Drain both machines and do what they say.
        for node in &mut nodes {
            while let Some(output) = node.poll() {
                let id = node.id;
                match output {
                    Output::Persist(write, records) => {
                        let values: Vec<u64> = records.into_iter().collect();
                        println!("{now} {id} writes {values:?} as {write}");
                        under_way.push_back(Under::Write(id, write));
                    }
                    Output::Send(envelope) => {
                        println!("{now} {id} sends {:?}", envelope.message);
                        under_way.push_back(Under::Message(envelope));
                    }
                    Output::Event(value) => println!("{now} {id} says: {value} is safe"),
                    Output::Load(_, impossible) => match impossible {},
                }
            }
        }
        // Then give them what happens next: a disk answers, a message arrives, or time passes.
        let index = |id: NodeId| usize::from(id != PRIMARY);
        match under_way.pop_front() {
            Some(Under::Write(id, write)) => nodes[index(id)].persisted(now, write),
            Some(Under::Message(_)) if core::mem::take(&mut lose_next) => {
                println!("{now} a message is lost");
            }
            Some(Under::Message(envelope)) => nodes[index(envelope.to)].step(now, envelope),
            None => {
                let wakes = nodes.iter().filter_map(Machine::deadline);
                let wake = wakes.min_by_key(|wake| wake.at).expect("a retry is due");
                now = wake.at;
                println!("{now} {} is due", wake.why);
                nodes.iter_mut().for_each(|node| node.tick(now));
            }
        }
    }
    assert_eq!(nodes[1].value, 7, "safe means that the backup has it");
    assert_eq!(nodes[0].poll(), Some(Output::Event(7)));
    println!("{now} {PRIMARY} says: 7 is safe");
}
