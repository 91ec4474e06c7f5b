//! Letting go of the end: votes that can have chosen nothing.

use synod_core::LogIndex;

use super::Slots;

impl Slots {
    /// Lets go of everything behind `end`.
    pub(crate) fn truncate(&mut self, end: LogIndex) {
        debug_assert!(
            self.open.is_empty(),
            "nothing is taken on behind a stop-sign"
        );
        debug_assert!(end >= self.base.0, "what is compacted is not touched");
        while let Some(run) = self.runs.back_mut()
            && run.last > end
        {
            if run.first > end {
                self.runs.pop_back();
            } else {
                run.last = end;
            }
        }
        while let Some(chunk) = self.chunks.back_mut()
            && chunk.last() > end
        {
            self.bytes -= chunk.weight();
            if chunk.first() > end {
                self.chunks.pop_back();
            } else {
                *chunk = chunk.through(end);
                self.bytes += chunk.weight();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ballot;
    use synod_core::{Entries, Entry, NodeId};

    #[test]
    fn what_is_behind_the_end_is_gone() {
        let ballot = |round| Ballot {
            round,
            proposer: NodeId(1),
        };
        let run = |first, count, round| {
            let one = |_| Entry::command("x".into());
            let stamp = ballot(round).stamp();
            Entries::new(LogIndex(first), stamp, (0..count).map(one))
        };
        let mut whole = Slots::new((LogIndex::START, Ballot::START));
        for (first, count, round) in [(1, 4, 2), (5, 2, 4), (9, 3, 6)] {
            whole.put(run(first, count, round));
        }
        for end in 0..13 {
            let (end, mut slots) = (LogIndex(end), whole.clone());
            slots.truncate(end);
            slots.check();
            for slot in (1..13).map(LogIndex) {
                let left = whole.ballot_at(slot).filter(|_| slot <= end);
                assert_eq!(slots.ballot_at(slot), left, "{slot} of {end}");
            }
        }
    }
}
