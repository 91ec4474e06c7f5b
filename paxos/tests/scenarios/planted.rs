//! Each classic bug makes the claims of the story about it fail, whatever is said.

use synod_paxos::{log, register, single};

use crate::stage::Bug;
use crate::story::{Mode, tell};
use crate::text_of;

const TABLE: [(Bug, &str); 17] = [
    (
        Bug::Decree(single::planted::Bug::MajorityMinusOne),
        "single_two_proposers",
    ),
    (
        Bug::Decree(single::planted::Bug::OwnValueFirst),
        "single_two_proposers",
    ),
    (
        Bug::Decree(single::planted::Bug::VoteWithoutItsBallot),
        "single_highest_vote",
    ),
    (
        Bug::Decree(single::planted::Bug::PromiseNotPersisted),
        "single_restart",
    ),
    (
        Bug::Decree(single::planted::Bug::VoteNotPersisted),
        "single_restart",
    ),
    (
        Bug::Decree(single::planted::Bug::BallotUsedAgain),
        "single_restart",
    ),
    (
        Bug::Decree(single::planted::Bug::FastVotesAsClassic),
        "single_fast_recovery",
    ),
    (Bug::Log(log::planted::Bug::GapNotFilled), "log_gap"),
    (Bug::Log(log::planted::Bug::SuffixNotProposed), "log_gap"),
    (Bug::Log(log::planted::Bug::MajorityMinusOne), "log_leader"),
    (Bug::Log(log::planted::Bug::CountUnwritten), "log_leader"),
    (Bug::Log(log::planted::Bug::FirstVoteWins), "log_duel"),
    (Bug::Log(log::planted::Bug::ChosenWithoutBallot), "log_duel"),
    (
        Bug::Register(register::planted::Bug::AcceptKeepsPromise),
        "register_one_round_trip",
    ),
    (
        Bug::Register(register::planted::Bug::MajorityMinusOne),
        "register_conflict",
    ),
    (
        Bug::Register(register::planted::Bug::ReadUnfenced),
        "register_read",
    ),
    (
        Bug::Register(register::planted::Bug::PurgeEarly),
        "register_delete",
    ),
];

#[test]
fn stories_notice_planted_bugs() {
    for (bug, name) in TABLE {
        let told = tell(name, &text_of(name), Mode::Rewrite, Some(bug));
        assert!(told.is_err(), "{bug:?} is not noticed in {name}");
        assert!(tell(name, &text_of(name), Mode::Rewrite, None).is_ok());
    }
}
