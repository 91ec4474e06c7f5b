//! What no peer of ours would say: it breaks nothing, is dropped and counted.

use bytes::Bytes;
use proptest::prelude::*;
use synod_core::{
    Entries, Generation, LogIndex, NodeId, Outcome, ReadLevel, ReplicatedLog, Round, SnapshotId,
    SnapshotMeta, Stamp, Ticket,
};
use synod_paxos::Ballot;
use synod_paxos::log::{Accept, Body, ConfigBuilder, Cover, Page, Piece};

use super::cluster::{i, ms, n};
use super::codec::{any_body, ballot, some_config};
use super::solo::{Solo, accept, accepted, b, held, page, promise, votes};

const HUGE: u64 = u64::MAX;

fn made_up() -> Vec<Body> {
    let meta = SnapshotMeta {
        id: SnapshotId {
            origin: Generation(2),
            index: LogIndex(HUGE),
        },
        stamp: Stamp::of(1),
        config: some_config(),
        size: 0,
    };
    let piece = |meta: SnapshotMeta, offset| {
        Body::Piece(Box::new(Piece {
            meta,
            offset,
            chunk: Bytes::new(),
        }))
    };
    let low = SnapshotMeta {
        id: SnapshotId {
            origin: Generation(2),
            index: LogIndex(8),
        },
        ..meta.clone()
    };
    let far = |slot| {
        Body::Accept(Accept {
            entries: Entries::empty(LogIndex(slot), Stamp::START),
            chosen: LogIndex(slot),
            pushed: LogIndex(slot),
            round: Round(slot),
            fast: None,
        })
    };
    let wide = |last| Page {
        through: LogIndex(last),
        last: LogIndex(last),
        chosen: LogIndex(last),
        ..page(0, 0, 0, &[])
    };
    vec![
        Body::Ask { round: Round(HUGE) },
        Body::Beat {
            round: Round(HUGE),
            stands: b(HUGE, 2),
            follows: b(HUGE, 2),
            content: true,
            priority: 0,
        },
        Body::TakeOver,
        Body::Prepare { after: i(HUGE) },
        promise(wide(HUGE)),
        promise(page(0, HUGE, HUGE, &[votes(1, b(0, 2), &["x"])])),
        Body::Page(wide(HUGE)),
        Body::Nack,
        far(HUGE),
        far(1 << 63),
        accepted(HUGE, &[]),
        Body::Accepted {
            held: held(3, &[(HUGE - 3, HUGE)]),
            round: Round(HUGE),
        },
        Body::Fetch {
            after: i(HUGE),
            through: Some(i(HUGE)),
            votes: true,
            staged: Some((meta.id, HUGE)),
        },
        piece(meta, 0),
        piece(low, HUGE),
        Body::Propose {
            life: HUGE,
            first: Ticket(HUGE),
            commands: vec![Bytes::new(); 2],
        },
        Body::Proposed {
            life: 0,
            first: Ticket(HUGE),
            count: u32::MAX,
            outcome: Outcome::Accepted(i(HUGE)),
        },
        Body::Read {
            life: HUGE,
            ticket: Ticket(HUGE),
        },
        Body::ReadAt {
            life: 0,
            ticket: Ticket(HUGE),
            index: Ok(i(HUGE)),
        },
        Body::QuorumRead {
            life: HUGE,
            round: Round(HUGE),
        },
        Body::QuorumReadAt {
            life: 0,
            round: Round(HUGE),
            last: i(HUGE),
            chosen: i(HUGE),
        },
        Body::Fill { through: i(HUGE) },
        Body::Lease {
            round: Round(HUGE),
            nanos: HUGE,
        },
        Body::Lease {
            round: Round(1),
            nanos: 1 << 62,
        },
        Body::Granted {
            round: Round(1),
            nanos: HUGE,
        },
    ]
}

#[test]
fn what_a_peer_makes_up_neither_panics_nor_stays() {
    for body in made_up() {
        for ballot in [b(0, 2), b(2, 2), b(2, 3), b(HUGE, 2), b(1 << 62, 9)] {
            for mut solo in [Solo::new(1, 3), Solo::leading(|builder| builder)] {
                solo.say(2, ballot, body.clone());
                solo.settle();
                let era = solo.status().era;
                assert!(
                    era <= 1 << 62,
                    "{body:?} in {ballot} moves the round to {era}"
                );
                assert!(solo.status().last <= i(9), "{body:?} in {ballot}");
                assert!(solo.status().committed <= i(9), "{body:?} in {ballot}");
                // It still works.
                solo.wait(ms(3000));
                solo.settle();
            }
        }
    }
}

/// Each of these is dropped, and counted.
#[test]
fn implausible_messages_are_counted() {
    let ballot = b(4, 2);
    let run = |first, ballot| votes(first, ballot, &["x", "y"]);
    let pages = [
        (
            "out of order",
            page(0, 0, 9, &[run(5, ballot), run(1, ballot)]),
        ),
        (
            "overlapping",
            page(0, 0, 9, &[run(1, ballot), run(2, ballot)]),
        ),
        ("before the page", page(3, 0, 9, &[run(3, ballot)])),
        ("an empty run", page(0, 0, 9, &[votes(1, ballot, &[])])),
        ("of a later ballot", page(0, 0, 9, &[run(1, b(6, 2))])),
        (
            "behind the page",
            Page {
                through: i(1),
                ..page(0, 0, 9, &[run(1, ballot)])
            },
        ),
    ];
    let pages = pages
        .into_iter()
        .flat_map(|(why, page)| [(why, promise(page.clone())), (why, Body::Page(page))]);
    let others = [
        (
            "another ballot's entries",
            accept(votes(1, b(2, 2), &["x"]), 0, 1),
        ),
        (
            "of nobody's ballot",
            accept(votes(1, b(4, 3), &["x"]), 0, 1),
        ),
        (
            "a far slot",
            Body::Prepare {
                after: i((1 << 62) + 1),
            },
        ),
    ];
    for (why, body) in pages.chain(others) {
        let mut solo = Solo::new(1, 3);
        let before = solo.status();
        solo.say(2, ballot, body.clone());
        solo.settle();
        let after = solo.status();
        assert_eq!(
            after.dropped_messages,
            before.dropped_messages + 1,
            "{why}: {body:?}"
        );
        assert_eq!((after.era, after.last), (before.era, before.last), "{why}");
    }
}

/// What is not for this node, not on this link, or of nobody it is linked with, does not count.
#[test]
fn messages_of_other_links_are_dropped() {
    let mut solo = Solo::new(1, 3);
    let before = solo.status().dropped_messages;
    let ballot = b(2, 2);
    let message = synod_paxos::log::Message {
        generation: Generation(2),
        ballot,
        epoch: synod_paxos::log::Epoch(0),
        body: Body::Prepare { after: i(0) },
    };
    for (from, to, link) in [(2, 1, 7), (2, 3, 1), (77, 1, 1)] {
        let envelope = synod_core::Envelope {
            from: n(from),
            to: n(to),
            link: synod_core::LinkId(link),
            message: message.clone(),
        };
        synod_core::Machine::step(&mut solo.log, solo.now, envelope);
    }
    solo.settle();
    assert_eq!(solo.status().dropped_messages, before + 3);
    assert_eq!(solo.status().era, 0);
    // A ballot is its proposer's to speak of, and a voter's.
    solo.say(3, ballot, Body::Prepare { after: i(0) });
    solo.say(9, b(2, 9), Body::Prepare { after: i(0) });
    solo.say(3, ballot, accept(votes(1, ballot, &["x"]), 0, 1));
    solo.settle();
    assert_eq!(solo.status().era, 0);
    assert_eq!(solo.status().last, i(0));
}

/// A leader is told of more than it has sent: nonsense.
#[test]
fn nobody_holds_what_was_not_sent() {
    let mut solo = Solo::leading(|builder| builder);
    let ballot = solo.ballot();
    solo.propose("a");
    solo.settle();
    let before = solo.status().dropped_messages;
    for body in [accepted(2, &[]), accepted(0, &[(3, 4)])] {
        solo.say(2, ballot, body);
    }
    let early = Body::Accepted {
        held: Cover::up_to(i(1)),
        round: Round(5),
    };
    solo.say(2, ballot, early);
    assert_eq!(solo.status().dropped_messages, before + 3);
    assert_eq!(solo.status().committed, i(0));
}

/// A configuration in the log that cannot be read stops the node: going on would be guessing.
#[test]
fn a_configuration_that_cannot_be_read_stops_the_node() {
    let mut solo = Solo::new(1, 3);
    let ballot = b(2, 2);
    let entry = synod_core::Entry {
        kind: synod_core::EntryKind::Config,
        payload: "nonsense".into(),
    };
    solo.say(
        2,
        ballot,
        accept(Entries::new(i(1), ballot.stamp(), [entry]), 1, 1),
    );
    solo.settle();
    assert_eq!(
        solo.stopped(),
        Some("configurations in the log are readable")
    );
}

/// A single voter that leads, with this configuration found in phase 1 and not yet written.
fn leads_with(payload: Bytes) -> Solo {
    let mut solo = Solo::new(1, 1);
    let ballot = b(2, 2);
    let entry = synod_core::Entry {
        kind: synod_core::EntryKind::Config,
        payload,
    };
    let entries = Entries::new(i(1), ballot.stamp(), [entry]);
    solo.say(2, ballot, accept(entries, 0, 1));
    solo.settle();
    for _ in 0..9 {
        solo.wake();
        if !solo.writing.is_empty() {
            break;
        }
    }
    // Its promise is durable, and it leads.
    solo.sync_one();
    assert_eq!(solo.status().role, synod_core::Role::Leader);
    solo
}

/// A configuration with other voters than this node's, but of the same epoch, as no leader of ours
/// proposes: nobody can tell any more who votes.
#[test]
fn other_voters_of_the_same_epoch_stop_a_node() {
    let mut solo = leads_with(some_config());
    solo.propose("x").unwrap();
    solo.settle();
    assert_eq!(solo.stopped(), Some("voters change one epoch at a time"));
}

/// A stop-sign that was found in phase 1: nothing is taken on behind it, and what follows is for the
/// voters that it names.
#[test]
fn a_stop_sign_that_was_found_ends_the_ballot() {
    let mut solo = leads_with(super::codec::next_config());
    assert_eq!(solo.propose("x"), None, "nothing behind it");
    let old = solo.ballot();
    solo.settle();
    let status = solo.status();
    assert_eq!(status.voters, [n(1), n(2), n(3)]);
    assert_eq!(status.role, synod_core::Role::Candidate, "it needs two now");
    assert!(solo.ballot() > old);
    assert_eq!(status.committed, i(1));
    let none = promise(page(1, 1, 1, &[]));
    solo.say(3, solo.ballot(), none.clone());
    assert_eq!(
        solo.status().role,
        synod_core::Role::Candidate,
        "of an epoch that is over"
    );
    solo.say_in(1, 3, solo.ballot(), none);
    solo.settle();
    assert_eq!(solo.status().role, synod_core::Role::Leader);
    solo.propose("x").unwrap();
    solo.settle();
    solo.say(3, solo.ballot(), accepted(2, &[]));
    assert_eq!(solo.status().committed, i(1));
    solo.say_in(1, 3, solo.ballot(), accepted(2, &[]));
    assert_eq!(solo.status().committed, i(2));
}

#[derive(Clone, Debug)]
enum Start {
    Fresh,
    Candidate,
    Leader,
    Behind,
    Open,
    Opened,
}

fn start(how: &Start, small: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Solo {
    match how {
        Start::Fresh => Solo::with(1, 3, small),
        Start::Candidate => {
            let mut solo = Solo::with(1, 3, small);
            solo.stand(&[2, 3]);
            solo
        }
        Start::Leader => Solo::leading(small),
        Start::Behind => {
            let mut solo = Solo::with(1, 3, small);
            solo.say(2, b(2, 2), accept(votes(6, b(2, 2), &["x", "y"]), 5, 6));
            solo.settle();
            solo
        }
        Start::Open => {
            let mut solo = Solo::with(1, 3, |builder| small(builder).fast_rounds());
            let mut opening = accept(votes(1, b(2, 2), &["x"]), 0, 1);
            if let Body::Accept(accept) = &mut opening {
                accept.fast = Some(i(2));
            }
            solo.say(2, b(2, 2), opening);
            solo.settle();
            solo
        }
        Start::Opened => {
            let mut solo = Solo::leading(|builder| small(builder).fast_rounds());
            for peer in [2, 3] {
                solo.say(peer, solo.ballot(), accepted(0, &[]));
            }
            solo.settle();
            solo
        }
    }
}

/// An offer in the leadership that the machine is in.
fn offered(solo: &Solo, body: Body) -> (Ballot, Body) {
    let status = solo.status();
    let ballot = Ballot {
        round: status.era,
        proposer: status.leader.unwrap_or(status.node),
    };
    let body = match body {
        Body::Offer(entries) => {
            let (number, node) = (ballot.round | 1, ballot.proposer.0);
            let same = entries.as_slice().iter().cloned();
            Body::Offer(Entries::new(entries.first(), Stamp { number, node }, same))
        }
        other => other,
    };
    (ballot, body)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    /// Whatever peers say, in any order, no machine panics, and each keeps its invariants.
    #[test]
    fn nonsense_of_peers_breaks_no_machine(
        said in prop::collection::vec((2_u64..=4, any::<bool>(), ballot(), any_body(), 0_u8..48), 0..60),
        how in prop_oneof![
            Just(Start::Fresh), Just(Start::Candidate), Just(Start::Leader), Just(Start::Behind),
            Just(Start::Open), Just(Start::Opened)
        ],
    ) {
        let small = |b: ConfigBuilder| b
            .max_log_bytes(200)
            .max_accept_bytes(60)
            .snapshot_chunk_bytes(4)
            .retained_entries(1)
            .learners([n(4)]);
        let mut solo = start(&how, small);
        for (from, own, mut ballot, mut body, then) in said {
            // In the ballot that the machine is in, or a proposer's own, often enough.
            if own {
                ballot = match &body {
                    Body::Accept(accept) if !accept.entries.is_empty() => accept.entries.stamp().into(),
                    Body::Prepare { .. } => Ballot { proposer: NodeId(from), ..ballot },
                    _ => solo.ballot(),
                };
            }
            if own && matches!(body, Body::Offer(_) | Body::Voted(_)) {
                (ballot, body) = offered(&solo, body);
            }
            let from = if own && ballot.proposer.0 > 1 && matches!(body, Body::Accept(_)) {
                ballot.proposer.0
            } else {
                from
            };
            // Mostly of this epoch.
            let epoch = u64::from(then >= 36);
            solo.say_in(epoch, from, ballot, body);
            match then % 12 {
                0 => solo.wait(ms(60)),
                1 => solo.wake(),
                2 => drop(solo.propose("command")),
                3 => solo.load(),
                4 => drop(solo.log.read(solo.now, ReadLevel::Linearizable)),
                5 | 6 => solo.settle(),
                7 => {
                    let chosen = solo.status().committed;
                    if let Some(meta) = solo.log.describe(chosen) {
                        solo.settle();
                        solo.snapshot(meta);
                    }
                }
                8 => drop(solo.log.transfer(solo.now, NodeId(2))),
                _ => {}
            }
            solo.log.check();
        }
        solo.settle();
        solo.load();
        // What is on disk is a start for the next life.
        if solo.stopped().is_none() {
            drop(solo.restarted(3));
        }
    }
}
