//! Another set of voters: which ones may follow which.

use alloc::vec::Vec;

use synod_core::{Decode, Entry, EntryKind, Generation, NodeId, Refusal};
use synod_quorum::PaxosPhases;

use super::{Epoch, Membership};

impl Membership {
    /// The next configuration, with these voters and quorums of the same kind. Voters that are not
    /// named leave; learners that are named vote.
    pub(super) fn with_voters(
        &self,
        voters: &[NodeId],
        storages: &[(NodeId, Generation)],
    ) -> Result<Self, Refusal> {
        let phases = self.phases.as_ref();
        if phases
            .and_then(|phases| alike(phases, self.voters()))
            .as_ref()
            != phases
        {
            return Err(Refusal::Unsupported(
                "a change of voters whose quorums are not majorities",
            ));
        }
        let Some((first, mut sorted)) = voters.first().map(|first| (*first, voters.to_vec()))
        else {
            return Err(Refusal::Unsupported("a configuration without voters"));
        };
        sorted.sort_unstable();
        let bad = |node, rule| Err(Refusal::BadChange { node, rule });
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return bad(pair[0], "is named twice");
        }
        if sorted == self.voters() {
            return bad(first, "votes already, as do all others that are named");
        }
        let stranger = |node: &&NodeId| !self.contains(**node);
        if let Some(node) = sorted.iter().find(stranger) {
            return bad(*node, "is no learner: a voter gets the log first");
        }
        let Some(phases) = phases.and_then(|phases| alike(phases, &sorted)) else {
            return Err(Refusal::Unsupported("a configuration of so many voters"));
        };
        let learners = self.learners.iter().copied();
        let learners: Vec<NodeId> = learners.filter(|node| !sorted.contains(node)).collect();
        let known = |voter: &NodeId| {
            let of = storages.iter().find(|(node, _)| node == voter);
            let of = self.storage_of(*voter).or_else(|| of.map(|(_, of)| *of));
            of.map(|of| (*voter, of))
        };
        Ok(Self {
            storages: sorted.iter().filter_map(known).collect(),
            epoch: self.epoch.next(),
            phases: Some(phases),
            learners,
        })
    }
}

/// Majorities of `nodes`; and fast quorums for them, if these phases have any (Lamport, *Fast Paxos*,
/// §3.1: three quarters, rounded up).
fn alike(phases: &PaxosPhases, nodes: &[NodeId]) -> Option<PaxosPhases> {
    let alike = match phases.fast() {
        None => Membership::majority(nodes.to_vec()),
        Some(_) => Membership::fast(nodes.to_vec()),
    };
    alike.ok()
}

/// Whether `entry`, in a slot of `epoch`, is a stop-sign: the last of its epoch, since it chooses the
/// next voters.
pub(crate) fn stops(entry: &Entry, epoch: Epoch) -> bool {
    entry.kind == EntryKind::Config
        && Membership::decode_all(entry.payload.clone()).is_ok_and(|next| next.epoch > epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use synod_core::Change;
    use synod_quorum::Quorum;

    fn of(voters: &[u64], learners: &[u64]) -> Membership {
        let nodes = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>();
        let phases = Membership::majority(nodes(voters)).expect("voters");
        Membership::founding(phases, nodes(learners)).expect("learners")
    }

    fn refused(before: &Membership, voters: &[u64]) -> String {
        let voters = voters.iter().map(|id| NodeId(*id)).collect();
        let refused = before.after(&Change::Voters(voters), &[]);
        refused.expect_err("makes no sense").to_string()
    }

    #[test]
    fn voters_that_make_no_sense_are_refused() {
        let three = of(&[1, 2, 3], &[4]);
        assert_eq!(
            refused(&three, &[]),
            "a configuration without voters is not supported"
        );
        assert_eq!(refused(&three, &[1, 2, 4, 2]), "n2 is named twice");
        assert_eq!(
            refused(&three, &[3, 1, 2]),
            "n3 votes already, as do all others that are named"
        );
        assert_eq!(
            refused(&three, &[1, 2, 5]),
            "n5 is no learner: a voter gets the log first"
        );
        let count = |need| Quorum::count(need, (1..=4).map(NodeId)).expect("a count");
        let flexible = PaxosPhases::new(&count(3), &count(2)).expect("they meet");
        let flexible = Membership::founding(flexible, Vec::new()).expect("founders");
        assert_eq!(
            refused(&flexible, &[1, 2, 3]),
            "a change of voters whose quorums are not majorities is not supported"
        );
    }

    #[test]
    fn the_next_voters_are_of_the_next_epoch() {
        let three = of(&[1, 2, 3], &[4, 5]);
        let voters = Change::Voters(vec![NodeId(4), NodeId(2)]);
        let storages = [(NodeId(2), Generation(7)), (NodeId(9), Generation(8))];
        let next = three.after(&voters, &storages).expect("it makes sense");
        assert_eq!(next.epoch(), Epoch(1));
        assert_eq!(next.voters(), [NodeId(2), NodeId(4)]);
        assert_eq!(next.learners(), [NodeId(5)]);
        assert_eq!(next.storage_of(NodeId(2)), Some(Generation(7)));
        assert_eq!(
            (next.storage_of(NodeId(4)), next.storage_of(NodeId(9))),
            (None, None)
        );
        assert!(next.follows(&three) && !three.follows(&next));
        let there = Membership::decode_all(next.to_bytes());
        assert_eq!(there, Ok(next.clone()), "the epoch is in the bytes");
        assert!(next.to_bytes()[0] == 2 && three.to_bytes()[0] == 1);
        let entry = |membership: &Membership| Entry {
            kind: EntryKind::Config,
            payload: membership.to_bytes(),
        };
        assert!(stops(&entry(&next), Epoch(0)) && !stops(&entry(&next), Epoch(1)));
        assert!(!stops(&entry(&three), Epoch(0)));
    }

    #[test]
    fn fast_quorums_stay_fast() {
        let count = |need, nodes| Quorum::count(need, (1..=nodes).map(NodeId)).expect("a count");
        let fast = PaxosPhases::with_fast(&count(3, 5), &count(3, 5), &count(4, 5));
        let fast = fast.expect("they meet");
        let five = Membership::founding(fast, Vec::new()).expect("founders");
        let change = Change::Voters((1..=4).map(NodeId).collect());
        let next = five.after(&change, &[]).expect("it makes sense");
        let phases = next.phases().expect("voters");
        assert_eq!(phases.fast(), Some(&count(3, 4)));
        assert_eq!(phases.phase2(), &count(3, 4));
    }
}
