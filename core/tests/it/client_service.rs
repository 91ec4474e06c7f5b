//! Clients against a service that loses, delays and refuses: each request resolves once, and what
//! the client says of it is what happened.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use synod_core::{
    Chunks, Client, ClientAnswer, ClientCall, ClientConfig, ClientError, ClientOutput,
    ClientRequest, ClientResponse, Encode, Instant, LogIndex, MachineError, NodeId, ReadLevel,
    RequestId, Rng, SessionLimits, SessionToken, Sessions, StateMachine,
};

/// How often each command was applied.
#[derive(Default)]
struct Tally(BTreeMap<u64, u64>);

impl StateMachine for Tally {
    fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
        *self.0.entry(command.clone().get_u64_le()).or_insert(0) += 1;
        command.clone()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        Bytes::new()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        Err(MachineError::new("not here"))
    }

    fn restore(&mut self, _: Chunks) -> Result<(), MachineError> {
        Err(MachineError::new("not here"))
    }
}

/// How much goes wrong, per million.
#[derive(Clone, Copy)]
struct Faults {
    lost: u32,
    slow: u32,
    refused: u32,
    unknown: u32,
    moves: u32,
}

const NONE: Faults = Faults {
    lost: 0,
    slow: 0,
    refused: 0,
    unknown: 0,
    moves: 0,
};

const MANY: Faults = Faults {
    lost: 80_000,
    slow: 100_000,
    refused: 80_000,
    unknown: 60_000,
    moves: 30_000,
};

enum Event {
    Arrives(usize, NodeId, ClientRequest),
    Answers(usize, NodeId, ClientResponse),
    Submits(usize),
}

/// What a client said of a command.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Done,
    Failed(ClientError),
}

struct World {
    rng: Rng,
    faults: Faults,
    service: Sessions<Tally>,
    index: u64,
    leader: NodeId,
    now: Instant,
    clients: Vec<Client>,
    events: BTreeMap<(Instant, u64), Event>,
    events_made: u64,
    commands: BTreeMap<(usize, RequestId), u64>,
    reads: BTreeMap<(usize, RequestId), SessionToken>,
    said: BTreeMap<u64, Said>,
    reads_said: u64,
    number: u64,
}

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

impl World {
    fn new(seed: u64, faults: Faults, clients: u64) -> Self {
        let limits = SessionLimits {
            ttl_ms: 4000,
            sessions: 3,
            window: 4,
            cached_bytes: 1 << 20,
        };
        let client = |k| {
            let mut config = ClientConfig::new(NODES.to_vec(), seed ^ (k << 32));
            config.in_flight = 4;
            config.attempt_timeout = Duration::from_millis(50);
            Client::new(config).unwrap()
        };
        Self {
            rng: Rng::new(seed),
            faults,
            service: Sessions::new(Tally::default(), limits),
            index: 0,
            leader: NODES[0],
            now: Instant::START,
            clients: (0..clients).map(client).collect(),
            events: BTreeMap::new(),
            events_made: 0,
            commands: BTreeMap::new(),
            reads: BTreeMap::new(),
            said: BTreeMap::new(),
            reads_said: 0,
            number: 0,
        }
    }

    fn later(&mut self, event: Event) {
        let slow = self.rng.chance(self.faults.slow);
        let most = if slow { 200 } else { 8 };
        let delay = Duration::from_millis(self.rng.within(1, most));
        self.events_made += 1;
        self.events
            .insert((self.now + delay, self.events_made), event);
    }

    fn submit(&mut self, who: usize) {
        // Without faults nobody gives up; with them, many do.
        let least = if self.faults.lost == 0 { 500 } else { 10 };
        let patience = Duration::from_millis(self.rng.within(least, 1000));
        let deadline = self.now + patience;
        if self.rng.chance(250_000) {
            let token = self.clients[who].token();
            let level = ReadLevel::Session(SessionToken::default());
            let id = self.clients[who].read(self.now, Bytes::new(), level, deadline);
            self.reads.insert((who, id.unwrap()), token);
        } else {
            self.number += 1;
            let command = Bytes::copy_from_slice(&self.number.to_le_bytes());
            let id = self.clients[who].submit(self.now, command, deadline);
            self.commands.insert((who, id.unwrap()), self.number);
        }
    }

    /// What a node does with a request.
    fn serve(&mut self, node: NodeId, request: ClientRequest) -> ClientResponse {
        let (id, attempt) = (request.id, request.attempt);
        let answer = self.answer(node, request.call);
        let leader = self.rng.chance(500_000).then_some(self.leader);
        ClientResponse {
            id,
            attempt,
            leader,
            answer,
        }
    }

    fn answer(&mut self, node: NodeId, call: ClientCall) -> ClientAnswer {
        if self.rng.chance(self.faults.refused) {
            return ClientAnswer::Busy;
        }
        let time = self.now.as_nanos() / 1_000_000;
        if let ClientCall::Read { level, .. } = call {
            let ReadLevel::Session(token) = level else {
                panic!("{level:?}");
            };
            if token.0.0 > self.index {
                panic!("a token from the future");
            }
            let index = LogIndex(self.rng.within(token.0.0, self.index));
            let response = Bytes::new();
            return ClientAnswer::Read { index, response };
        }
        if node != self.leader {
            return ClientAnswer::NotLeader;
        }
        let unknown = self.rng.chance(self.faults.unknown);
        if unknown && self.rng.chance(500_000) {
            return ClientAnswer::Unknown;
        }
        self.index += 1;
        let index = LogIndex(self.index);
        let command = call.into_command(time).unwrap();
        let response = self.service.apply(index, &command.to_bytes());
        if unknown {
            return ClientAnswer::Unknown;
        }
        ClientAnswer::Applied { index, response }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Submits(who) => self.submit(who),
            Event::Arrives(who, node, request) => {
                let response = self.serve(node, request);
                if !self.rng.chance(self.faults.lost) {
                    self.later(Event::Answers(who, node, response));
                }
            }
            Event::Answers(who, node, response) => {
                self.clients[who].answer(self.now, node, response);
            }
        }
        if self.rng.chance(self.faults.moves) {
            self.leader = self.rng.pick(&NODES).copied().unwrap();
        }
        if self.rng.chance(self.faults.moves) {
            let who = self.rng.below(self.clients.len() as u64) as usize;
            let node = self.rng.pick(&NODES).copied().unwrap();
            self.clients[who].unreachable(self.now, node);
        }
    }

    fn drain(&mut self) {
        for who in 0..self.clients.len() {
            while let Some(output) = self.clients[who].poll() {
                self.output(who, output);
            }
        }
    }

    fn output(&mut self, who: usize, output: ClientOutput) {
        let (id, said) = match output {
            ClientOutput::Send { to, request } => {
                if self.rng.chance(self.faults.lost / 2) {
                    self.clients[who].undelivered(self.now, to, &request);
                } else if !self.rng.chance(self.faults.lost) {
                    self.later(Event::Arrives(who, to, request));
                }
                return;
            }
            ClientOutput::Done {
                id,
                response,
                index,
            } => {
                if let Some(number) = self.commands.get(&(who, id)) {
                    assert_eq!(response, &number.to_le_bytes()[..]);
                } else {
                    assert!(
                        SessionToken(index) >= self.reads[&(who, id)],
                        "reads go back"
                    );
                }
                (id, Said::Done)
            }
            ClientOutput::Failed { id, error } => (id, Said::Failed(error)),
        };
        match self.commands.get(&(who, id)) {
            Some(number) => {
                let before = self.said.insert(*number, said.clone());
                assert_eq!(before, None, "{number} resolves twice, also as {said:?}");
            }
            None => self.reads_said += 1,
        }
    }

    /// Runs until nothing is left to happen.
    fn run(&mut self, requests: usize) {
        for k in 0..requests {
            let who = k % self.clients.len();
            self.events_made += 1;
            // Now and then so long a pause that sessions expire.
            let gap = if k % 100 < 90 { 7 } else { 700 };
            let at = Instant::from_millis(k as u64 / 100 * 8000 + (k as u64 % 100) * gap);
            self.events
                .insert((at, self.events_made), Event::Submits(who));
        }
        for _ in 0..requests * 1000 {
            let timers = self.clients.iter().filter_map(Client::deadline);
            let timer = timers.map(|wake| wake.at).min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            match (timer, event) {
                (None, None) => return,
                (Some(timer), event) if event.is_none_or(|event| timer <= event) => {
                    self.now = self.now.max(timer);
                    let now = self.now;
                    self.clients.iter_mut().for_each(|client| client.tick(now));
                }
                _ => {
                    let ((at, _), event) = self.events.pop_first().unwrap();
                    self.now = self.now.max(at);
                    self.event(event);
                }
            }
            self.drain();
        }
        panic!("it does not come to an end");
    }

    /// Every command resolved, and what was said of it is what happened.
    fn check(&self) {
        assert_eq!(self.said.len(), self.commands.len());
        assert_eq!(self.reads_said, self.reads.len() as u64);
        for (number, said) in &self.said {
            let count = self.service.inner().0.get(number).copied().unwrap_or(0);
            let right = match said {
                Said::Done | Said::Failed(ClientError::ResponseLost) => count == 1,
                Said::Failed(ClientError::Unknown) => count <= 1,
                Said::Failed(_) => count == 0,
            };
            assert!(
                right,
                "{number} was applied {count} times, the client says {said:?}"
            );
        }
    }

    fn count(&self, said: &Said) -> usize {
        self.said.values().filter(|it| *it == said).count()
    }
}

proptest! {
    #[test]
    fn what_a_client_says_is_what_happened(seed in any::<u64>(), clients in 1..6_u64) {
        let mut world = World::new(seed, MANY, clients);
        world.run(200);
        world.check();
    }
}

#[test]
fn a_healthy_service_does_everything() {
    let mut world = World::new(5, NONE, 2);
    world.run(300);
    world.check();
    assert_eq!(world.count(&Said::Done), world.commands.len());
}

#[test]
fn every_kind_of_result_is_met() {
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..20 {
        let mut world = World::new(seed, MANY, 4);
        world.run(200);
        for said in world.said.values() {
            *all.entry(format!("{said:?}")).or_insert(0) += 1;
        }
    }
    for kind in ["Done", "Failed(Unknown)", "Failed(TimedOut)"] {
        assert!(
            all.get(kind).is_some_and(|count| *count > 5),
            "{kind}: {all:?}"
        );
    }
}
