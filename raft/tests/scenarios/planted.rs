//! The claims' teeth: with a classic bug planted, the story about it does not come true. What is
//! said would differ, of course; here only claims and Raft's properties count.

use synod_raft::ConfigBuilder;
use synod_raft::planted::Bug;

use crate::story::{Mode, tell};
use crate::text_of;

/// What a story fails with, if its nodes have this bug.
fn failure(name: &str, configure: fn(ConfigBuilder) -> ConfigBuilder) -> Option<String> {
    tell(name, &text_of(name), Mode::Rewrite, configure).err()
}

macro_rules! caught {
    ($($bug:ident by $($story:ident)*;)*) => {
        #[test]
        fn each_story_notices_the_bug_that_it_is_about() {
            let mut missed: Vec<String> = Vec::new();
            $($(
                let story = stringify!($story);
                match failure(story, |builder| builder.danger_plant(Bug::$bug)) {
                    Some(why) => println!("{:?}: {why}\n", Bug::$bug),
                    None => missed.push(format!("{:?} by {story}", Bug::$bug)),
                }
            )*)*
            assert!(missed.is_empty(), "not noticed: {missed:?}");
        }

        #[test]
        fn each_bug_has_a_story() {
            let told = [$(Bug::$bug),*];
            let untold: Vec<Bug> = Bug::ALL.into_iter().filter(|b| !told.contains(b)).collect();
            assert!(untold.is_empty(), "no story: {untold:?}");
        }
    };
}

caught! {
    VoteNotPersisted by vote_is_durable;
    TermNotPersisted by stale_candidate;
    CommitOldTermByCounting by entries_of_earlier_terms;
    MajorityMinusOne by crash_7_split_brain appends_are_durable;
    VoteForStaleLog by stale_candidate figure_7 figure_8 crash_5_committed;
    VoteByLengthOnly by stale_candidate;
    AppendUnchecked by figure_7 log_repair;
    TruncateMatching by old_appends;
    CommitBeyondMatch by crash_7_split_brain;
    ReadUnconfirmed by stale_read_1_late_answer stale_read_2_transfer stale_read_3_lease;
    ReadBeforeFirstCommit by reads crash_4_on_all;
    SnapshotOverMatchingLog by snapshot_of_what_is_there;
    AckBeforeSync by appends_are_durable;
    CountUnwritten by appends_are_durable;
    HandOutTwice by restart;
}
