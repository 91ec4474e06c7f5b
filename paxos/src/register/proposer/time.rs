//! What time brings: messages are sent again, ballots tried again, jobs given up.

use super::{
    BTreeMap, Ballot, Duration, Finished, Instant, Key, Node, Proposer, Purpose, Refusal, Round,
    Stage, VecDeque, mix,
};

impl Proposer {
    /// No timer is due before.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn tick(&mut self, node: &mut Node) {
        if self.due.is_none_or(|due| node.now < due) {
            return;
        }
        self.due = None;
        let keys: VecDeque<Key> = self.slots.keys().cloned().collect();
        for key in keys {
            self.tick_queue(node, &key);
            self.tick_round(node, key);
        }
    }

    /// Gives up what has waited too long behind others.
    fn tick_queue(&mut self, node: &mut Node, key: &Key) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= node.now);
        let (over, rest): (VecDeque<_>, VecDeque<_>) =
            slot.queue.drain(..).partition(|job| is_over(job.until));
        slot.queue = rest;
        let next = slot.queue.iter().filter_map(|job| job.until).min();
        self.wake_by(next);
        for job in over {
            self.refuse(node, key.clone(), job, Refusal::TimedOut);
        }
    }

    fn tick_round(&mut self, node: &mut Node, key: Key) {
        let Some(round) = self.take_round(&key) else {
            return;
        };
        if round.job.until.is_some_and(|until| until <= node.now) {
            return self.expire(node, key, round);
        }
        self.wake_by(round.job.until);
        if round.due > node.now {
            return self.keep(key, round);
        }
        match &round.stage {
            Stage::Backoff => self.begin(node, key, round.job, round.conflicts),
            Stage::Asking { .. } => self.keep(key, round),
            Stage::Prepare(_) | Stage::Accept(_) if round.is_refused() => {
                self.conflict(node, key, round);
            }
            Stage::Prepare(_) | Stage::Accept(_) => {
                let due = node.now + node.config.timing.retry;
                self.keep(key.clone(), Round { due, ..round });
                self.send_round(node, &key);
            }
        }
    }

    /// The time of a job is up. If it has proposed something that may yet be chosen, nobody knows;
    /// else it cannot happen any more. Its ballot is not used again either way.
    fn expire(&mut self, node: &mut Node, key: Key, mut round: Round) {
        round.doubt();
        #[cfg(feature = "planted")]
        if super::planted!(node, CacheKeptAfterUnknown)
            && let (Stage::Accept(proposal), Some(configuration)) =
                (&round.stage, node.configuration())
            && let Some(base) = proposal.base.clone()
        {
            let cache = super::Cache {
                next: round.ballot,
                state: base,
                ballot: round.ballot,
                asked: 0,
                promised: configuration.phases().phase1().all(),
            };
            self.caches.put(key.clone(), cache);
        }
        match (round.job.is_in_doubt(), &round.job.purpose) {
            (true, Purpose::Client { .. } | Purpose::Configure { .. }) => {
                self.give_up(node, key, round.job);
            }
            (true, Purpose::Rewrite | Purpose::Bury) | (false, _) => {
                self.refuse(node, key, round.job, Refusal::TimedOut);
            }
        }
    }

    /// How long to wait after a conflict: drawn anew for each ballot, from a range that grows with
    /// their number, so that of proposers who compete one gets through.
    pub(super) fn backoff(node: &Node, ballot: Ballot, conflicts: u32) -> Duration {
        let timing = &node.config.timing;
        let factor = 2_u32.saturating_pow(conflicts.min(16));
        let max = timing.backoff_min.saturating_mul(factor);
        let spread = max
            .min(timing.backoff_max)
            .saturating_sub(timing.backoff_min);
        let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        let draw = mix(node.config.seed, mix(ballot.round, u64::from(conflicts)));
        let extra = if spread == 0 { 0 } else { draw % spread };
        timing.backoff_min + Duration::from_nanos(extra)
    }

    /// A link is up again: whoever has not answered is asked again at once.
    pub(crate) fn relink(&mut self, node: &Node) {
        for slot in self.slots.values_mut() {
            if let Some(round) = &mut slot.round
                && matches!(round.stage, Stage::Prepare(_) | Stage::Accept(_))
            {
                round.due = round.due.min(node.now);
            }
        }
        self.wake_by(Some(node.now));
    }

    /// Another configuration is in force: what acceptors answered under the old one does not count,
    /// and the next ballots of the caches are promised by the wrong quorum.
    pub(crate) fn reconfigure(&mut self, node: &mut Node) {
        self.caches.clear();
        let slots = core::mem::take(&mut self.slots);
        self.slots = slots
            .into_iter()
            .map(|(key, mut slot)| {
                slot.queue.retain(|job| job.purpose != Purpose::Rewrite);
                if let Some(round) = &mut slot.round {
                    round.doubt();
                    round.stage = Stage::Backoff;
                    round.ballot = Ballot::START;
                    round.due = node.now;
                }
                (key, slot)
            })
            .collect::<BTreeMap<_, _>>();
        self.wake_by(Some(node.now));
        // Steps that were meant for the configuration before are refused by their plan, pieces of a
        // rescan end with it.
        let dead: VecDeque<Key> = self.slots.iter().filter_map(Self::is_rewrite).collect();
        for key in dead {
            if let Some(round) = self.take_round(&key) {
                self.close(node, key, &round.job);
            }
        }
        self.finished
            .retain(|it| !matches!(it, Finished::Rewritten(_) | Finished::NotRewritten(_)));
        self.tick(node);
    }

    fn is_rewrite((key, slot): (&Key, &super::Slot)) -> Option<Key> {
        let round = slot.round.as_ref()?;
        (round.job.purpose == Purpose::Rewrite).then(|| key.clone())
    }
}
