//! What no peer of ours would say: it breaks nothing.

use bytes::Bytes;
use proptest::prelude::*;
use synod_core::{Entries, Generation, LogIndex, ReadLevel, ReplicatedLog, Stamp, Ticket};
use synod_raft::{Body, ConfigBuilder, Outcome, Term};

use crate::cluster::{ms, n};
use crate::codec::any_body;
use crate::solo::{Solo, append, appended, at, proposed, voted};

#[test]
fn what_a_peer_makes_up_neither_panics_nor_stays() {
    let huge = u64::MAX;
    let meta = synod_core::SnapshotMeta {
        id: synod_core::SnapshotId {
            origin: Generation(2),
            index: LogIndex(huge),
        },
        stamp: Stamp::of(1),
        config: Solo::leading(|b| b)
            .raft
            .describe(LogIndex(1))
            .unwrap()
            .config,
        size: 0,
    };
    let piece = synod_raft::Piece {
        meta,
        offset: 0,
        chunk: Bytes::new(),
        round: synod_raft::Round(huge),
    };
    let far = |term| {
        Body::Append(synod_raft::Append {
            before: Term(0),
            entries: Entries::empty(LogIndex(huge), Stamp::of(term)),
            commit: LogIndex(huge),
            round: synod_raft::Round(huge),
        })
    };
    let bodies = [
        Body::Vote {
            pre: true,
            last: at(huge, huge),
        },
        Body::Vote {
            pre: false,
            last: at(huge, huge),
        },
        voted(true, huge, true),
        appended(huge, huge),
        Body::Conflict {
            asked: LogIndex(huge),
            hint: at(huge, huge),
            round: synod_raft::Round(0),
        },
        Body::Snapshot(Box::new(piece)),
        far(1),
        far(huge),
        append(at(0, 0), huge, 1, huge),
        Body::ReadAt {
            life: 0,
            ticket: Ticket(huge),
            index: Ok(LogIndex(huge)),
        },
        proposed(0, Ticket(huge), u32::MAX, Outcome::Accepted(LogIndex(huge))),
        Body::Propose {
            life: huge,
            first: Ticket(huge),
            commands: vec![Bytes::new(); 2],
        },
        Body::Read {
            life: huge,
            ticket: Ticket(huge),
        },
    ];
    for body in bodies {
        for term in [1, 2, huge - 1, huge] {
            for mut solo in [Solo::new(1, 3), Solo::leading(|builder| builder)] {
                solo.say(2, term, body.clone());
                solo.settle();
                assert!(
                    solo.term() <= 2,
                    "{body:?} in {term} moves the term to {}",
                    solo.term()
                );
                assert!(solo.status().last <= LogIndex(9));
                // It still works.
                solo.wait(ms(3000));
                solo.settle();
            }
        }
    }
}

#[test]
fn terms_that_fall_along_the_log_are_turned_away() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 5, append(at(0, 0), 5, 2, 0));
    solo.settle();
    solo.say(2, 5, append(at(2, 5), 4, 1, 0));
    solo.say(2, 5, append(at(2, 5), 6, 1, 0));
    solo.settle();
    assert_eq!(solo.status().last, LogIndex(2));
    solo.raft.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whatever peers say, in any order, no machine panics, and each keeps its invariants.
    #[test]
    fn nonsense_of_peers_breaks_no_machine(
        said in prop::collection::vec((2_u64..=4, 0_u64..6, any_body(), 0_u8..10), 0..60),
        leads in any::<bool>(),
    ) {
        let small = |b: ConfigBuilder| b.max_log_bytes(200).snapshot_chunk_bytes(4).learners([n(4)]);
        let mut solo = if leads { Solo::leading(small) } else { Solo::with(1, 3, small) };
        for (from, term, body, then) in said {
            solo.say(from, term, body);
            match then {
                0 => solo.wait(ms(60)),
                1 => solo.wake_if_any(),
                2 => drop(solo.propose("command")),
                3 => solo.load(),
                4 => drop(solo.raft.read(solo.now, ReadLevel::Linearizable)),
                5 | 6 => solo.settle(),
                _ => {}
            }
            solo.raft.check();
        }
        solo.settle();
    }
}
