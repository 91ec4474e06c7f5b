//! The bytes of format version 1, written down: a change here is a change of the format.

use bytes::Bytes;
use synod_core::{
    Decode, Encode, Entries, Entry, Generation, LogIndex, LogRecord, Machine, Output, SnapshotId,
    SnapshotMeta, Stamp, Ticket,
};
use synod_raft::{Append, Body, Config, Denial, Message, Outcome, Piece, Raft, Round, Term};

use crate::cluster::n;
use crate::solo::{appended, at, vote, voted};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of eight bytes, the lowest first.
fn u(value: u8) -> String {
    format!("{value:02x}00000000000000")
}

fn bodies() -> Vec<(Body, String)> {
    let (life, first, ticket) = (5, Ticket(6), Ticket(6));
    let id = SnapshotId {
        origin: Generation(7),
        index: LogIndex(8),
    };
    let meta = SnapshotMeta {
        id,
        stamp: Stamp::of(2),
        config: Bytes::from_static(b"c"),
        size: 3,
    };
    let proposed = |outcome| Body::Proposed {
        life,
        first,
        count: 2,
        outcome,
    };
    let read_at = |index| Body::ReadAt {
        life,
        ticket,
        index,
    };
    let entries = [Entry::blank(), Entry::command("x".into())];
    let head = format!("09{}{}02000000", u(5), u(6));
    let answer = format!("0b{}{}", u(5), u(6));
    vec![
        (vote(true, at(4, 3)), format!("0101{}{}", u(3), u(4))),
        (vote(false, at(4, 3)), format!("0100{}{}", u(3), u(4))),
        (voted(true, 3, false), format!("0201{}00", u(3))),
        (
            Body::Append(Append {
                before: Term(1),
                entries: Entries::new(LogIndex(4), Stamp::of(2), entries),
                commit: LogIndex(3),
                round: Round(9),
            }),
            format!(
                "03{}{}{}{}0200000001000000000001000000{}",
                u(1),
                u(4),
                u(2),
                u(0),
                format_args!("78{}{}", u(3), u(9))
            ),
        ),
        (appended(4, 9), format!("04{}{}", u(4), u(9))),
        (
            Body::Conflict {
                asked: LogIndex(4),
                hint: at(2, 1),
                round: Round(9),
            },
            format!("05{}{}{}{}", u(4), u(1), u(2), u(9)),
        ),
        (
            Body::Snapshot(Box::new(Piece {
                meta,
                offset: 1,
                chunk: Bytes::from_static(b"yz"),
                round: Round(9),
            })),
            format!(
                "06{}{}{}{}0100000063{}{}02000000797a{}",
                u(7),
                u(8),
                u(2),
                u(0),
                u(3),
                u(1),
                u(9)
            ),
        ),
        (
            Body::SnapshotGot {
                id,
                offset: 3,
                round: Round(9),
            },
            format!("07{}{}{}{}", u(7), u(8), u(3), u(9)),
        ),
        (
            Body::Propose {
                life,
                first,
                commands: vec!["x".into(), "".into()],
            },
            format!("08{}{}02000000010000007800000000", u(5), u(6)),
        ),
        (
            proposed(Outcome::Accepted(LogIndex(4))),
            format!("{head}01{}", u(4)),
        ),
        (
            proposed(Outcome::Refused(Denial::NotLeader)),
            format!("{head}0201"),
        ),
        (
            proposed(Outcome::Refused(Denial::Busy { limit: 9 })),
            format!("{head}020209000000"),
        ),
        (
            proposed(Outcome::Refused(Denial::TooLarge { len: 10, limit: 9 })),
            format!("{head}02030a00000009000000"),
        ),
        (proposed(Outcome::Unknown), format!("{head}03")),
        (Body::Read { life, ticket }, format!("0a{}{}", u(5), u(6))),
        (read_at(Ok(LogIndex(4))), format!("{answer}01{}00", u(4))),
        (read_at(Err(Denial::NotLeader)), format!("{answer}000101")),
        (
            Body::Stranger {
                known: Generation(7),
            },
            format!("0c{}", u(7)),
        ),
    ]
}

#[test]
fn every_message_has_these_bytes() {
    for (body, expected) in bodies() {
        let message = Message {
            generation: Generation(1),
            term: Term(2),
            body,
        };
        let bytes = message.to_bytes();
        assert_eq!(
            hex(&bytes),
            format!("{}{}{expected}", u(1), u(2)),
            "{message:?}"
        );
        assert_eq!(Message::decode_all(bytes), Ok(message));
    }
}

/// The first record of a node that founds a cluster of three with a learner.
fn state() -> Bytes {
    let config = Config::builder(n(1))
        .voters([n(1), n(2), n(3)])
        .learners([n(4)])
        .seed(42);
    let config = config.build().unwrap();
    let empty = synod_core::LogImage::new().restored(0);
    let mut raft = Raft::new(config, empty, synod_core::Instant::START).unwrap();
    while let Some(output) = raft.poll() {
        if let Output::Persist(_, records) = output
            && let Some(LogRecord::State(state)) = records.into_iter().next()
        {
            return state;
        }
    }
    panic!("a fresh node writes its state");
}

#[test]
fn the_state_and_the_membership_have_these_bytes() {
    let state = state();
    // Version, node, generation (from the seed), term, no vote, no peers known, the founding
    // configuration: version, quorums, learners.
    assert_eq!(hex(&state), STATE);
    let mut found = state.slice(1 + 8 + 8 + 8 + 1 + 4..);
    let membership = synod_raft::Membership::decode(&mut found).unwrap();
    assert!(found.is_empty());
    assert_eq!(
        (membership.voters(), membership.learners()),
        (&[n(1), n(2), n(3)][..], &[n(4)][..])
    );
    assert_eq!(Encode::to_bytes(&membership), state.slice(30..));
}

const STATE: &str = "\
    010100000000000000e1c00cfd9b40d7c1000000000000000000000000000101\
    0b0000000109010301010101000207010000000400000000000000";

#[test]
fn another_version_of_the_state_is_refused_by_name() {
    let mut bytes = state().to_vec();
    bytes[0] = 2;
    let mut restored = synod_core::LogImage::new().restored(0);
    restored.state = Some(bytes.into());
    let config = Config::builder(n(1)).voters([n(1)]).build().unwrap();
    let error = Raft::new(config, restored, synod_core::Instant::START).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stored state of the raft node cannot be read: raft state has format version 2, this build reads 1"
    );
}
