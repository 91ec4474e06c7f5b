//! Test a state machine of your own under a thousand failures: `cargo run --example
//! own_state_machine`. It counts what clients add; run it with `forget` to see what happens if its
//! snapshot leaves something out.

#![allow(clippy::print_stdout)] // an example talks

use bytes::Bytes;
use synod_core::{Chunks, LogImage, LogIndex, MachineError, Rng, StateMachine};
use synod_raft::{Config, Raft};
use synod_sim::linear::Model;
use synod_sim::{Application, Campaign, LogSubject, Request, Simulation, Start, Subject, Workload};

/// The state machine: a sum.
struct Counter {
    sum: u64,
    forgets: bool,
}

impl StateMachine for Counter {
    fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
        self.sum += u64::from(command[0]);
        self.query(command)
    }

    fn query(&self, _: &Bytes) -> Bytes {
        Bytes::copy_from_slice(&self.sum.to_be_bytes())
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        let sum = if self.forgets { self.sum / 2 } else { self.sum };
        Ok(Bytes::copy_from_slice(&sum.to_be_bytes()).into())
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        self.sum = number(&snapshot.collect_bytes()?);
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// What it should do: adding `Some` number, or asking, answers with the sum.
struct Sum;

impl Model for Sum {
    type Op = Option<u8>;
    type Ret = u64;
    type Key = ();
    type State = u64;

    fn key(&self, _: &Option<u8>) {}

    fn initial(&self, (): &()) -> u64 {
        0
    }

    fn step(&self, sum: &u64, op: &Option<u8>, ret: Option<&u64>) -> Option<u64> {
        let after = sum + u64::from(op.unwrap_or(0));
        ret.is_none_or(|ret| *ret == after).then_some(after)
    }
}

/// What clients ask, and how.
struct Counting {
    forgets: bool,
}

impl Application for Counting {
    type Machine = Counter;
    type Model = Sum;

    fn machine(&self) -> Counter {
        let forgets = self.forgets;
        Counter { sum: 0, forgets }
    }

    fn model(&self) -> Sum {
        Sum
    }

    fn draw(&self, rng: &mut Rng, _: &Workload, _: u64) -> Option<u8> {
        u8::try_from(rng.below(10)).ok().filter(|by| *by > 0)
    }

    fn request(&self, op: &Option<u8>) -> Request {
        match op {
            Some(by) => Request::Command(Bytes::copy_from_slice(&[*by])),
            None => Request::Query(Bytes::new()),
        }
    }

    fn answer(&self, _: &Option<u8>, response: &Bytes) -> u64 {
        number(response)
    }
}

/// The log under it.
struct OnRaft;

impl Subject for OnRaft {
    type Machine = Raft;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Raft {
        let voters = start.voters.iter().copied();
        let config = Config::builder(start.id)
            .voters(voters)
            .seed(start.seed)
            .build();
        let config = config.expect("these settings are valid");
        Raft::new(config, start.restored, start.now).expect("the disk is readable")
    }
}

impl LogSubject for OnRaft {}

fn main() {
    let forgets = std::env::args().any(|arg| arg == "forget");
    let simulation = Simulation::new(OnRaft, Counting { forgets });
    let summary = Campaign::from_env("counting", 40).run(&simulation);
    println!("{summary}");
    assert_eq!(summary.failure.is_some(), forgets);
}
