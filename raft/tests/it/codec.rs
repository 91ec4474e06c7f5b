//! Bytes of peers: everything round-trips, nothing else is let in.

use bytes::Bytes;
use proptest::prelude::*;
use synod_core::{
    Decode, Encode, Entries, Entry, EntryKind, Generation, LogIndex, SnapshotId, SnapshotMeta,
    Stamp, Ticket,
};
use synod_raft::{
    Append, Body, Denial, Membership, Message, Outcome, Piece, Position, Round, Term,
};

fn small() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..8, 1 => any::<u64>()]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn position() -> impl Strategy<Value = Position> {
    (small(), small()).prop_map(|(term, index)| Position {
        term: Term(term),
        index: LogIndex(index),
    })
}

fn entries() -> impl Strategy<Value = Entries> {
    let kind = prop_oneof![
        8 => Just(EntryKind::Command),
        2 => Just(EntryKind::Blank),
        1 => Just(EntryKind::Config),
    ];
    let entry = (kind, bytes()).prop_map(|(kind, payload)| Entry { kind, payload });
    let first = prop_oneof![8 => 1_u64..8, 1 => 1..u64::MAX - 9];
    (first, small(), prop::collection::vec(entry, 0..5)).prop_map(|(first, stamp, entries)| {
        Entries::new(LogIndex(first), Stamp::of(stamp), entries)
    })
}

fn denial() -> impl Strategy<Value = Denial> {
    prop_oneof![
        Just(Denial::NotLeader),
        any::<u32>().prop_map(|limit| Denial::Busy { limit }),
        (any::<u32>(), any::<u32>()).prop_map(|(len, limit)| Denial::TooLarge { len, limit }),
    ]
}

fn meta() -> impl Strategy<Value = SnapshotMeta> {
    (0_u64..3, small(), small(), bytes(), small()).prop_map(
        |(origin, index, stamp, config, size)| SnapshotMeta {
            id: SnapshotId {
                origin: Generation(origin),
                index: LogIndex(index),
            },
            stamp: Stamp::of(stamp),
            config,
            size,
        },
    )
}

/// Any message that the format can carry; mostly with small numbers, so that they meet.
pub(crate) fn any_body() -> impl Strategy<Value = Body> {
    let outcome = prop_oneof![
        small().prop_map(|index| Outcome::Accepted(LogIndex(index))),
        denial().prop_map(Outcome::Refused),
        Just(Outcome::Unknown),
    ];
    let index = prop_oneof![
        small().prop_map(|index| Ok(LogIndex(index))),
        denial().prop_map(Err),
    ];
    prop_oneof![
        (any::<bool>(), position()).prop_map(|(pre, last)| Body::Vote { pre, last }),
        (any::<bool>(), small(), any::<bool>()).prop_map(|(pre, candidacy, granted)| Body::Voted {
            pre,
            candidacy: Term(candidacy),
            granted,
        }),
        (small(), entries(), small(), small()).prop_map(|(before, entries, commit, round)| {
            Body::Append(Append {
                before: Term(before),
                entries,
                commit: LogIndex(commit),
                round: Round(round),
            })
        }),
        (small(), small()).prop_map(|(matched, round)| Body::Appended {
            matched: LogIndex(matched),
            round: Round(round),
        }),
        (small(), position(), small()).prop_map(|(asked, hint, round)| Body::Conflict {
            asked: LogIndex(asked),
            hint,
            round: Round(round),
        }),
        (meta(), small(), bytes(), small()).prop_map(|(meta, offset, chunk, round)| {
            Body::Snapshot(Box::new(Piece {
                meta,
                offset,
                chunk,
                round: Round(round),
            }))
        }),
        (meta(), small(), small()).prop_map(|(meta, offset, round)| Body::SnapshotGot {
            id: meta.id,
            offset,
            round: Round(round),
        }),
        (small(), small(), prop::collection::vec(bytes(), 0..4)).prop_map(
            |(life, first, commands)| Body::Propose {
                life,
                first: Ticket(first),
                commands,
            }
        ),
        (small(), small(), any::<u32>(), outcome).prop_map(|(life, first, count, outcome)| {
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
        (small(), small(), index).prop_map(|(life, ticket, index)| Body::ReadAt {
            life,
            ticket: Ticket(ticket),
            index,
        }),
        small().prop_map(|known| Body::Stranger {
            known: Generation(known),
        }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    (any::<u64>(), any::<u64>(), any_body()).prop_map(|(generation, term, body)| Message {
        generation: Generation(generation),
        term: Term(term),
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
    fn bytes_are_a_membership_or_a_typed_error(input in prop::collection::vec(any::<u8>(), 0..60)) {
        drop(Membership::decode_all(input.into()));
    }
}
