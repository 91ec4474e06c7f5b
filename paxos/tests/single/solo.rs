//! One node, and its peers played by the test.

use synod_core::{Envelope, Generation, Instant, Link, LinkId, Machine, NodeId, Output};
use synod_paxos::single::{Body, Config, ConfigBuilder, Decree, Event, Message, Record, Vote};

use crate::cluster::{ballot, n, nodes, value};

pub(crate) struct Solo {
    pub(crate) now: Instant,
    pub(crate) config: Config,
    pub(crate) decree: Decree,
    pub(crate) disk: Vec<Record>,
    pub(crate) events: Vec<Event>,
}

impl Solo {
    /// Node 1 of three acceptors, with proposers 11 and 12, which learn.
    pub(crate) fn acceptor(configure: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let builder = Config::builder(n(1))
            .acceptors(nodes(1..=3))
            .proposers(nodes([11, 12]))
            .learners(nodes([11, 12]));
        Self::new(configure(builder).build().unwrap())
    }

    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::from_millis(1);
        let mut solo = Self {
            now,
            decree: Decree::new(config.clone(), [], now).unwrap(),
            config,
            disk: Vec::new(),
            events: Vec::new(),
        };
        solo.link();
        solo.drain();
        solo
    }

    fn link(&mut self) {
        for peer in (1..=20).map(NodeId).filter(|id| *id != self.config.id()) {
            self.decree.link(self.now, peer, Link::Up(LinkId(1)));
        }
    }

    pub(crate) fn restart(&mut self) {
        let disk = self.disk.clone();
        self.decree = Decree::new(self.config.clone(), disk, self.now).unwrap();
        self.link();
        self.drain();
    }

    pub(crate) fn drain(&mut self) -> Vec<(NodeId, Body)> {
        let mut said = Vec::new();
        while let Some(output) = self.decree.poll() {
            match output {
                Output::Send(envelope) => said.push((envelope.to, envelope.message.body)),
                Output::Persist(write, records) => {
                    self.disk.extend(records);
                    self.decree.persisted(self.now, write);
                }
                Output::Load(_, never) => match never {},
                Output::Event(event) => self.events.push(event),
            }
        }
        self.decree.check();
        said
    }

    pub(crate) fn envelope(&self, from: u64, body: Body) -> Envelope<Message> {
        Envelope {
            from: n(from),
            to: self.config.id(),
            link: LinkId(1),
            message: Message {
                generation: Generation(from),
                body,
            },
        }
    }

    /// A peer says something; what the node says to that.
    pub(crate) fn hear(&mut self, from: u64, body: Body) -> Vec<(NodeId, Body)> {
        let envelope = self.envelope(from, body);
        self.decree.step(self.now, envelope);
        self.drain()
    }

    /// A peer says something that is dropped and counted.
    pub(crate) fn drops(&mut self, from: u64, body: Body) {
        let (before, dropped) = (self.decree.clone(), self.decree.dropped());
        let said = self.hear(from, body.clone());
        assert_eq!(said, [], "{body:?}");
        assert_eq!(self.decree.dropped(), dropped + 1, "{body:?}");
        assert_eq!(self.decree, before, "{body:?}");
    }
}

pub(crate) const fn prepare(round: u64, proposer: u64) -> Body {
    Body::Prepare {
        ballot: ballot(round, proposer),
    }
}

pub(crate) fn accept(round: u64, proposer: u64, of: u64) -> Body {
    Body::Accept {
        ballot: ballot(round, proposer),
        value: value(of),
    }
}

pub(crate) fn vote(round: u64, proposer: u64, of: u64) -> Vote {
    Vote {
        ballot: ballot(round, proposer),
        value: value(of),
    }
}

pub(crate) const fn promise(round: u64, proposer: u64, vote: Option<Vote>) -> Body {
    Body::Promise {
        ballot: ballot(round, proposer),
        vote,
    }
}

pub(crate) const fn accepted(vote: Vote, promised: (u64, u64)) -> Body {
    Body::Accepted {
        vote,
        promised: ballot(promised.0, promised.1),
    }
}

pub(crate) const fn refused(refused: (u64, u64), promised: (u64, u64)) -> Body {
    Body::Refused {
        ballot: ballot(refused.0, refused.1),
        promised: ballot(promised.0, promised.1),
    }
}
