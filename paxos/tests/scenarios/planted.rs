//! Each classic bug makes the claims of the story about it fail, whatever is said.

use synod_paxos::single::planted::Bug;

use crate::story::{Mode, tell};
use crate::text_of;

const TABLE: [(Bug, &str); 7] = [
    (Bug::MajorityMinusOne, "single_two_proposers"),
    (Bug::OwnValueFirst, "single_two_proposers"),
    (Bug::VoteWithoutItsBallot, "single_highest_vote"),
    (Bug::PromiseNotPersisted, "single_restart"),
    (Bug::VoteNotPersisted, "single_restart"),
    (Bug::BallotUsedAgain, "single_restart"),
    (Bug::FastVotesAsClassic, "single_fast_recovery"),
];

#[test]
fn stories_notice_planted_bugs() {
    for (bug, name) in TABLE {
        let told = tell(name, &text_of(name), Mode::Rewrite, Some(bug));
        assert!(told.is_err(), "{bug:?} is not noticed in {name}");
        assert!(tell(name, &text_of(name), Mode::Rewrite, None).is_ok());
    }
}
