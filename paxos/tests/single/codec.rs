//! Bytes: there and back, and nothing that a peer sends is a panic.

use bytes::Bytes;
use proptest::prelude::*;
use synod_core::{Decode, Encode, Generation, NodeId};
use synod_paxos::Ballot;
use synod_paxos::single::{Body, Message, Record, Value, Vote};

use crate::solo::Solo;

fn ballots() -> impl Strategy<Value = Ballot> {
    let rounds = prop_oneof![0_u64..9, Ballot::LAST_ROUND - 2..=Ballot::LAST_ROUND];
    (rounds, 9_u64..13).prop_map(|(round, proposer)| Ballot {
        round,
        proposer: NodeId(proposer),
    })
}

fn values() -> impl Strategy<Value = Value> {
    let bytes = prop::collection::vec(any::<u8>(), 0..5);
    (0_u64..3, 0_u64..3, bytes).prop_map(|(c, s, b)| Value::new(c, s, b.into()))
}

fn votes() -> impl Strategy<Value = Vote> {
    (ballots(), values()).prop_map(|(ballot, value)| Vote { ballot, value })
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        ballots().prop_map(|ballot| Body::Prepare { ballot }),
        (ballots(), prop::option::of(votes()))
            .prop_map(|(ballot, vote)| Body::Promise { ballot, vote }),
        (ballots(), values()).prop_map(|(ballot, value)| Body::Accept { ballot, value }),
        ballots().prop_map(|ballot| Body::Any { ballot }),
        (votes(), ballots()).prop_map(|(vote, promised)| Body::Accepted { vote, promised }),
        (ballots(), ballots()).prop_map(|(ballot, promised)| Body::Refused { ballot, promised }),
        values().prop_map(|value| Body::Propose { value }),
        values().prop_map(|value| Body::Chosen { value }),
        Just(Body::Ask),
        Just(Body::Complete),
        (0_u64..3).prop_map(|known| Body::Stranger {
            known: Generation(known)
        }),
    ]
}

fn records() -> impl Strategy<Value = Record> {
    prop_oneof![
        (0_u64..3, 0_u64..3).prop_map(|(node, generation)| Record::Storage {
            node: NodeId(node),
            generation: Generation(generation),
        }),
        ballots().prop_map(Record::Ballot),
        ballots().prop_map(Record::Promised),
        (votes(), ballots()).prop_map(|(vote, promised)| Record::Voted { vote, promised }),
        values().prop_map(Record::Chosen),
        (0_u64..3).prop_map(|known| Record::Fenced {
            known: Generation(known)
        }),
    ]
}

proptest! {
    #[test]
    fn messages_there_and_back(body in bodies(), generation in any::<u64>()) {
        let message = Message { generation: Generation(generation), body };
        let bytes = message.to_bytes();
        prop_assert_eq!(Message::decode_all(bytes.clone()).unwrap(), message);
        for cut in 0..bytes.len() {
            prop_assert!(Message::decode_all(bytes.slice(..cut)).is_err());
        }
    }

    #[test]
    fn records_there_and_back(record in records()) {
        let bytes = record.to_bytes();
        prop_assert_eq!(Record::decode_all(bytes.clone()).unwrap(), record);
        for cut in 0..bytes.len() {
            prop_assert!(Record::decode_all(bytes.slice(..cut)).is_err());
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let bytes = Bytes::from(bytes);
        let _ = Message::decode_all(bytes.clone());
        let _ = Record::decode_all(bytes);
    }

    /// Whatever is said in whatever order: no panic, and the machine's invariants hold.
    #[test]
    fn no_story_is_a_panic(
        fast in any::<bool>(),
        story in prop::collection::vec((1_u64..13, bodies(), 0_u8..8), 0..60),
    ) {
        use synod_core::Machine;
        use synod_paxos::single::Config;
        let acceptors = [1, 2, 3, 11].map(NodeId);
        let builder = Config::builder(NodeId(11)).distinguished(NodeId(11));
        let builder = if fast { builder.fast_acceptors(acceptors) } else { builder.acceptors(acceptors) };
        let mut solo = Solo::new(builder.build().unwrap());
        for (from, body, other) in story {
            solo.hear(from, body.clone());
            match other {
                0 => {
                    let _ = solo.decree.propose(solo.now, Value::new(from, 9, Bytes::new()));
                }
                1 => {
                    if let Some(wake) = solo.decree.deadline() {
                        solo.now = solo.now.max(wake.at);
                        solo.decree.tick(solo.now);
                    }
                }
                _ => {}
            }
            solo.drain();
        }
    }
}
