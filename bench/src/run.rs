//! Drives one subject through one work, measures it, and verifies what it did.

use core::time::Duration;
use std::time::Instant;

use cpu_time::ThreadTime;
use serde::{Deserialize, Serialize};

use crate::payload::{self, Digest};
use crate::subject::{LEADER, Subject};
use crate::work::{Done, Work};

/// Heap activity since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heap {
    /// Calls that obtained or resized a block.
    pub allocations: u64,
    /// Bytes obtained.
    pub bytes: u64,
}

/// Reads the heap counters of this process; the measuring process has none and returns zeros.
pub type HeapMeter = fn() -> Heap;

/// What one run of one subject measured, warm-up excluded.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// CPU time of this thread.
    pub cpu: Duration,
    /// Time on the clock.
    pub wall: Duration,
    /// Messages, without those below.
    pub messages: u64,
    /// Messages that were sent, directly or as an answer, only because the cluster was idle.
    pub idle_messages: u64,
    /// Heap activity.
    pub heap: Heap,
}

/// Runs `work` on `subject`.
///
/// # Panics
///
/// If the subject stops making progress, or if at the end any node does not hold exactly the commands that were
/// proposed, in order: a figure for work that was not done is worth nothing.
pub fn run<S: Subject>(work: &Work, subject: S, heap: HeapMeter) -> Sample {
    let total = work.warm_up() + work.entries;
    // All commands exist, and the vector that holds them lives on, outside of what is measured.
    let mut commands = commands::<S>(total, work.size).into_iter();
    let mut run = Run {
        subject,
        work,
        proposed: 0,
        sent: 0,
        messages: 0,
        idle_messages: 0,
    };
    run.sent = run.subject.messages();

    run.drive(&mut commands, work.warm_up());
    (run.messages, run.idle_messages) = (0, 0);

    let heap_before = heap();
    let wall = Instant::now();
    let cpu = ThreadTime::now();
    run.drive(&mut commands, work.entries);
    let cpu = cpu.elapsed();
    let wall = wall.elapsed();
    let heap_after = heap();

    let sample = Sample {
        cpu,
        wall,
        messages: run.messages,
        idle_messages: run.idle_messages,
        heap: Heap {
            allocations: heap_after.allocations - heap_before.allocations,
            bytes: heap_after.bytes - heap_before.bytes,
        },
    };
    run.verify(total);
    sample
}

fn commands<S: Subject>(count: u64, size: usize) -> Vec<S::Command> {
    let mut payload = vec![0; size];
    (0..count)
        .map(|index| {
            payload::fill(index, &mut payload);
            S::command(&payload)
        })
        .collect()
}

struct Run<'a, S> {
    subject: S,
    work: &'a Work,
    proposed: u64,
    sent: u64,
    messages: u64,
    idle_messages: u64,
}

impl<S: Subject> Run<'_, S> {
    /// More turns than any subject takes to commit something; beyond that it hangs.
    const PATIENCE: u32 = 10_000;

    /// Proposes the next `count` commands through the window and returns when all of them are done.
    fn drive(&mut self, commands: &mut impl Iterator<Item = S::Command>, count: u64) {
        let target = self.proposed + count;
        let mut idle = false;
        let mut stalled = 0;
        let mut before = self.done();
        loop {
            let done = self.done();
            stalled = if done > before { 0 } else { stalled + 1 };
            before = done;
            assert!(
                stalled < Self::PATIENCE,
                "no progress after {done} of {target} commands: {}",
                self.work
            );
            if done >= target {
                return;
            }
            while self.proposed < target && self.proposed - done < self.work.window {
                self.subject.propose(
                    commands
                        .next()
                        .expect("as many commands as the work has entries"),
                );
                self.proposed += 1;
                idle = false;
            }
            if !self.turn(idle) {
                idle = true;
                self.subject.idle();
            }
        }
    }

    fn turn(&mut self, idle: bool) -> bool {
        let delivered = self.subject.turn();
        let sent = self.subject.messages();
        let new = sent - self.sent;
        self.sent = sent;
        if idle {
            self.idle_messages += new;
        } else {
            self.messages += new;
        }
        delivered
    }

    fn done(&self) -> u64 {
        match self.work.done {
            Done::Leader => self.subject.committed(LEADER),
            Done::All => self.everywhere(),
        }
    }

    fn everywhere(&self) -> u64 {
        (0..self.work.nodes)
            .map(|node| self.subject.committed(node))
            .min()
            .unwrap_or(0)
    }

    /// Lets every node learn the last commit, then compares what each holds with what was proposed.
    fn verify(mut self, total: u64) {
        let mut turns = 0;
        while self.everywhere() < total {
            turns += 1;
            assert!(
                turns < Self::PATIENCE,
                "not all nodes learn of all commits: {}",
                self.work
            );
            if !self.turn(true) {
                self.subject.idle();
            }
        }
        let expected = Digest::expected(total, self.work.size);
        for node in 0..self.work.nodes {
            let committed = self.subject.committed(node);
            assert_eq!(
                committed, total,
                "node {node} committed another number of commands: {}",
                self.work
            );
            if let Some(digest) = self.subject.digest(node) {
                assert_eq!(
                    digest, expected,
                    "node {node} holds other commands than were proposed: {}",
                    self.work
                );
            }
        }
    }
}
