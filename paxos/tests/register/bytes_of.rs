//! Bytes: golden, there and back, and any at all.

use proptest::prelude::*;
use synod_core::{Decode, Encode, Generation, NodeId};
use synod_paxos::register::{
    Accept, Before, Body, Configuration, Held, Key, Message, Nack, Page, Phase, Record, State, Vote,
};

use crate::hand::{Hand, ballot};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn state() -> State {
    State {
        version: ballot(6, 1),
        before: Before::Version(ballot(4, 2)),
        value: Some("ab".into()),
    }
}

fn vote() -> Vote {
    Vote {
        ballot: ballot(8, 1),
        epoch: 3,
        state: state(),
    }
}

fn configuration() -> Box<Configuration> {
    Box::new(Configuration::majority([1, 2, 3].map(NodeId)).unwrap())
}

fn bodies() -> Vec<Body> {
    let (key, ballot) = (Key::Data("k".into()), ballot(10, 1));
    vec![
        Body::Prepare {
            key: key.clone(),
            ballot,
            asked: 7,
        },
        Body::Promised {
            key: key.clone(),
            ballot,
            asked: 7,
            held: Held::Vote(vote()),
        },
        Body::Promised {
            key: Key::Configuration,
            ballot,
            asked: 0,
            held: Held::Nothing(ballot),
        },
        Body::Accept(Box::new(Accept {
            key: key.clone(),
            ballot,
            state: state(),
            next: crate::hand::ballot(12, 1),
        })),
        Body::Accepted {
            key: key.clone(),
            ballot,
        },
        Body::Refused {
            key: key.clone(),
            phase: Phase::One,
            ballot,
            why: Nack::Full,
        },
        Body::Refused {
            key: key.clone(),
            phase: Phase::Two,
            ballot,
            why: Nack::Promised(ballot),
        },
        Body::Purge {
            key: key.clone(),
            ballot,
        },
        Body::Purged {
            key: key.clone(),
            ballot,
        },
        Body::List { after: None },
        Body::Keys(Box::new(Page {
            after: Some(key.clone()),
            keys: vec![key],
            end: true,
            floor: ballot,
        })),
        Body::Behind,
        Body::Configuration(configuration()),
        Body::Stranger {
            known: Generation(5),
        },
    ]
}

fn records() -> Vec<Record> {
    let key = Key::Data("k".into());
    vec![
        Record::Identity {
            node: NodeId(1),
            generation: Generation(2),
        },
        Record::Rounds { through: 1024 },
        Record::Known {
            peer: NodeId(2),
            generation: Generation(3),
        },
        Record::Configuration(configuration()),
        Record::Promise {
            key: key.clone(),
            ballot: ballot(2, 1),
        },
        Record::Vote {
            key: key.clone(),
            vote: vote(),
            promised: ballot(10, 1),
        },
        Record::Purge {
            key,
            floor: ballot(12, 1),
        },
        Record::Floor {
            floor: ballot(14, 1),
        },
    ]
}

const BODIES: &[&str] = &[
    "0102010000006b0a0000000000000001000000000000000700000000000000",
    "0202010000006b0a00000000000000010000000000000007000000000000000108000000000000000100000000000000030000000000000006000000000000000100000000000000010400000000000000020000000000000001020000006162",
    "02010a0000000000000001000000000000000000000000000000020a000000000000000100000000000000",
    "0302010000006b0a000000000000000100000000000000060000000000000001000000000000000104000000000000000200000000000000010200000061620c000000000000000100000000000000",
    "0402010000006b0a000000000000000100000000000000",
    "0502010000006b010a00000000000000010000000000000002",
    "0502010000006b020a000000000000000100000000000000010a000000000000000100000000000000",
    "0602010000006b0a000000000000000100000000000000",
    "0702010000006b0a000000000000000100000000000000",
    "0800",
    "090102010000006b0100000002010000006b010a000000000000000100000000000000",
    "0a",
    "0b0100000000000000000900000001030101010100020709000000010301010101000207030000000100000000000000000000000000000002000000000000000000000000000000030000000000000000000000000000000000000000000000000000000000000000000000",
    "0c0500000000000000",
];
const RECORDS: &[&str] = &[
    "0101000000000000000200000000000000",
    "020004000000000000",
    "0302000000000000000300000000000000",
    "040100000000000000000900000001030101010100020709000000010301010101000207030000000100000000000000000000000000000002000000000000000000000000000000030000000000000000000000000000000000000000000000000000000000000000000000",
    "0502010000006b02000000000000000100000000000000",
    "0602010000006b080000000000000001000000000000000300000000000000060000000000000001000000000000000104000000000000000200000000000000010200000061620a000000000000000100000000000000",
    "0702010000006b0c000000000000000100000000000000",
    "080e000000000000000100000000000000",
];

#[test]
fn the_bytes_of_messages_are_these() {
    let found: Vec<String> = bodies().iter().map(|body| hex(&body.to_bytes())).collect();
    assert_eq!(found, BODIES, "format version 1");
}

#[test]
fn the_bytes_of_records_are_these() {
    let found: Vec<String> = records()
        .iter()
        .map(|record| hex(&record.to_bytes()))
        .collect();
    assert_eq!(found, RECORDS, "format version 1");
}

#[test]
fn everything_reads_back_and_nothing_else_does() {
    for body in bodies() {
        for epoch in [None, Some(4)] {
            let generation = Generation(9);
            let message = Message {
                generation,
                epoch,
                body: body.clone(),
            };
            let bytes = message.to_bytes();
            assert_eq!(Message::decode_all(bytes.clone()).as_ref(), Ok(&message));
            for len in 0..bytes.len() {
                assert!(
                    Message::decode_all(bytes.slice(..len)).is_err(),
                    "{body:?} cut at {len}"
                );
            }
        }
    }
    for record in records() {
        assert_eq!(Record::decode_all(record.to_bytes()), Ok(record));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode_all(bytes.clone().into());
        let _ = Record::decode_all(bytes.clone().into());
        let _ = Configuration::decode_all(bytes.into());
    }

    /// Damaged messages, from anybody and in any order, break nothing.
    #[test]
    fn any_messages_are_answered_or_dropped(
        picks in prop::collection::vec((0..14_usize, any::<u16>(), any::<u8>(), 1..4_u64), 1..60),
    ) {
        let mut hand = Hand::new(&[1, 2, 3]);
        hand.write(1, "k", "a");
        for (which, place, byte, from) in picks {
            let mut bytes = bodies()[which].to_bytes().to_vec();
            let place = usize::from(place) % (2 * bytes.len());
            if let Some(there) = bytes.get_mut(place) {
                *there = byte;
            }
            let Ok(body) = Body::decode_all(bytes.into()) else { continue };
            hand.forge(from, 1, body);
            hand.later(7);
        }
    }
}
