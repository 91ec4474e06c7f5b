//! RedLock: a lock by majority of independent stores that know nothing of each other.
//!
//! After the algorithm's own description (redis.io, "Distributed Locks with Redis") with the rules
//! that its critics led to: time counts from before the request, whatever failed is released
//! everywhere, a store that lost its memory stays out for the longest lease. It keeps no records
//! and loads nothing; stores are addressed as nodes, an adapter turns messages into their wire.
//! Left to the real crate: extension, fencing where a store has it, fairness, and tokens that
//! cannot be guessed (see [`RedLock::draw`]).

mod store;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use core::convert::Infallible;
use core::time::Duration;

use synod_core::{
    Envelope, Instant, Link, LoadId, Machine, NodeId, Outbox, Output, Ticket, Wake, WriteId, mix,
};

use crate::links::Links;

/// The stores; clients have smaller ids.
pub(crate) const STORES: [u64; 5] = [11, 12, 13, 14, 15];
const QUORUM: usize = STORES.len() / 2 + 1;
/// How long one store may take: far below any lease, so that a hung one costs little.
const LIMIT: Duration = Duration::from_millis(50);
/// The longest lease.
pub(crate) const LONGEST: Duration = Duration::from_secs(2);
const TRIES: u64 = 3;

/// At least 128 random bits: whose lock it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Token(pub(crate) u128);

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Command {
    Acquire { name: &'static str, lease: Duration },
    Release(Ticket),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Message {
    /// Set if absent, with expiry.
    Acquire {
        name: &'static str,
        token: Token,
        lease: Duration,
    },
    /// Delete if it still is this token.
    Release { name: &'static str, token: Token },
    /// The answer to either.
    Answer {
        token: Token,
        release: bool,
        done: bool,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event {
    /// Held until then, by this node's clock. Not a fencing token: see the crate docs of the real
    /// thing before it protects anything.
    Acquired {
        ticket: Ticket,
        token: Token,
        until: Instant,
    },
    Failed(Ticket),
    /// The lease is over and was not given back.
    Lost(Ticket),
}

struct Attempt {
    name: &'static str,
    lease: Duration,
    /// Before the first request left.
    began: Instant,
    token: Token,
    tries: u64,
    phase: Phase,
}

enum Phase {
    Asking {
        granted: BTreeSet<NodeId>,
        refused: BTreeSet<NodeId>,
    },
    /// Waits before the next try.
    Resting {
        until: Instant,
    },
    Held {
        until: Instant,
    },
}

/// A token to be released wherever it may be.
struct Debt {
    name: &'static str,
    left: BTreeSet<NodeId>,
    /// By then it has expired by itself.
    until: Instant,
}

pub(crate) struct RedLock {
    links: Links,
    outbox: Outbox<Message, Infallible, Event, Infallible, Infallible>,
    seed: u64,
    drawn: u64,
    tickets: u64,
    attempts: BTreeMap<Ticket, Attempt>,
    debts: BTreeMap<Token, Debt>,
}

impl RedLock {
    pub(crate) fn new(me: NodeId, seed: u64) -> Self {
        Self {
            links: Links::new(me),
            outbox: Outbox::new(1),
            seed,
            drawn: 0,
            tickets: 0,
            attempts: BTreeMap::new(),
            debts: BTreeMap::new(),
        }
    }

    /// A token of this life. `mix` can be inverted, so who has seen one knows all: the real crate
    /// needs a seed of 32 bytes and a keyed function here, which `core` does not have yet.
    fn draw(&mut self) -> Token {
        let mut half = || {
            self.drawn += 1;
            u128::from(mix(self.seed, self.drawn))
        };
        Token(half() << 64 | half())
    }

    fn send(&mut self, to: NodeId, message: Message) -> bool {
        let envelope = self.links.address(to, message);
        let sent = envelope.is_some();
        envelope.into_iter().for_each(|e| self.outbox.send_after(e));
        sent
    }

    fn ask(&mut self, now: Instant, ticket: Ticket) {
        let token = self.draw();
        let Some(attempt) = self.attempts.get_mut(&ticket) else {
            return;
        };
        (attempt.began, attempt.token) = (now, token);
        attempt.tries += 1;
        let (name, lease) = (attempt.name, attempt.lease);
        let request = Message::Acquire { name, token, lease };
        let mut refused = BTreeSet::new();
        for store in STORES.map(NodeId) {
            if !self.send(store, request.clone()) {
                refused.insert(store);
            }
        }
        let granted = BTreeSet::new();
        self.enter(ticket, Phase::Asking { granted, refused });
        self.judge(now, ticket);
    }

    fn enter(&mut self, ticket: Ticket, phase: Phase) {
        if let Some(attempt) = self.attempts.get_mut(&ticket) {
            attempt.phase = phase;
        }
    }

    /// Decides as soon as it can be.
    fn judge(&mut self, now: Instant, ticket: Ticket) {
        let Some(attempt) = self.attempts.get(&ticket) else {
            return;
        };
        let Phase::Asking { granted, refused } = &attempt.phase else {
            return;
        };
        let drift = attempt.lease / 100 + Duration::from_millis(2);
        let until = attempt.began + attempt.lease - drift;
        let won = granted.len() >= QUORUM && now < until;
        let lost = refused.len() > STORES.len() - QUORUM || now >= attempt.began + LIMIT;
        if won {
            let token = attempt.token;
            self.enter(ticket, Phase::Held { until });
            self.outbox.event_now(Event::Acquired {
                ticket,
                token,
                until,
            });
        } else if lost {
            self.fail(now, ticket);
        }
    }

    /// Gives back whatever was granted, tries again later or says that it failed.
    fn fail(&mut self, now: Instant, ticket: Ticket) {
        let Some(attempt) = self.attempts.get(&ticket) else {
            return;
        };
        let again = attempt.tries < TRIES;
        let share = mix(self.seed ^ ticket.0, attempt.tries) % 100;
        let until = now + Duration::from_millis(10 + share);
        self.give_back(ticket);
        if again {
            self.enter(ticket, Phase::Resting { until });
        } else {
            self.attempts.remove(&ticket);
            self.outbox.event_now(Event::Failed(ticket));
        }
    }

    /// On every store, those that did not answer too: they may have granted it.
    fn give_back(&mut self, ticket: Ticket) {
        let Some(attempt) = self.attempts.get(&ticket) else {
            return;
        };
        let (name, token) = (attempt.name, attempt.token);
        let debt = Debt {
            name,
            left: STORES.map(NodeId).into(),
            until: attempt.began + attempt.lease + LIMIT,
        };
        self.debts.insert(token, debt);
        for store in STORES.map(NodeId) {
            self.send(store, Message::Release { name, token });
        }
    }

    fn on_answer(&mut self, now: Instant, from: NodeId, token: Token, done: bool) {
        let mine = self.attempts.iter_mut().find(|(_, a)| a.token == token);
        let Some((ticket, attempt)) = mine else {
            return;
        };
        if let Phase::Asking { granted, refused } = &mut attempt.phase {
            if done {
                granted.insert(from);
            } else {
                refused.insert(from);
            }
            let ticket = *ticket;
            self.judge(now, ticket);
        }
    }

    fn released(&mut self, from: NodeId, token: Token) {
        if let Some(debt) = self.debts.get_mut(&token) {
            debt.left.remove(&from);
        }
        self.debts.retain(|_, debt| !debt.left.is_empty());
    }
}

impl Machine for RedLock {
    type Command = Command;
    /// The lock's ticket; `None` for what is longer than [`LONGEST`] or not held.
    type Reply = Option<Ticket>;
    type Message = Message;
    type Record = Infallible;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = Event;

    fn call(&mut self, now: Instant, command: Command) -> Option<Ticket> {
        match command {
            Command::Acquire { name, lease } => {
                if lease > LONGEST || lease <= LIMIT * 2 {
                    return None;
                }
                self.tickets += 1;
                let ticket = Ticket(self.tickets);
                let attempt = Attempt {
                    name,
                    lease,
                    began: now,
                    token: Token(0),
                    tries: 0,
                    phase: Phase::Resting { until: now },
                };
                self.attempts.insert(ticket, attempt);
                self.ask(now, ticket);
                Some(ticket)
            }
            Command::Release(ticket) => {
                let held = self.attempts.get(&ticket)?;
                if !matches!(held.phase, Phase::Held { .. }) {
                    return None;
                }
                self.give_back(ticket);
                self.attempts.remove(&ticket);
                Some(ticket)
            }
        }
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        let from = envelope.from;
        if !self.links.is_current(&envelope) || !STORES.contains(&from.0) {
            return;
        }
        match envelope.message {
            Message::Answer {
                token,
                release: false,
                done,
            } => self.on_answer(now, from, token, done),
            Message::Answer { token, .. } => self.released(from, token),
            Message::Acquire { .. } | Message::Release { .. } => {}
        }
    }

    /// What was asked on an old link may have been granted: it counts as refused and is released
    /// with the rest; what is owed is paid on the new one.
    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        self.links.set(peer, link);
        self.outbox.purge(peer);
        for ticket in self.attempts.keys().copied().collect::<Vec<_>>() {
            if let Some(Phase::Asking { granted, refused }) =
                self.attempts.get_mut(&ticket).map(|a| &mut a.phase)
                && !granted.contains(&peer)
            {
                refused.insert(peer);
                self.judge(now, ticket);
            }
        }
        let owed = self.debts.iter().filter(|(_, d)| d.left.contains(&peer));
        let owed: Vec<_> = owed.map(|(token, debt)| (debt.name, *token)).collect();
        for (name, token) in owed {
            self.send(peer, Message::Release { name, token });
        }
    }

    fn tick(&mut self, now: Instant) {
        self.debts.retain(|_, debt| now < debt.until);
        for ticket in self.attempts.keys().copied().collect::<Vec<_>>() {
            match self.attempts.get(&ticket).map(|attempt| &attempt.phase) {
                Some(Phase::Asking { .. }) => self.judge(now, ticket),
                Some(Phase::Resting { until }) if *until <= now => self.ask(now, ticket),
                Some(Phase::Held { until }) if *until <= now => {
                    self.give_back(ticket);
                    self.attempts.remove(&ticket);
                    self.outbox.event_now(Event::Lost(ticket));
                }
                _ => {}
            }
        }
    }

    fn persisted(&mut self, _: Instant, write: WriteId) {
        self.outbox.persisted(write);
    }

    fn loaded(&mut self, _: Instant, _: LoadId, answer: Option<Infallible>) {
        if let Some(never) = answer {
            match never {}
        }
    }

    fn poll(&mut self) -> Option<Output<Message, Infallible, Event, Infallible>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        let attempts = self.attempts.values().map(|attempt| match attempt.phase {
            Phase::Asking { .. } => (attempt.began + LIMIT, "a store is slow"),
            Phase::Resting { until } => (until, "try again"),
            Phase::Held { until } => (until, "the lease ends"),
        });
        let debts = self.debts.values().map(|d| (d.until, "expired by itself"));
        let wakes = attempts
            .chain(debts)
            .map(|(at, why)| Some(Wake { at, why }));
        wakes.fold(None, Wake::earlier)
    }
}
