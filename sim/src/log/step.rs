//! What is looked at when a node starts and after each of its steps.

use synod_core::{LogIndex, ReplicatedLog, Role, Status};

use super::{LogScene, Replica, Stage};
use crate::application::Application;
use crate::check::{Breach, ensure};
use crate::subject::LogSubject;
use crate::trace::{What, Who, note};

/// What was seen of a node.
#[derive(Debug)]
pub(super) struct Seen {
    /// How often it has stood or led.
    pub(super) roles: u64,
    /// What it had under way at its last step, in which era.
    uncommitted: (u64, usize),
    /// What of its state was shown last, in a trace.
    shown: (u64, Role, LogIndex),
    /// How often it was looked at, and when its own check comes next.
    looks: u64,
    check_at: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            roles: 0,
            uncommitted: (0, 0),
            shown: (0, Role::Follower, LogIndex::START),
            looks: 0,
            check_at: 0,
        }
    }
}

impl Seen {
    /// Another look: whether the node's own check is due.
    pub(super) const fn is_due(&mut self) -> bool {
        self.looks += 1;
        self.looks >= self.check_at
    }

    /// A check may walk the whole log: the longer that is, the more steps pass in between.
    const fn checked(&mut self, status: &Status) {
        if self.looks >= self.check_at {
            self.check_at = self.looks + 1 + status.last.since(status.compacted) / 16;
        }
    }
}

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    /// A node has started: its log learns how far the state machine is.
    pub(super) fn restart(&mut self, stage: &mut Stage<'_, S>, i: usize) {
        self.seen[i].uncommitted = (0, 0);
        let replica = self.replicas[i].get_or_insert_with(|| Replica::new(self.app.machine()));
        let (applied, now) = (replica.applied, stage.local(i));
        let again = stage.life(i) > 1;
        let Some(log) = stage.machine_mut(i) else {
            return;
        };
        if applied > LogIndex::START {
            log.applied(now, applied);
        }
        let status = log.status();
        note!(
            stage,
            Who::Node(i),
            What::Start,
            "starts, has applied {applied}"
        );
        if again {
            if stage.stored[i].image.snapshot().is_some() {
                stage.marks.add("restarts with a snapshot");
            }
            self.observe(stage, |observer, cluster| {
                observer.starts(i, &status, cluster)
            });
        }
        // A snapshot may be current before the log is cut to it: a crash, or a second one at the start that
        // does so, comes in between.
        let image = &stage.stored[i].image;
        let covered = image.snapshot().map(|meta| meta.index());
        let last = image.last().max(covered.unwrap_or_default());
        if applied > last {
            let evidence = format!(
                "{} has applied {applied}, its log ends at {last}",
                stage.id(i)
            );
            stage.fail(Breach::new("what is applied is in the log", evidence));
        }
    }

    /// Looks at a node after its step.
    pub(super) fn look(&mut self, stage: &mut Stage<'_, S>, i: usize) {
        let Some(log) = stage.machine(i) else { return };
        let status = log.status();
        self.seen[i].checked(&status);
        stage.mix(status.era ^ status.committed.0 << 20 ^ status.last.0 << 42);
        if status.role == Role::Stopped {
            let id = stage.id(i);
            if stage.stops(i, || id.to_string()) {
                return;
            }
        }
        if let Some(replica) = &mut self.replicas[i] {
            replica.role = status.role;
        }
        self.keeps_within(stage, i, &status);
        self.observe(stage, |observer, cluster| {
            observer.steps(i, &status, cluster)
        });
        if stage.trace.is_on() {
            self.show(stage, i, &status);
        }
    }

    /// Memory and queues are bounded.
    fn keeps_within(&mut self, stage: &mut Stage<'_, S>, i: usize, status: &Status) {
        let (bounds, id) = (stage.bounds, stage.id(i));
        let in_flight = status.peers.iter().map(|peer| peer.in_flight_bytes);
        let in_flight = in_flight.max().unwrap_or(0);
        // What a new leader inherits is more than it would take on, and must not grow.
        let (era, before) = self.seen[i].uncommitted;
        let inherited = if era == status.era {
            before
        } else {
            usize::MAX
        };
        if status.role == Role::Leader {
            self.seen[i].uncommitted = (status.era, status.uncommitted_bytes);
        }
        let within = status.uncommitted_bytes <= bounds.uncommitted_bytes.max(inherited)
            && in_flight <= bounds.in_flight_bytes;
        let kept = ensure(within, "memory is bounded", || {
            format!("{id}: {bounds:?}, {status:?}")
        });
        stage.must(kept);
    }

    /// Adds what pictures need to know to the trace.
    fn show(&mut self, stage: &mut Stage<'_, S>, i: usize, status: &Status) {
        let now = (status.era, status.role, status.committed);
        if core::mem::replace(&mut self.seen[i].shown, now) != now {
            let what = What::State {
                era: now.0,
                role: now.1,
                committed: now.2.0,
            };
            note!(
                stage,
                Who::Node(i),
                what,
                "{} in {}, {} committed",
                now.1,
                now.0,
                now.2
            );
        }
    }
}
