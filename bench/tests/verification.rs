//! A benchmark is only worth something if the work was done: every subject does it, and a subject that does not is
//! found out.

use synod_bench::driver::{self, Load};
use synod_bench::payload::Digest;
use synod_bench::run::{Heap, run};
use synod_bench::subject::Subject;
use synod_bench::subjects;
use synod_bench::work::{Done, Work};

#[test]
fn every_machine_commits_every_command_everywhere() {
    for entrant in subjects::ROSTER {
        for nodes in [3, 5] {
            for window in [1, 7, 64] {
                for done in [Done::Leader, Done::All] {
                    let work = Work::new(nodes, 24, window, 500, done);
                    // `run` itself compares what every node holds with what was proposed.
                    let sample = (entrant.run)(&work, Heap::default);
                    let least = 2 * (nodes as u64 - 1) * work.entries / window;
                    let all = sample.messages + sample.idle_messages;
                    assert!(
                        all >= least,
                        "{}: {all} messages cannot replicate {work}",
                        entrant.name
                    );
                }
            }
        }
    }
}

#[test]
fn every_service_applies_every_command_everywhere() {
    for entrant in driver::ROSTER {
        for clients in [1, 8] {
            (entrant.run)(&Load::new(3, 16, clients, 200));
        }
    }
}

/// Commits everything at once; `defect` says what it does wrong.
struct Liar {
    defect: Defect,
    log: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Defect {
    None,
    Loses,
    Reorders,
    Damages,
    Hangs,
    FollowersHang,
}

impl Subject for Liar {
    type Command = Vec<u8>;

    fn command(payload: &[u8]) -> Vec<u8> {
        payload.to_vec()
    }

    fn propose(&mut self, mut command: Vec<u8>) {
        if self.defect == Defect::Damages && self.log.len() == 3 {
            command[0] ^= 1;
        }
        self.log.push(command);
        if self.defect == Defect::Reorders && self.log.len() == 5 {
            self.log.swap(3, 4);
        }
    }

    fn turn(&mut self) -> bool {
        true
    }

    fn idle(&mut self) {}

    fn committed(&self, node: usize) -> u64 {
        let stuck = match self.defect {
            Defect::Hangs => true,
            Defect::FollowersHang => node > 0,
            _ => false,
        };
        if stuck {
            3.min(self.log.len() as u64)
        } else {
            self.log.len() as u64
        }
    }

    fn messages(&self) -> u64 {
        0
    }

    fn digest(&self, _node: usize) -> Option<Digest> {
        let mut digest = Digest::default();
        for (index, command) in self.log.iter().enumerate() {
            if self.defect != Defect::Loses || index != 3 {
                digest.add(command);
            }
        }
        Some(digest)
    }
}

fn outcome(defect: Defect) -> Result<(), String> {
    let work = Work::new(3, 16, 4, 40, Done::Leader);
    let attempt = std::panic::catch_unwind(|| {
        run(
            &work,
            Liar {
                defect,
                log: vec![],
            },
            Heap::default,
        )
    });
    attempt
        .map(drop)
        .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn a_machine_that_does_not_do_the_work_is_found_out() {
    assert_eq!(outcome(Defect::None), Ok(()));
    for (defect, complaint) in [
        (Defect::Loses, "node 0 holds other commands"),
        (Defect::Reorders, "node 0 holds other commands"),
        (Defect::Damages, "node 0 holds other commands"),
        (Defect::Hangs, "no progress after 3"),
        (Defect::FollowersHang, "not all nodes learn"),
    ] {
        let panic = outcome(defect).unwrap_err();
        assert!(panic.contains(complaint), "{panic}");
    }
}
