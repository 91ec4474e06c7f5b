//! What acceptors answer.

use super::{
    Ballot, Clash, Configuration, Held, Key, Nack, Node, NodeId, NodeSet, Phase, Proposer, Purpose,
    Refusal, Stage, Tally, Verdict, format, planted,
};

impl Proposer {
    pub(crate) fn on_promised(
        &mut self,
        node: &mut Node,
        from: NodeId,
        key: Key,
        (ballot, asked): (Ballot, u64),
        held: Held,
    ) {
        let epoch = node.epoch().unwrap_or_default();
        let Some(mut round) = self.round_of(&key, ballot) else {
            return node.drop_message();
        };
        let Stage::Prepare(prepare) = &mut round.stage else {
            return self.keep(key, round);
        };
        if prepare.asked != asked {
            node.drop_message();
            return self.keep(key, round);
        }
        match prepare.promised(from, held, epoch) {
            Ok(Verdict::Won) => self.prepared(node, key, round),
            Ok(Verdict::Pending) => self.keep(key, round),
            Ok(Verdict::Lost) => self.conflict(node, key, round),
            Err(Clash(ballot)) => {
                let evidence = format!("two contents of {key:?} in {ballot}");
                node.fail_stop("a ballot carries one proposal", evidence);
                self.keep(key, round);
            }
        }
    }

    pub(crate) fn on_accepted(&mut self, node: &mut Node, from: NodeId, key: Key, ballot: Ballot) {
        self.late(node.configuration(), from, &key, ballot);
        let Some(mut round) = self.round_of(&key, ballot) else {
            return;
        };
        let Stage::Accept(proposal) = &mut round.stage else {
            return self.keep(key, round);
        };
        let verdict = proposal.tally.record(from, true);
        let enough = planted!(node, MajorityMinusOne)
            && proposal.tally.yes().len() >= proposal.tally.quorum().members().len() / 2;
        match verdict {
            Verdict::Won => self.chosen(node, key, round),
            Verdict::Pending if enough => self.chosen(node, key, round),
            Verdict::Pending => self.keep(key, round),
            Verdict::Lost => self.conflict(node, key, round),
        }
    }

    /// An answer that comes after the quorum still says who has promised the next ballot.
    fn late(
        &mut self,
        configuration: Option<&Configuration>,
        from: NodeId,
        key: &Key,
        ballot: Ballot,
    ) {
        let place = configuration.and_then(|it| it.phases().phase1().position(from));
        if let (Some(cache), Some(place)) = (self.caches.get_mut(key), place)
            && cache.ballot == ballot
            && cache.next > ballot
        {
            cache.promised.insert(place);
        }
    }

    pub(crate) fn on_refused(
        &mut self,
        node: &mut Node,
        from: NodeId,
        (key, phase, ballot): (Key, Phase, Ballot),
        why: Nack,
    ) {
        if let Nack::Promised(promised) = why {
            node.fast_forward(promised);
        }
        let Some(mut round) = self.round_of(&key, ballot) else {
            return;
        };
        let verdict = match (&mut round.stage, phase) {
            (Stage::Prepare(prepare), Phase::One) => {
                note_full(&mut prepare.full, &prepare.tally, from, why);
                prepare.tally.record(from, false)
            }
            (Stage::Accept(proposal), Phase::Two) => {
                note_full(&mut proposal.full, &proposal.tally, from, why);
                proposal.tally.record(from, false)
            }
            (
                Stage::Prepare(_) | Stage::Accept(_) | Stage::Backoff | Stage::Asking { .. },
                Phase::One | Phase::Two,
            ) => Verdict::Pending,
        };
        match verdict {
            // Once all have refused, nothing of it is left anywhere: worth waiting for.
            Verdict::Lost if round.may_vanish() => self.keep(key, round),
            Verdict::Lost => self.conflict(node, key, round),
            Verdict::Won | Verdict::Pending => self.keep(key, round),
        }
    }

    /// The round under way of this ballot, taken out.
    fn round_of(&mut self, key: &Key, ballot: Ballot) -> Option<super::Round> {
        let slot = self.slots.get_mut(key)?;
        if slot.round.as_ref()?.ballot != ballot {
            return None;
        }
        slot.round.take()
    }

    /// The round cannot win, or it is not worth waiting for: another ballot, after a while.
    pub(super) fn conflict(&mut self, node: &mut Node, key: Key, mut round: super::Round) {
        round.doubt();
        let full = match &round.stage {
            Stage::Prepare(prepare) => prepare.is_full(),
            // What a rescan proposes is there already, so nothing of it is in doubt.
            Stage::Accept(proposal) => proposal.is_full() && round.job.purpose == Purpose::Rewrite,
            Stage::Backoff | Stage::Asking { .. } => false,
        };
        if full && !round.job.is_in_doubt() {
            return self.refuse(node, key, round.job, Refusal::Full);
        }
        round.conflicts += 1;
        round.stage = Stage::Backoff;
        round.due = node.now + Self::backoff(node, round.ballot, round.conflicts);
        self.keep(key, round);
    }
}

/// Who has no room, by its first answer.
fn note_full(full: &mut NodeSet, tally: &Tally, from: NodeId, why: Nack) {
    if let Some(place) = tally.quorum().position(from)
        && why == Nack::Full
        && !tally.answered().contains(place)
    {
        full.insert(place);
    }
}
