//! The bytes of format version 1, written down: a change here is a change of the format.

use bytes::Bytes;
use synod_core::{
    Decode, Denial, Encode, Entries, Entry, EntryKind, Generation, LogIndex, LogRecord, Machine,
    Outcome, Output, Round, SnapshotId, SnapshotMeta, Stamp, Ticket,
};
use synod_paxos::log::{
    Accept, Body, Config, Cover, Epoch, Message, MultiPaxos, Name, Page, Piece, Votes,
};

use super::cluster::{i, n};
use super::solo::b;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of eight bytes, the lowest first.
fn u(value: u8) -> String {
    format!("{value:02x}00000000000000")
}

/// A slot with a blank, and one with a command.
const TWO: &str = "0200000001000000000001000000";

fn entries() -> Entries {
    let entries = [Entry::blank(), Entry::command("x".into())];
    Entries::new(i(4), Stamp { number: 2, node: 3 }, entries)
}

fn page() -> Page {
    Page {
        after: i(3),
        through: i(6),
        runs: vec![entries()],
        chosen: i(2),
        last: i(7),
    }
}

/// The bytes of [`page`].
fn page_bytes() -> String {
    let run = format!("{}{}{}{TWO}78", u(4), u(2), u(3));
    format!("{}{}01000000{run}{}{}", u(3), u(6), u(2), u(7))
}

fn answers() -> Vec<(Body, String)> {
    let (life, first, ticket) = (5, Ticket(6), Ticket(6));
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
    let head = format!("0d{}{}02000000", u(5), u(6));
    let answer = format!("0f{}{}", u(5), u(6));
    vec![
        (
            Body::Propose {
                life,
                first,
                commands: vec!["x".into(), "".into()],
            },
            format!("0c{}{}02000000010000007800000000", u(5), u(6)),
        ),
        (
            proposed(Outcome::Accepted(i(4))),
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
        (
            proposed(Outcome::Refused(Denial::ChangeUnderWay(i(9)))),
            format!("{head}0204{}", u(9)),
        ),
        (proposed(Outcome::Unknown), format!("{head}03")),
        (Body::Read { life, ticket }, format!("0e{}{}", u(5), u(6))),
        (read_at(Ok(i(4))), format!("{answer}01{}", u(4))),
        (read_at(Err(Denial::NotLeader)), format!("{answer}0001")),
        (
            Body::Stranger {
                known: Generation(7),
            },
            format!("10{}", u(7)),
        ),
        (
            Body::QuorumRead {
                life,
                round: Round(6),
            },
            format!("11{}{}", u(5), u(6)),
        ),
        (
            Body::QuorumReadAt {
                life,
                round: Round(6),
                last: i(9),
                chosen: i(4),
            },
            format!("12{}{}{}{}", u(5), u(6), u(9), u(4)),
        ),
        (Body::Fill { through: i(9) }, format!("13{}", u(9))),
        (
            Body::Lease {
                round: Round(6),
                nanos: 9,
            },
            format!("14{}{}", u(6), u(9)),
        ),
        (
            Body::Granted {
                round: Round(6),
                nanos: 8,
            },
            format!("15{}{}", u(6), u(8)),
        ),
    ]
}

fn bodies() -> Vec<(Body, String)> {
    let id = SnapshotId {
        origin: Generation(7),
        index: LogIndex(8),
    };
    let meta = SnapshotMeta {
        id,
        stamp: Stamp { number: 2, node: 3 },
        config: Bytes::from_static(b"c"),
        size: 3,
    };
    let mut held = Cover::up_to(i(4));
    held.add(i(6), i(7));
    held.add(i(9), i(9));
    let fetch = |votes: bool, staged| Body::Fetch {
        after: i(3),
        through: votes.then_some(i(9)),
        votes,
        staged,
    };
    let beat = Body::Beat {
        round: Round(9),
        stands: b(2, 3),
        follows: b(4, 1),
        content: true,
        priority: 7,
    };
    let accept = |entries| {
        Body::Accept(Accept {
            entries,
            chosen: i(3),
            pushed: i(2),
            round: Round(9),
            fast: None,
        })
    };
    let piece = Body::Piece(Box::new(Piece {
        meta,
        offset: 1,
        chunk: Bytes::from_static(b"yz"),
    }));
    let mut all = vec![
        (Body::Ask { round: Round(9) }, format!("01{}", u(9))),
        (
            beat,
            format!("02{}{}{}{}{}0107000000", u(9), u(2), u(3), u(4), u(1)),
        ),
        (Body::TakeOver, "03".into()),
        (Body::Prepare { after: i(3) }, format!("04{}", u(3))),
        (Body::Promise(page()), format!("05{}", page_bytes())),
        (Body::Nack, "06".into()),
        (
            accept(entries()),
            format!(
                "07{}{}{}{TWO}78{}{}{}00",
                u(4),
                u(2),
                u(3),
                u(3),
                u(2),
                u(9)
            ),
        ),
        (
            accept(Entries::empty(i(4), Stamp { number: 2, node: 3 })),
            format!(
                "07{}{}{}00000000{}{}{}00",
                u(4),
                u(2),
                u(3),
                u(3),
                u(2),
                u(9)
            ),
        ),
        (
            Body::Accepted {
                held,
                round: Round(5),
            },
            format!("08{}02000000{}{}{}{}{}", u(4), u(6), u(7), u(9), u(9), u(5)),
        ),
        (fetch(true, None), format!("09{}01{}0100", u(3), u(9))),
        (
            fetch(false, Some((id, 5))),
            format!("09{}000001{}{}{}", u(3), u(7), u(8), u(5)),
        ),
        (Body::Page(page()), format!("0a{}", page_bytes())),
        (
            piece,
            format!(
                "0b{}{}{}{}0100000063{}{}02000000797a",
                u(7),
                u(8),
                u(2),
                u(3),
                u(3),
                u(1)
            ),
        ),
    ];
    all.extend(answers());
    all.extend(fast());
    all
}

/// Offers of "x" and of nothing, and votes for them and what follows.
fn fast() -> Vec<(Body, String)> {
    let name = Name { life: 7, number: 8 };
    let named = Entry {
        kind: EntryKind::Named,
        payload: [&b"x"[..], &name.to_bytes()].concat().into(),
    };
    let offer = Entries::new(i(4), Stamp { number: 3, node: 3 }, [named, Entry::blank()]);
    let votes = vec![
        Votes {
            first: i(4),
            count: 2,
            name,
        },
        Votes {
            first: i(7),
            count: 1,
            name: Name::BLANK,
        },
    ];
    vec![
        (
            Body::Offer(offer),
            format!(
                "16{}{}{}02000000031100000078{}{}0100000000",
                u(4),
                u(3),
                u(3),
                u(7),
                u(8)
            ),
        ),
        (
            Body::Voted(votes),
            format!(
                "1702000000{}02000000{}{}{}01000000{}{}",
                u(4),
                u(7),
                u(8),
                u(7),
                u(0),
                u(0)
            ),
        ),
    ]
}

#[test]
fn an_open_region_is_told_in_every_accept() {
    let accept = Body::Accept(Accept {
        entries: Entries::empty(i(4), Stamp { number: 2, node: 3 }),
        chosen: i(3),
        pushed: i(2),
        round: Round(9),
        fast: Some(i(5)),
    });
    let message = Message {
        epoch: Epoch(0),
        generation: Generation(1),
        ballot: b(2, 3),
        body: accept,
    };
    let bytes = message.to_bytes();
    assert!(hex(&bytes).ends_with(&format!("{}01{}", u(9), u(5))));
    assert_eq!(Message::decode_all(bytes), Ok(message));
}

#[test]
fn every_message_has_these_bytes() {
    for (body, expected) in bodies() {
        let message = Message {
            generation: Generation(1),
            ballot: b(2, 3),
            epoch: Epoch(4),
            body,
        };
        let bytes = message.to_bytes();
        let head = format!("{}{}{}{}", u(1), u(2), u(3), u(4));
        assert_eq!(hex(&bytes), format!("{head}{expected}"), "{message:?}");
        assert_eq!(Message::decode_all(bytes), Ok(message));
    }
}

/// Each kind is there: tags 1 to 23, and no other.
#[test]
fn there_are_twenty_three_kinds() {
    let mut tags: Vec<_> = bodies()
        .iter()
        .map(|(_, hex)| hex[..2].to_owned())
        .collect();
    tags.dedup();
    let expected: Vec<_> = (1..=23).map(|tag| format!("{tag:02x}")).collect();
    assert_eq!(tags, expected);
    for tag in [0, 24, 255] {
        let bytes = [&[0; 32][..], &[tag], &[0; 40][..]].concat();
        let error = Message::decode_all(bytes.into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("multi-paxos message has the unknown tag {tag}")
        );
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
    let mut log = MultiPaxos::new(config, empty, synod_core::Instant::START).unwrap();
    while let Some(output) = log.poll() {
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
    assert_eq!(hex(&state), STATE);
    let mut found = state.slice(1 + 8 + 8 + 16 + 8 + 4..);
    let membership = synod_paxos::log::Membership::decode(&mut found).unwrap();
    assert!(found.is_empty());
    assert_eq!(
        (membership.voters(), membership.learners()),
        (&[n(1), n(2), n(3)][..], &[n(4)][..])
    );
    assert_eq!(Encode::to_bytes(&membership), state.slice(45..));
}

/// Version, node, generation (from the seed), promised round and proposer, chosen, no peers known;
/// the founding configuration: version, quorums of phase 1 and 2, no fast ones, learners.
const STATE: &str = "\
    010100000000000000e1c00cfd9b40d7c10000000000000000000000000000000000000000000000000000\
    00000101090000000103010101010002070900000001030101010100020700010000000400000000000000";

#[test]
fn another_version_of_the_state_is_refused_by_name() {
    let mut bytes = state().to_vec();
    bytes[0] = 2;
    let mut restored = synod_core::LogImage::new().restored(0);
    restored.state = Some(bytes.into());
    let config = Config::builder(n(1)).voters([n(1)]).build().unwrap();
    let error = MultiPaxos::new(config, restored, synod_core::Instant::START).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stored state of the multi-paxos node cannot be read: multi-paxos state has format version 2, this build reads 1"
    );
}
