//! Stop-signs: how one set of voters follows another.
//!
//! A *stop-sign* is a configuration entry with other voters than those in force. It is the last entry of
//! its epoch, and the next epoch begins in the slot behind it once it is chosen (Lamport, Malkhi,
//! Zhou, *Stoppable Paxos*, 2008; *Omni-Paxos*, EuroSys 2023, §6). So
//! each slot is chosen by the voters of one epoch. Five rules make it so:
//!
//! 1. **A leader proposes nothing behind its stop-sign**, be it new or one that it has found.
//! 2. **A ballot is of one epoch.** Each message names its sender's, and a node promises, votes and counts
//!    only within its own. Who enters the next one prepares a new ballot there.
//! 3. **A node enters an epoch when it knows the stop-sign before it to be chosen.** It drops its votes
//!    behind that, and both is written before any vote in the new epoch: all votes that a node of an
//!    epoch holds behind the last stop-sign are of that epoch.
//! 4. **A stop-sign that phase 1 has found ends what is proposed again**, and what was found behind it is
//!    dropped,
//! 5. **unless a higher ballot has a vote in a slot behind it.** Then it is void, and its slot is filled
//!    with a blank.
//!
//! Why: let a stop-sign be chosen in slot s and ballot b. Each higher ballot of the epoch finds it in
//! phase 1, not void by induction, since no ballot from b on has proposed anything behind s; so
//! it proposes nothing there either (4). So a vote of a higher ballot behind a stop-sign shows that this
//! was not chosen, nor will be (5). And let a ballot propose a stop-sign in s: nothing behind s
//! was or will be chosen in a lower ballot. For phase 1 would have found a vote of that ballot, or of a
//! higher one, in that slot: so the stop-sign is not new, but was found with a ballot higher than
//! that vote's (5; equal they are not, by 1), which has proposed it while the same could be
//! chosen behind it; the first ballot to do so had no such excuse. So it takes nothing from anybody
//! to drop the votes behind it (3, 4).
//!
//! What breaks without rule 5 (test `a_stop_sign_that_was_overtaken_is_void`): the first leader
//! puts a stop-sign into slot 5 of one acceptor and dies. The second one does not hear of it and
//! puts x into 5 and y into 6; y is chosen, x not yet. A third one finds the stop-sign of the first,
//! since nobody that it hears has x, and y: to end the epoch in 5 would undo 6.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use synod_core::{Entry, LogIndex};

use super::Epoch;
use super::membership::stops;
use crate::Ballot;

/// Where the votes that phase 1 has found end: in a stop-sign, what is behind it left out. Those that are
/// void are left out, too. `void_counts` leaves that rule out: a bug that can be planted.
pub(crate) fn end_of(
    votes: &mut BTreeMap<LogIndex, (Ballot, Entry)>,
    epoch: Epoch,
    void_counts: bool,
) -> Option<LogIndex> {
    let (mut end, mut void) = (None, Vec::new());
    let mut highest_behind = Ballot::START.rank();
    for (index, (ballot, entry)) in votes.iter().rev() {
        if stops(entry, epoch) {
            if highest_behind > ballot.rank() && !void_counts {
                void.push(*index);
            } else {
                // Of several the lowest: those behind it are among what it cuts off.
                end = Some(*index);
            }
        }
        highest_behind = highest_behind.max(ballot.rank());
    }
    for index in void {
        votes.remove(&index);
    }
    if let Some(end) = end {
        drop(votes.split_off(&end.next()));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Membership;
    use alloc::vec;
    use synod_core::{Change, EntryKind, NodeId};

    fn stop() -> Entry {
        let phases = Membership::majority(vec![NodeId(1), NodeId(2)]).expect("voters");
        let before = Membership::founding(phases, Vec::new()).expect("founders");
        let next = before.after(&Change::Voters(vec![NodeId(1)]), &[]);
        Entry {
            kind: EntryKind::Config,
            payload: next.expect("it makes sense").to_bytes(),
        }
    }

    /// Votes as slot, round and whether it is a stop-sign; what is left, and where it ends.
    fn ended(votes: &[(u64, u64, bool)]) -> (Vec<u64>, Option<u64>) {
        let vote = |(slot, round, stops): &(u64, u64, bool)| {
            let proposer = NodeId(1);
            let ballot = Ballot {
                round: *round,
                proposer,
            };
            let entry = if *stops { stop() } else { Entry::blank() };
            (LogIndex(*slot), (ballot, entry))
        };
        let mut votes = votes.iter().map(vote).collect();
        let end = end_of(&mut votes, Epoch(0), false);
        let left = votes.keys().map(|slot| slot.0).collect();
        (left, end.map(|slot| slot.0))
    }

    #[test]
    fn the_lowest_stop_sign_that_is_not_void_ends_it() {
        for (votes, left, end) in [
            (&[(5, 2, false), (6, 4, false)][..], vec![5, 6], None),
            // What is behind it is of lower ballots.
            (
                &[(4, 2, false), (5, 4, true), (6, 2, false)],
                vec![4, 5],
                Some(5),
            ),
            // A higher ballot went on behind it.
            (&[(5, 4, true), (6, 6, false)], vec![6], None),
            (
                &[(5, 4, true), (6, 2, false), (7, 6, false)],
                vec![6, 7],
                None,
            ),
            // Two: the second one of a higher ballot voids the first, one of a lower is cut off.
            (
                &[(5, 4, true), (7, 6, true), (8, 2, false)],
                vec![7],
                Some(7),
            ),
            (&[(5, 6, true), (7, 4, true)], vec![5], Some(5)),
            // What voids the second voids the first, too, if that is of a lower ballot.
            (&[(5, 2, true), (6, 4, true), (7, 8, false)], vec![7], None),
            (
                &[(5, 10, true), (6, 4, true), (7, 8, false)],
                vec![5],
                Some(5),
            ),
        ] {
            assert_eq!(ended(votes), (left, end), "{votes:?}");
        }
    }
}
