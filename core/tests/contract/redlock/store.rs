//! A store as the adapter shows it: keys with expiry, no memory over a restart. And the node that
//! is either, since a cluster is of one type.

use alloc::collections::{BTreeMap, VecDeque};
use core::convert::Infallible;

use synod_core::{Envelope, Instant, Link, LoadId, Machine, NodeId, Output, Ticket, Wake, WriteId};

use super::{Command, Event, LONGEST, Message, RedLock, STORES, Token};
use crate::cluster::Node;

type Answer = Output<Message, Infallible, Event, Infallible>;

pub(crate) struct Store {
    keys: BTreeMap<&'static str, (Token, Instant)>,
    /// Stays out until every lease that it may have granted and forgotten is over.
    out_until: Instant,
    answers: VecDeque<Answer>,
}

impl Store {
    fn take(&mut self, now: Instant, envelope: Envelope<Message>) {
        let free = |held: Option<&(Token, Instant)>| held.is_none_or(|(_, until)| *until <= now);
        let (token, release, done) = match envelope.message {
            Message::Acquire { name, token, lease } => {
                let done = now >= self.out_until && free(self.keys.get(name));
                if done {
                    self.keys.insert(name, (token, now + lease));
                }
                (token, false, done)
            }
            Message::Release { name, token } => {
                let held = self.keys.get(name).is_some_and(|(t, _)| *t == token);
                if held {
                    self.keys.remove(name);
                }
                (token, true, held)
            }
            Message::Answer { .. } => return,
        };
        self.answers.push_back(Output::Send(Envelope {
            from: envelope.to,
            to: envelope.from,
            link: envelope.link,
            message: Message::Answer {
                token,
                release,
                done,
            },
        }));
    }
}

pub(crate) enum Party {
    Client(RedLock),
    Store(Store),
}

impl Machine for Party {
    type Command = Command;
    type Reply = Option<Ticket>;
    type Message = Message;
    type Record = Infallible;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = Event;

    fn call(&mut self, now: Instant, command: Command) -> Option<Ticket> {
        match self {
            Self::Client(client) => client.call(now, command),
            Self::Store(_) => None,
        }
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        match self {
            Self::Client(client) => client.step(now, envelope),
            Self::Store(store) => store.take(now, envelope),
        }
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        match self {
            Self::Client(client) => client.link(now, peer, link),
            Self::Store(_) => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        if let Self::Client(client) = self {
            client.tick(now);
        }
    }

    fn persisted(&mut self, _: Instant, _: WriteId) {}

    fn loaded(&mut self, _: Instant, _: LoadId, _: Option<Infallible>) {}

    fn poll(&mut self) -> Option<Answer> {
        match self {
            Self::Client(client) => client.poll(),
            Self::Store(store) => store.answers.pop_front(),
        }
    }

    fn deadline(&self) -> Option<Wake> {
        match self {
            Self::Client(client) => client.deadline(),
            Self::Store(_) => None,
        }
    }
}

impl Node for Party {
    type Disk = ();

    fn store((): &mut (), record: Infallible) {
        match record {}
    }

    fn fetch((): &(), load: &Infallible) -> Option<Infallible> {
        match *load {}
    }

    fn start(id: NodeId, now: Instant, (): &(), seed: u64) -> Self {
        if STORES.contains(&id.0) {
            return Self::Store(Store {
                keys: BTreeMap::new(),
                out_until: now + LONGEST,
                answers: VecDeque::new(),
            });
        }
        Self::Client(RedLock::new(id, seed))
    }
}
