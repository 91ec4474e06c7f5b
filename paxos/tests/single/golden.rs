//! The bytes of format version 1, written down: a change here is a change of the format.

use bytes::Bytes;
use synod_core::{Decode, Encode, Generation};
use synod_paxos::single::{Body, Message, Record, Value, Vote};

use crate::cluster::{ballot, n};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of eight bytes, the lowest first.
fn u(value: u8) -> String {
    format!("{value:02x}00000000000000")
}

fn value() -> (Value, String) {
    let bytes = format!("{}{}010000007a", u(7), u(8));
    (Value::new(7, 8, Bytes::from_static(b"z")), bytes)
}

fn vote() -> (Vote, String) {
    let (value, bytes) = value();
    let ballot = ballot(2, 3);
    (Vote { ballot, value }, format!("{}{}{bytes}", u(2), u(3)))
}

fn bodies() -> Vec<(Body, String)> {
    let at = format!("{}{}", u(4), u(5));
    let ballot = ballot(4, 5);
    let promised = crate::cluster::ballot(6, 5);
    let ((value, v), (vote, w)) = (value(), vote());
    let known = Generation(9);
    vec![
        (Body::Prepare { ballot }, format!("01{at}")),
        (Body::Promise { ballot, vote: None }, format!("02{at}00")),
        (
            Body::Promise {
                ballot,
                vote: Some(vote.clone()),
            },
            format!("02{at}01{w}"),
        ),
        (
            Body::Accept {
                ballot,
                value: value.clone(),
            },
            format!("03{at}{v}"),
        ),
        (Body::Any { ballot }, format!("04{at}")),
        (
            Body::Accepted { vote, promised },
            format!("05{w}{}{}", u(6), u(5)),
        ),
        (
            Body::Refused { ballot, promised },
            format!("06{at}{}{}", u(6), u(5)),
        ),
        (
            Body::Propose {
                value: value.clone(),
            },
            format!("07{v}"),
        ),
        (Body::Chosen { value }, format!("08{v}")),
        (Body::Ask, "09".into()),
        (Body::Complete, "0a".into()),
        (Body::Stranger { known }, format!("0b{}", u(9))),
    ]
}

fn records() -> Vec<(Record, String)> {
    let ((value, v), (vote, w)) = (value(), vote());
    let (ballot, at) = (ballot(4, 5), format!("{}{}", u(4), u(5)));
    let (node, generation) = (n(1), Generation(9));
    vec![
        (
            Record::Storage { node, generation },
            format!("01{}{}", u(1), u(9)),
        ),
        (Record::Ballot(ballot), format!("02{at}")),
        (Record::Promised(ballot), format!("03{at}")),
        (
            Record::Voted {
                vote,
                promised: ballot,
            },
            format!("04{w}{at}"),
        ),
        (Record::Chosen(value), format!("05{v}")),
        (
            Record::Known { node, generation },
            format!("06{}{}", u(1), u(9)),
        ),
        (Record::Fenced { known: generation }, format!("07{}", u(9))),
    ]
}

#[test]
fn messages_of_version_1() {
    for (body, expected) in bodies() {
        let generation = Generation(1);
        let message = Message { generation, body };
        let expected = format!("{}{expected}", u(1));
        assert_eq!(hex(&message.to_bytes()), expected, "{message:?}");
        assert_eq!(Message::decode_all(message.to_bytes()).unwrap(), message);
    }
}

#[test]
fn records_of_version_1() {
    for (record, expected) in records() {
        assert_eq!(hex(&record.to_bytes()), expected, "{record:?}");
        assert_eq!(Record::decode_all(record.to_bytes()).unwrap(), record);
    }
}

#[test]
fn unknown_tags_are_errors() {
    let message = Bytes::from([u(1), "0c".into()].concat());
    let bytes: Vec<u8> = (0..message.len() / 2)
        .map(|at| {
            u8::from_str_radix(
                core::str::from_utf8(&message[2 * at..2 * at + 2]).unwrap(),
                16,
            )
        })
        .map(Result::unwrap)
        .collect();
    let error = Message::decode_all(bytes.into()).unwrap_err();
    assert_eq!(error.to_string(), "paxos message has the unknown tag 12");
    let error = Record::decode_all(Bytes::from_static(&[8])).unwrap_err();
    assert_eq!(error.to_string(), "paxos record has the unknown tag 8");
}
