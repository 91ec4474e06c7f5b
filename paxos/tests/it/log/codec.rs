//! Bytes of peers: everything round-trips, nothing else is let in.

use bytes::Bytes;
use proptest::prelude::*;
use synod_core::{
    Decode, Denial, Encode, Entries, Entry, EntryKind, Generation, LogIndex, NodeId, Outcome,
    Round, SnapshotId, SnapshotMeta, Stamp, Ticket,
};
use synod_paxos::Ballot;
use synod_paxos::log::{Accept, Body, Cover, Epoch, Membership, Message, Name, Page, Piece, Votes};

fn small() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..8, 1 => any::<u64>()]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

pub(crate) fn ballot() -> impl Strategy<Value = Ballot> {
    let round = prop_oneof![8 => 0_u64..8, 1 => 0..=Ballot::LAST_ROUND];
    (round, 1_u64..5).prop_map(|(round, proposer)| Ballot {
        round,
        proposer: NodeId(proposer),
    })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        8 => ballot().prop_map(Ballot::stamp),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(number, node)| Stamp { number, node }),
    ]
}

fn entries_from(first: u64) -> impl Strategy<Value = Entries> {
    let kind = prop_oneof![
        8 => Just(EntryKind::Command),
        2 => Just(EntryKind::Blank),
        1 => Just(EntryKind::Config),
        1 => Just(EntryKind::Named),
    ];
    let wild = (kind, bytes()).prop_map(|(kind, payload)| Entry { kind, payload });
    let config = prop_oneof![Just(some_config()), Just(next_config())];
    let config = config.prop_map(|payload| Entry {
        kind: EntryKind::Config,
        payload,
    });
    let entry = prop_oneof![9 => wild, 1 => config];
    (stamp(), prop::collection::vec(entry, 0..5))
        .prop_map(move |(stamp, entries)| Entries::new(LogIndex(first), stamp, entries))
}

fn entries() -> impl Strategy<Value = Entries> {
    let first = prop_oneof![8 => 1_u64..8, 1 => 1..u64::MAX - 9];
    first.prop_flat_map(entries_from)
}

fn index() -> impl Strategy<Value = LogIndex> {
    small().prop_map(LogIndex)
}

/// Pages as peers send them half of the time: runs in order behind the first slot.
fn page() -> impl Strategy<Value = Page> {
    let wild = (
        index(),
        index(),
        prop::collection::vec(entries(), 0..3),
        index(),
        index(),
    );
    let wild = wild.prop_map(|(after, through, runs, chosen, last)| Page {
        after,
        through,
        runs,
        chosen,
        last,
    });
    let tame = (0_u64..4, entries_from(1), 0_u64..8, 0_u64..8);
    let tame = tame.prop_map(|(after, run, chosen, more)| {
        let run = Entries::new(
            LogIndex(after + 1),
            run.stamp(),
            run.as_slice().iter().cloned(),
        );
        let through = run.last().max(LogIndex(after));
        Page {
            after: LogIndex(after),
            through,
            runs: if run.is_empty() {
                Vec::new()
            } else {
                vec![run]
            },
            chosen: LogIndex(chosen),
            last: LogIndex(through.0 + more % 3),
        }
    });
    prop_oneof![wild, tame]
}

fn cover() -> impl Strategy<Value = Cover> {
    let steps = prop::collection::vec((2_u64..4, 0_u64..3), 0..4);
    (small(), steps).prop_map(|(through, steps)| {
        let mut cover = Cover::up_to(LogIndex(through));
        let mut end = through;
        for (gap, more) in steps {
            let Some(first) = end.checked_add(gap) else {
                break;
            };
            let Some(last) = first.checked_add(more).filter(|last| *last < u64::MAX - 9) else {
                break;
            };
            cover.add(LogIndex(first), LogIndex(last));
            end = last;
        }
        cover
    })
}

fn denial() -> impl Strategy<Value = Denial> {
    prop_oneof![
        Just(Denial::NotLeader),
        any::<u32>().prop_map(|limit| Denial::Busy { limit }),
        (any::<u32>(), any::<u32>()).prop_map(|(len, limit)| Denial::TooLarge { len, limit }),
        any::<u64>().prop_map(|index| Denial::ChangeUnderWay(LogIndex(index))),
    ]
}

fn snapshot_id() -> impl Strategy<Value = SnapshotId> {
    (0_u64..3, small()).prop_map(|(origin, index)| SnapshotId {
        origin: Generation(origin),
        index: LogIndex(index),
    })
}

fn meta() -> impl Strategy<Value = SnapshotMeta> {
    // A configuration that is one, often enough.
    let config = prop_oneof![bytes(), Just(some_config()), Just(next_config())];
    (snapshot_id(), stamp(), config, small()).prop_map(|(id, stamp, config, size)| SnapshotMeta {
        id,
        stamp,
        config,
        size,
    })
}

/// The configuration of voters 1 to 3.
pub(crate) fn some_config() -> Bytes {
    const BYTES: &[u8] = &[
        1, 1, 9, 0, 0, 0, 1, 3, 1, 1, 1, 1, 0, 2, 7, 9, 0, 0, 0, 1, 3, 1, 1, 1, 1, 0, 2, 7, 0, 0,
        0, 0, 0,
    ];
    Bytes::from_static(BYTES)
}

/// As [`some_config`], of the first change of voters.
pub(crate) fn next_config() -> Bytes {
    let founding = some_config();
    [&[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &founding[1..]]
        .concat()
        .into()
}

#[test]
fn a_later_configuration_names_its_epoch() {
    let next = Membership::decode_all(next_config()).unwrap();
    assert_eq!(next.epoch(), Epoch(1));
    assert_eq!(next.to_bytes(), next_config());
    for epoch in [0_u64, 1 << 62] {
        let bytes = [&[2], &epoch.to_le_bytes()[..], &[0; 4], &some_config()[1..]].concat();
        let error = Membership::decode_all(bytes.into()).unwrap_err();
        assert_eq!(error.to_string(), "membership: has an epoch that is none");
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        index().prop_map(Outcome::Accepted),
        denial().prop_map(Outcome::Refused),
        Just(Outcome::Unknown),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    small().prop_map(Round)
}

/// Any message that the format can carry; mostly with small numbers, so that they meet.
pub(crate) fn any_body() -> impl Strategy<Value = Body> {
    let read_at = prop_oneof![index().prop_map(Ok), denial().prop_map(Err)];
    let staged = prop::option::of((snapshot_id(), small()));
    prop_oneof![
        round().prop_map(|round| Body::Ask { round }),
        (round(), ballot(), ballot(), any::<bool>(), any::<u32>()).prop_map(
            |(round, stands, follows, content, priority)| {
                Body::Beat {
                    round,
                    stands,
                    follows,
                    content,
                    priority,
                }
            }
        ),
        Just(Body::TakeOver),
        index().prop_map(|after| Body::Prepare { after }),
        page().prop_map(Body::Promise),
        Just(Body::Nack),
        (
            entries(),
            index(),
            index(),
            round(),
            prop::option::of(index())
        )
            .prop_map(|(entries, chosen, pushed, round, fast)| {
                Body::Accept(Accept {
                    entries,
                    chosen,
                    pushed,
                    round,
                    fast,
                })
            }),
        offer().prop_map(Body::Offer),
        prop::collection::vec(votes(), 0..4).prop_map(Body::Voted),
        (cover(), round()).prop_map(|(held, round)| Body::Accepted { held, round }),
        (index(), prop::option::of(index()), any::<bool>(), staged).prop_map(
            |(after, through, votes, staged)| Body::Fetch {
                after,
                through,
                votes,
                staged,
            }
        ),
        page().prop_map(Body::Page),
        (meta(), small(), bytes()).prop_map(|(meta, offset, chunk)| {
            Body::Piece(Box::new(Piece {
                meta,
                offset,
                chunk,
            }))
        }),
        (small(), small(), prop::collection::vec(bytes(), 0..4)).prop_map(
            |(life, first, commands)| Body::Propose {
                life,
                first: Ticket(first),
                commands,
            }
        ),
        (small(), small(), any::<u32>(), outcome()).prop_map(|(life, first, count, outcome)| {
            Body::Proposed {
                life,
                first: Ticket(first),
                count,
                outcome,
            }
        }),
        (small(), small()).prop_map(|(life, ticket)| Body::Read {
            life,
            ticket: Ticket(ticket),
        }),
        (small(), small(), read_at).prop_map(|(life, ticket, index)| Body::ReadAt {
            life,
            ticket: Ticket(ticket),
            index,
        }),
        small().prop_map(|known| Body::Stranger {
            known: Generation(known),
        }),
        quorum_read(),
    ]
}

/// What is said about reads and leases.
fn quorum_read() -> impl Strategy<Value = Body> {
    prop_oneof![
        (small(), round()).prop_map(|(life, round)| Body::QuorumRead { life, round }),
        (small(), round(), index(), index()).prop_map(|(life, round, last, chosen)| {
            Body::QuorumReadAt {
                life,
                round,
                last,
                chosen,
            }
        }),
        index().prop_map(|through| Body::Fill { through }),
        (round(), small()).prop_map(|(round, nanos)| Body::Lease { round, nanos }),
        (round(), small()).prop_map(|(round, nanos)| Body::Granted { round, nanos }),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    (small(), small()).prop_map(|(life, number)| Name { life, number })
}

fn votes() -> impl Strategy<Value = Votes> {
    let count = prop_oneof![8 => 0_u32..5, 1 => any::<u32>()];
    (index(), count, name()).prop_map(|(first, count, name)| Votes { first, count, name })
}

/// Offers as peers send them half of the time: every entry has a name, the ballot is fast.
fn offer() -> impl Strategy<Value = Entries> {
    let one = (name(), any::<bool>()).prop_map(|(name, blank)| {
        if blank {
            return Entry::blank();
        }
        let mut payload = b"x".to_vec();
        payload.extend_from_slice(&name.to_bytes());
        Entry {
            kind: EntryKind::Named,
            payload: payload.into(),
        }
    });
    let tame = (
        1_u64..8,
        0_u64..4,
        1_u64..5,
        prop::collection::vec(one, 1..4),
    );
    let tame = tame.prop_map(|(first, round, node, entries)| {
        let number = 2 * round + 1;
        Entries::new(LogIndex(first), Stamp { number, node }, entries)
    });
    prop_oneof![entries(), tame]
}

fn message() -> impl Strategy<Value = Message> {
    let header = (any::<u64>(), ballot(), any::<u64>());
    (header, any_body()).prop_map(|((generation, ballot, epoch), body)| Message {
        generation: Generation(generation),
        ballot,
        epoch: Epoch(epoch),
        body,
    })
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(message in message()) {
        prop_assert_eq!(Message::decode_all(message.to_bytes()), Ok(message));
    }

    #[test]
    fn bytes_are_a_message_or_a_typed_error(input in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::decode_all(input.clone().into()) {
            prop_assert_eq!(message.to_bytes(), input, "a message has one encoding");
        }
    }

    #[test]
    fn a_damaged_message_is_another_one_or_an_error(
        message in message(), place in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut input = message.to_bytes().to_vec();
        let place = place.index(input.len());
        if cut {
            input.truncate(place);
            prop_assert!(Message::decode_all(input.into()).is_err());
        } else {
            input[place] = value;
            if let Ok(other) = Message::decode_all(input.clone().into()) {
                prop_assert_eq!(other.to_bytes(), input);
            }
        }
    }

    #[test]
    fn bytes_are_a_membership_or_a_typed_error(input in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(membership) = Membership::decode_all(input.clone().into()) {
            prop_assert_eq!(membership.to_bytes(), input, "a membership has one encoding");
        }
    }

    #[test]
    fn a_damaged_membership_is_another_one_or_an_error(
        place in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let mut input = some_config().to_vec();
        let place = place.index(input.len());
        input[place] = value;
        if let Ok(membership) = Membership::decode_all(input.clone().into()) {
            prop_assert_eq!(membership.to_bytes(), input);
        }
    }
}

#[test]
fn the_configuration_that_is_sent_is_one() {
    let membership = Membership::decode_all(some_config()).unwrap();
    assert_eq!(membership.voters(), [NodeId(1), NodeId(2), NodeId(3)]);
}

/// Rounds above what any cluster reaches are no ballots.
#[test]
fn a_ballot_has_a_highest_round() {
    let message = |round| Message {
        generation: Generation(1),
        ballot: Ballot {
            round,
            proposer: NodeId(1),
        },
        epoch: Epoch(0),
        body: Body::Nack,
    };
    let there = |round| Message::decode_all(message(round).to_bytes());
    assert_eq!(there(Ballot::LAST_ROUND), Ok(message(Ballot::LAST_ROUND)));
    let error = there(Ballot::LAST_ROUND + 1).unwrap_err();
    assert_eq!(error.to_string(), "ballot: has a round above 2^62");
}
