//! Nothing is applied twice: duplicates, retries, evictions and snapshots in any order.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;
use synod_core::{
    Chunks, ClientId, Decode, Encode, LogIndex, MachineError, Planted, Rng, SessionCommand,
    SessionLimits, SessionResponse, SessionTable, Sessions, StateMachine,
};

/// Remembers how often each command was applied.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Ledger(BTreeMap<u64, u64>);

impl StateMachine for Ledger {
    fn apply(&mut self, index: LogIndex, command: &Bytes) -> Bytes {
        let number = command.clone().get_u64_le();
        *self.0.entry(number).or_insert(0) += 1;
        // The index makes the response of a second application another one.
        let mut response = BytesMut::from(&command[..]);
        index.encode(&mut response);
        response.resize(16 + (number % 7) as usize * 30, 0);
        response.freeze()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        Bytes::copy_from_slice(&(self.0.len() as u64).to_le_bytes())
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        let pairs: Vec<(u64, u64)> = self.0.iter().map(|(n, count)| (*n, *count)).collect();
        Ok(Chunks::from(pairs.to_bytes()))
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        let pairs = Vec::<(u64, u64)>::decode_all(snapshot.collect_bytes()?)
            .map_err(|error| MachineError::new(error.to_string()))?;
        self.0 = pairs.into_iter().collect();
        Ok(())
    }
}

const LIMITS: SessionLimits = SessionLimits {
    ttl_ms: 100,
    sessions: 3,
    window: 4,
    cached_bytes: 1500,
};

/// Cuts a snapshot elsewhere than it was written, as reading it back does.
fn cut(snapshot: Chunks, rng: &mut Rng) -> Chunks {
    let mut rest = snapshot.collect_bytes().unwrap();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let len = rng.within(1, 200).min(rest.len() as u64) as usize;
        pieces.push(Ok(rest.split_to(len)));
    }
    Chunks::new(pieces.into_iter())
}

/// A history drawn from a seed, on one replica that runs through and one that is restored from
/// snapshots now and then.
struct History {
    rng: Rng,
    steady: Sessions<Ledger>,
    restored: Sessions<Ledger>,
    bug: Option<Planted>,
    index: u64,
    time: u64,
    number: u64,
    sent: Vec<SessionCommand>,
    clients: Vec<ClientId>,
    next: BTreeMap<ClientId, (u64, u64)>,
    answers: BTreeMap<(ClientId, u64), Bytes>,
    /// How often each kind of answer came, so that a test can tell that all were met.
    met: BTreeMap<&'static str, u64>,
}

impl History {
    fn new(seed: u64, bug: Option<Planted>) -> Self {
        let machine = || Sessions::new(Ledger::default(), LIMITS);
        let (steady, mut restored) = (machine(), machine());
        if let Some(bug) = bug {
            restored.plant(bug);
        }
        Self {
            rng: Rng::new(seed),
            steady,
            restored,
            bug,
            index: 0,
            time: 1000,
            number: 0,
            sent: Vec::new(),
            clients: Vec::new(),
            next: BTreeMap::new(),
            answers: BTreeMap::new(),
            met: BTreeMap::new(),
        }
    }

    fn draw(&mut self) -> SessionCommand {
        // Clocks of different proposers differ.
        let time = self.time - self.rng.below(20);
        let recent = self.clients.len().saturating_sub(3);
        let client = self.rng.pick(&self.clients[recent..]).copied();
        match (self.rng.below(200), client) {
            (0..3, Some(client)) => SessionCommand::Close { client, time },
            (3..6, _) => SessionCommand::Limits(SessionLimits {
                sessions: 2 + self.rng.below(2) as u32,
                ..LIMITS
            }),
            (6..90, Some(client)) => self.command(client, time),
            (90..180, Some(_)) => self.retry(),
            (180..190, Some(_)) => {
                let old = self.rng.pick(&self.sent);
                old.cloned().expect("who has a client has sent something")
            }
            _ => SessionCommand::Open {
                nonce: self.rng.below(9),
                time,
            },
        }
    }

    /// Mostly of what was sent lately.
    fn retry(&mut self) -> SessionCommand {
        let recent = self.sent.len().saturating_sub(6);
        let command = self.rng.pick(&self.sent[recent..]);
        command
            .cloned()
            .expect("who has a client has sent something")
    }

    fn command(&mut self, client: ClientId, time: u64) -> SessionCommand {
        let (seq, below) = self.next.entry(client).or_default();
        *below += self.rng.below(*seq - *below + 1) * self.rng.below(2);
        let sequence = *seq;
        *seq += 1;
        self.number += 1;
        SessionCommand::Command {
            client,
            seq: sequence,
            below: *below,
            time,
            command: Bytes::copy_from_slice(&self.number.to_le_bytes()),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.time += self.rng.below(5) + 120 * u64::from(self.rng.chance(5_000));
        self.index += 1;
        let command = self.draw();
        self.sent.push(command.clone());
        let bytes = command.to_bytes();
        let answer = self.steady.apply(LogIndex(self.index), &bytes);
        let other = self.restored.apply(LogIndex(self.index), &bytes);
        self.check()?;
        if answer != other {
            return Err(format!("replicas answer {command:?} differently"));
        }
        let answer = SessionResponse::decode_all(answer).unwrap();
        self.note(&command, &answer)?;
        if self.rng.chance(50_000) {
            self.restart();
        }
        Ok(())
    }

    fn note(&mut self, command: &SessionCommand, answer: &SessionResponse) -> Result<(), String> {
        let kind = match answer {
            SessionResponse::Plain(_) => "plain",
            SessionResponse::Opened(client) => {
                if !self.clients.contains(client) {
                    self.clients.push(*client);
                }
                "opened"
            }
            SessionResponse::Done(response) => {
                let SessionCommand::Command { client, seq, .. } = command else {
                    return Err(format!("{command:?} is done"));
                };
                let first = self.answers.entry((*client, *seq));
                if *first.or_insert_with(|| response.clone()) != *response {
                    return Err(format!("{client} gets two answers to {seq}"));
                }
                "done"
            }
            SessionResponse::Stale => "stale",
            SessionResponse::Expired => "expired",
            SessionResponse::Ahead => "ahead",
            SessionResponse::Closed => "closed",
            SessionResponse::Limited => "limited",
            SessionResponse::Malformed => return Err("malformed".into()),
        };
        *self.met.entry(kind).or_insert(0) += 1;
        Ok(())
    }

    /// The second replica starts again from its own snapshot.
    fn restart(&mut self) {
        let snapshot = cut(self.restored.snapshot().unwrap(), &mut self.rng);
        let limits = SessionLimits::default();
        let mut fresh = Sessions::new(Ledger::default(), limits);
        fresh.restore(snapshot).unwrap();
        if let Some(bug) = self.bug {
            fresh.plant(bug);
        }
        self.restored = fresh;
    }

    fn check(&self) -> Result<(), String> {
        for replica in [&self.steady, &self.restored] {
            if let Some((number, count)) = replica.inner().0.iter().find(|(_, count)| **count > 1) {
                return Err(format!("{number} is applied {count} times"));
            }
            let (table, limits) = (replica.table(), replica.table().limits());
            if table.len() > limits.sessions as usize || table.cached_bytes() > limits.cached_bytes
            {
                return Err(format!("{} sessions are above the limits", table.len()));
            }
        }
        Ok(())
    }

    fn run(mut self, steps: usize) -> Result<BTreeMap<&'static str, u64>, String> {
        for _ in 0..steps {
            self.step()?;
        }
        if self.steady.table() != self.restored.table() {
            return Err("replicas differ".into());
        }
        Ok(self.met)
    }
}

proptest! {
    #[test]
    fn nothing_is_applied_twice(seed in any::<u64>()) {
        if let Err(what) = History::new(seed, None).run(200) {
            prop_assert!(false, "seed {}: {}", seed, what);
        }
    }
}

#[test]
fn every_kind_of_answer_is_met() {
    let met = History::new(1, None).run(2000).unwrap();
    for kind in [
        "opened", "done", "stale", "expired", "ahead", "closed", "limited",
    ] {
        assert!(met.contains_key(kind), "{kind} was not met: {met:?}");
    }
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, typical) in [
        (Planted::ForgetSessions, "differently"),
        (Planted::ForgetResponses, "is applied 2 times"),
    ] {
        let ran = (0..20).map(|seed| History::new(seed, Some(bug)).run(300));
        let found: Vec<String> = ran.filter_map(Result::err).collect();
        assert!(found.len() >= 18, "{bug:?}: {found:?}");
        let as_expected = found.iter().filter(|what| what.contains(typical)).count();
        assert!(as_expected >= 10, "{bug:?}: {found:?}");
    }
}

fn give(machine: &mut Sessions<Ledger>, index: u64, command: SessionCommand) -> SessionResponse {
    let answer = machine.apply(LogIndex(index), &command.to_bytes());
    SessionResponse::decode_all(answer).unwrap()
}

fn open(nonce: u64, time: u64) -> SessionCommand {
    SessionCommand::Open { nonce, time }
}

fn put(client: u64, seq: u64, below: u64, time: u64) -> SessionCommand {
    SessionCommand::Command {
        client: ClientId(LogIndex(client)),
        seq,
        below,
        time,
        command: Bytes::copy_from_slice(&(client * 100 + seq).to_le_bytes()),
    }
}

fn machine() -> Sessions<Ledger> {
    Sessions::new(Ledger::default(), LIMITS)
}

#[test]
fn a_session_is_named_by_its_place_and_found_by_its_nonce() {
    let mut m = machine();
    let five = SessionResponse::Opened(ClientId(LogIndex(5)));
    assert_eq!(give(&mut m, 5, open(7, 0)), five);
    assert_eq!(give(&mut m, 6, open(7, 1)), five, "a retry");
    let seven = SessionResponse::Opened(ClientId(LogIndex(7)));
    assert_eq!(give(&mut m, 7, open(8, 1)), seven);
}

#[test]
fn commands_may_come_out_of_order() {
    let mut m = machine();
    give(&mut m, 1, open(7, 0));
    assert!(matches!(
        give(&mut m, 2, put(1, 2, 0, 1)),
        SessionResponse::Done(_)
    ));
    assert!(matches!(
        give(&mut m, 3, put(1, 0, 0, 1)),
        SessionResponse::Done(_)
    ));
    assert!(matches!(
        give(&mut m, 4, put(1, 1, 0, 1)),
        SessionResponse::Done(_)
    ));
    assert_eq!(m.inner().0.len(), 3);
}

#[test]
fn what_is_acknowledged_is_dropped() {
    let mut m = machine();
    give(&mut m, 1, open(7, 0));
    give(&mut m, 2, put(1, 0, 0, 1));
    give(&mut m, 3, put(1, 1, 1, 1));
    assert_eq!(give(&mut m, 4, put(1, 0, 0, 1)), SessionResponse::Stale);
    assert_eq!(give(&mut m, 5, put(1, 5, 1, 1)), SessionResponse::Ahead);
    assert!(matches!(
        give(&mut m, 6, put(1, 4, 1, 1)),
        SessionResponse::Done(_)
    ));
}

#[test]
fn an_idle_session_expires_by_the_times_in_the_log() {
    let mut m = machine();
    give(&mut m, 1, open(7, 1000));
    give(&mut m, 2, open(8, 1050));
    assert!(matches!(
        give(&mut m, 3, put(1, 0, 0, 1100)),
        SessionResponse::Done(_)
    ));
    assert_eq!(
        give(&mut m, 4, put(2, 0, 0, 1151)),
        SessionResponse::Expired
    );
    // The clock does not go back, and 1 has been used at 1100.
    assert!(matches!(
        give(&mut m, 5, put(1, 1, 0, 900)),
        SessionResponse::Done(_)
    ));
    assert_eq!(m.inner().0.len(), 2);
}

#[test]
fn the_least_recently_used_session_makes_room() {
    let mut m = machine();
    for (index, nonce) in [(1, 1), (2, 2), (3, 3)] {
        give(&mut m, index, open(nonce, 0));
    }
    give(&mut m, 4, put(1, 0, 0, 0));
    give(&mut m, 5, open(4, 0));
    assert_eq!(give(&mut m, 6, put(2, 0, 0, 0)), SessionResponse::Expired);
    assert!(matches!(
        give(&mut m, 7, put(1, 1, 0, 0)),
        SessionResponse::Done(_)
    ));
}

#[test]
fn responses_above_the_limit_are_not_kept() {
    let mut m = Sessions::new(
        Ledger::default(),
        SessionLimits {
            cached_bytes: 100,
            ..LIMITS
        },
    );
    give(&mut m, 1, open(7, 0));
    // Payload 106: a response of 46 bytes and 64 for keeping it.
    assert!(matches!(
        give(&mut m, 2, put(1, 6, 6, 0)),
        SessionResponse::Done(_)
    ));
    assert_eq!(give(&mut m, 3, put(1, 6, 6, 0)), SessionResponse::Stale);
    assert_eq!(m.inner().0[&106], 1);
}

#[test]
fn plain_commands_and_nonsense() {
    let mut m = machine();
    let plain = SessionCommand::Plain(Bytes::copy_from_slice(&9_u64.to_le_bytes()));
    assert!(matches!(
        give(&mut m, 1, plain.clone()),
        SessionResponse::Plain(_)
    ));
    assert!(matches!(give(&mut m, 2, plain), SessionResponse::Plain(_)));
    assert_eq!(m.inner().0[&9], 2);
    let answer = m.apply(LogIndex(3), &Bytes::from_static(b"nonsense"));
    assert_eq!(
        SessionResponse::decode_all(answer),
        Ok(SessionResponse::Malformed)
    );
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut m = machine();
    give(&mut m, 1, open(7, 0));
    let whole = m.snapshot().unwrap().collect_bytes().unwrap();
    let table = whole.len() - 4;
    for len in 0..table {
        let cut = machine().restore(Chunks::from(whole.slice(..len)));
        assert!(cut.is_err(), "{len} of {table} bytes");
    }
    let mut other = BytesMut::from(&whole[..]);
    other[0] = 2;
    let error = machine().restore(Chunks::from(other.freeze())).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
#[should_panic(expected = "a durable state machine keeps a session table of its own")]
fn a_durable_state_machine_is_refused() {
    struct Durable;
    impl StateMachine for Durable {
        fn apply(&mut self, _: LogIndex, _: &Bytes) -> Bytes {
            Bytes::new()
        }
        fn query(&self, _: &Bytes) -> Bytes {
            Bytes::new()
        }
        fn snapshot(&self) -> Result<Chunks, MachineError> {
            Err(MachineError::new("none"))
        }
        fn restore(&mut self, _: Chunks) -> Result<(), MachineError> {
            Ok(())
        }
        fn applied(&self) -> LogIndex {
            LogIndex(3)
        }
    }
    let _ = Sessions::new(Durable, LIMITS);
}

#[test]
fn a_table_of_another_order_is_refused() {
    let mut m = machine();
    give(&mut m, 1, open(7, 0));
    give(&mut m, 2, open(8, 0));
    let table = m.table().to_bytes();
    assert_eq!(
        SessionTable::decode_all(table.clone()).as_ref(),
        Ok(m.table())
    );
    // Limits 24, clock 8, count 4; then two sessions of client 8, nonce 8, used 8, at 8, below 8,
    // count 4: the same session twice.
    let mut twice = BytesMut::from(&table[..]);
    twice.copy_within(36..80, 80);
    assert!(SessionTable::decode_all(twice.freeze()).is_err());
}
