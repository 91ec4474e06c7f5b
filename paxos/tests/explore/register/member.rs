//! One node of the explored register: the machine, its disk, and what it was asked.

use synod_core::{Envelope, Generation, Ghost, Instant, Link, LinkId, Machine, NodeId, Output};
use synod_paxos::Ballot;
use synod_paxos::register::{
    Body, CasPaxos, Change, Command, Condition, Config, Event, Key, Message, Record, Refusal,
    Restored, State, Versioned,
};

/// The incarnation of every link: the same after a restart, so that old messages still arrive.
const LINK: LinkId = LinkId(1);
/// Later than any change may take.
const LATE: Instant = Instant::from_millis(10_000);

/// What a client asks of the register. Values are numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Op {
    Read,
    Write(u8),
    /// If there is nothing.
    Create(u8),
    Delete,
}

/// What it is told. Of values 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Ret {
    /// It is done, and this is there.
    Done(u8),
    /// The condition does not hold: this is there.
    Mismatch(u8),
    /// It has not happened and will not.
    Never,
    /// Nobody can tell.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Deed {
    /// A client asks, by the place in the list of what is asked.
    Ask(u8),
    Tick,
    /// The time of all changes is up.
    Expire,
}

/// What a step shows to the outside, besides messages.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// A vote is durable.
    Voted(Ballot, State),
    Told(u8, Ret),
    /// A rule that one node can break alone.
    Trouble(String),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Member {
    machine: CasPaxos,
    pub(super) disk: Restored,
    /// What this life was asked and has not answered.
    open: Vec<(Ghost<u64>, u8)>,
    now: Instant,
}

/// What is the same for all lives of a node.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) config: Config,
    pub(super) peers: Vec<(NodeId, Generation)>,
    pub(super) ops: &'static [(u64, Op)],
    pub(super) planted: bool,
}

/// What a step leads to.
pub(super) struct Told {
    pub(super) member: Member,
    pub(super) sent: Vec<Envelope<Message>>,
    pub(super) sights: Vec<Sight>,
    /// So many records are kept of the first write, and then it crashes.
    kept: Option<usize>,
    torn: bool,
}

/// What is done to a node.
pub(super) enum Do<'a> {
    Message(&'a Envelope<Message>),
    Deed(Deed),
    Crash,
}

pub(super) fn key() -> Key {
    Key::Data("k".into())
}

/// A value as a number; 0 for none.
pub(super) fn number(versioned: Option<&Versioned>) -> u8 {
    versioned.map_or(0, |versioned| versioned.value[0])
}

/// The life of a storage that is founded with these settings.
pub(super) fn generation_of(config: &Config) -> Generation {
    let node = CasPaxos::new(config.clone(), Restored::new(), Instant::START).unwrap();
    node.storage().identity.unwrap().1
}

impl Home {
    /// A node that knows its peers' storages: first contacts are another test's matter.
    pub(super) fn found(&self) -> Told {
        let mut told = self.start(Restored::new());
        for (peer, generation) in &self.peers {
            let epoch = told.member.machine.configuration().map(|it| it.epoch());
            let message = Message {
                generation: *generation,
                epoch,
                body: Body::Behind,
            };
            told.step(&Envelope {
                from: *peer,
                to: self.config.id(),
                link: LINK,
                message,
            });
        }
        told
    }

    fn start(&self, disk: Restored) -> Told {
        let machine = CasPaxos::new(self.config.clone(), disk.clone(), Instant::START).unwrap();
        let mut told = Told::of(Member {
            machine,
            disk,
            open: Vec::new(),
            now: Instant::START,
        });
        for (peer, _) in &self.peers {
            told.member
                .machine
                .link(Instant::START, *peer, Link::Up(LINK));
        }
        told.drain();
        told
    }

    /// Does something with a node. `None` if no write is torn that should be.
    pub(super) fn run(&self, member: &Member, given: &Do<'_>, kept: Option<usize>) -> Option<Told> {
        let mut told = Told::of(member.clone());
        told.kept = kept;
        told.give(self, given);
        if !self.planted {
            told.member.machine.check();
        }
        if kept.is_none() && !matches!(given, Do::Crash) {
            return Some(told);
        }
        if kept.is_some() && !told.torn {
            return None;
        }
        let next = self.start(told.member.disk.clone());
        told.sent.extend(next.sent);
        told.sights.extend(next.sights);
        told.member = next.member;
        Some(told)
    }
}

impl Told {
    const fn of(member: Member) -> Self {
        Self {
            member,
            sent: Vec::new(),
            sights: Vec::new(),
            kept: None,
            torn: false,
        }
    }

    fn give(&mut self, home: &Home, given: &Do<'_>) {
        let member = &mut self.member;
        match given {
            Do::Message(envelope) => return self.step(envelope),
            Do::Deed(Deed::Ask(op)) => {
                let Key::Data(key) = key() else { return };
                let value = |value: u8| vec![value].into();
                let change = match home.ops[usize::from(*op)].1 {
                    Op::Read => Change::Read,
                    Op::Write(new) => Change::Write {
                        value: value(new),
                        when: Condition::Always,
                    },
                    Op::Create(new) => Change::Write {
                        value: value(new),
                        when: Condition::Absent,
                    },
                    Op::Delete => Change::Delete {
                        when: Condition::Always,
                    },
                };
                let command = Command::Change { key, change };
                let ticket = member.machine.call(member.now, command).unwrap().unwrap();
                member.open.push((Ghost(ticket.0), *op));
            }
            Do::Deed(Deed::Tick) => member.machine.tick(member.now),
            Do::Deed(Deed::Expire) => {
                member.now = LATE;
                member.machine.tick(LATE);
            }
            Do::Crash => return,
        }
        self.drain();
    }

    fn step(&mut self, envelope: &Envelope<Message>) {
        let now = self.member.now;
        self.member.machine.step(now, envelope.clone());
        self.drain();
    }

    fn store(&mut self, records: impl Iterator<Item = Record>) {
        for record in records {
            if let Record::Vote { vote, .. } = &record {
                let voted = Sight::Voted(vote.ballot, vote.state.clone());
                self.sights.push(voted);
            }
            self.member.disk.apply(record);
        }
    }

    /// Does what the machine says until it has nothing more to say.
    fn drain(&mut self) {
        while let Some(output) = (!self.torn).then(|| self.member.machine.poll()).flatten() {
            match output {
                Output::Send(envelope) => self.sent.push(envelope),
                Output::Persist(_, records) if self.kept.is_some() => {
                    let kept = self.kept.unwrap_or(0);
                    // A write that gets there whole is no torn one, and what it lets go may get
                    // lost.
                    if kept >= records.len() {
                        return;
                    }
                    self.torn = true;
                    self.store(records.into_iter().take(kept));
                }
                Output::Persist(write, records) => {
                    self.store(records.into_iter());
                    let now = self.member.now;
                    self.member.machine.persisted(now, write);
                }
                Output::Load(_, never) => match never {},
                Output::Event(event) => self.hear(event),
            }
        }
    }

    fn hear(&mut self, event: Event) {
        let (ticket, ret) = match event {
            Event::Done {
                ticket, current, ..
            } => (ticket, Ret::Done(number(current.as_ref()))),
            Event::Refused { ticket, why } => {
                let ret = match why {
                    Refusal::Condition { current } => Ret::Mismatch(number(current.as_ref())),
                    Refusal::TimedOut => Ret::Never,
                    other => return self.sights.push(Sight::Trouble(format!("{other:?}"))),
                };
                (ticket, ret)
            }
            Event::Unknown { ticket } => (ticket, Ret::Unknown),
            Event::Purged { .. } => return,
            other => return self.sights.push(Sight::Trouble(format!("{other:?}"))),
        };
        let open = &mut self.member.open;
        let place = open.iter().position(|(open, _)| open.0 == ticket.0);
        self.sights.push(match place {
            Some(place) => Sight::Told(open.remove(place).1, ret),
            None => Sight::Trouble(format!("{ticket} is settled twice")),
        });
    }
}
