//! Any value reads back; any bytes are a value or a typed error.

use core::fmt::Debug;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use synod_core::frame::{frame_len, read_frame, write_frame};
use synod_core::{
    ClientAnswer, ClientCall, ClientId, ClientRequest, ClientResponse, Decode, DecodeError, Encode,
    Entries, Entry, Generation, GroupId, Lane, LogIndex, LogRecord, NodeId, OldLog, ReadLevel,
    RequestId, SessionCommand, SessionLimits, SessionResponse, SessionTable, SessionToken,
    SnapshotId, SnapshotMeta, Stamp,
};

use crate::strategies::{entry, payload, run, stamp};

fn encoded<T: Encode>(value: &T) -> Bytes {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

/// Writes back what it reads: every value has one encoding, and no bytes are ignored.
#[track_caller]
pub(crate) fn value_or_error<T: Encode + Decode + Debug>(bytes: &Bytes) {
    if let Ok(value) = T::decode_all(bytes.clone()) {
        assert_eq!(encoded(&value), bytes, "{value:?}");
    }
}

/// Reads back what it writes, and notices every cut.
#[track_caller]
pub(crate) fn round_trip<T: Encode + Decode + Debug + PartialEq>(value: &T) {
    let bytes = encoded(value);
    assert_eq!(T::decode_all(bytes.clone()).as_ref(), Ok(value));
    for len in 0..bytes.len() {
        assert!(T::decode_all(bytes.slice(..len)).is_err(), "{len} bytes");
    }
    let mut longer = BytesMut::from(&bytes[..]);
    longer.extend_from_slice(b"x");
    let trailing = T::decode_all(longer.freeze());
    assert_eq!(trailing, Err(DecodeError::Trailing { left: 1 }));
}

fn id() -> impl Strategy<Value = SnapshotId> {
    (any::<u64>(), any::<u64>()).prop_map(|(origin, index)| SnapshotId {
        origin: Generation(origin),
        index: LogIndex(index),
    })
}

pub(crate) fn record() -> impl Strategy<Value = LogRecord> {
    let index = any::<u64>().prop_map(LogIndex);
    let lane = prop_oneof![Just(Lane::Taken), Just(Lane::Received)];
    let log = prop_oneof![Just(OldLog::Keep), Just(OldLog::Replace)];
    let meta = (id(), stamp(), payload(9), any::<u64>());
    let meta = meta.prop_map(|(id, stamp, config, size)| SnapshotMeta {
        id,
        stamp,
        config,
        size,
    });
    prop_oneof![
        payload(40).prop_map(LogRecord::State),
        run(u64::MAX - 100, 9).prop_map(LogRecord::Put),
        index.prop_map(|from| LogRecord::Truncate { from }),
        (lane, id(), any::<u64>(), payload(40)).prop_map(|(lane, id, offset, chunk)| {
            LogRecord::Stage {
                lane,
                id,
                offset,
                chunk,
            }
        }),
        (meta, log).prop_map(|(meta, log)| LogRecord::Activate { meta, log }),
        (any::<u64>(), stamp()).prop_map(|(through, stamp)| LogRecord::Compact {
            through: LogIndex(through),
            stamp
        }),
    ]
}

fn client_id() -> impl Strategy<Value = ClientId> {
    any::<u64>().prop_map(|index| ClientId(LogIndex(index)))
}

fn session_command() -> impl Strategy<Value = SessionCommand> {
    let command = (client_id(), any::<[u64; 3]>(), payload(40));
    let limits = (any::<[u64; 2]>(), any::<[u32; 2]>());
    prop_oneof![
        payload(40).prop_map(SessionCommand::Plain),
        any::<[u64; 2]>().prop_map(|[nonce, time]| SessionCommand::Open { nonce, time }),
        command.prop_map(
            |(client, [seq, below, time], command)| SessionCommand::Command {
                client,
                seq,
                below,
                time,
                command
            }
        ),
        (client_id(), any::<u64>())
            .prop_map(|(client, time)| SessionCommand::Close { client, time }),
        limits.prop_map(|([ttl_ms, cached_bytes], [sessions, window])| {
            SessionCommand::Limits(SessionLimits {
                ttl_ms,
                sessions,
                window,
                cached_bytes,
            })
        }),
    ]
}

fn session_response() -> impl Strategy<Value = SessionResponse> {
    prop_oneof![
        payload(40).prop_map(SessionResponse::Plain),
        client_id().prop_map(SessionResponse::Opened),
        payload(40).prop_map(SessionResponse::Done),
        Just(SessionResponse::Stale),
        Just(SessionResponse::Expired),
        Just(SessionResponse::Ahead),
        Just(SessionResponse::Closed),
        Just(SessionResponse::Limited),
        Just(SessionResponse::Malformed),
    ]
}

fn level() -> impl Strategy<Value = ReadLevel> {
    prop_oneof![
        Just(ReadLevel::Linearizable),
        Just(ReadLevel::Lease),
        any::<u64>().prop_map(|index| ReadLevel::Session(SessionToken(LogIndex(index)))),
        Just(ReadLevel::Stale),
    ]
}

fn request() -> impl Strategy<Value = ClientRequest> {
    let command = (client_id(), any::<[u64; 2]>(), payload(40));
    let call = prop_oneof![
        any::<u64>().prop_map(|nonce| ClientCall::Open { nonce }),
        command.prop_map(|(client, [seq, below], command)| ClientCall::Command {
            client,
            seq,
            below,
            command
        }),
        (payload(40), level()).prop_map(|(query, level)| ClientCall::Read { query, level }),
        client_id().prop_map(|client| ClientCall::Close { client }),
    ];
    (any::<u64>(), any::<u32>(), call).prop_map(|(id, attempt, call)| ClientRequest {
        id: RequestId(id),
        attempt,
        call,
    })
}

fn response() -> impl Strategy<Value = ClientResponse> {
    let place = || (any::<u64>().prop_map(LogIndex), payload(40));
    let answer = prop_oneof![
        place().prop_map(|(index, response)| ClientAnswer::Applied { index, response }),
        place().prop_map(|(index, response)| ClientAnswer::Read { index, response }),
        Just(ClientAnswer::NotLeader),
        Just(ClientAnswer::Busy),
        Just(ClientAnswer::Unknown),
        ".*".prop_map(ClientAnswer::Refused),
    ];
    let head = (any::<u64>(), any::<u32>(), any::<Option<u64>>());
    (head, answer).prop_map(|((id, attempt, leader), answer)| ClientResponse {
        id: RequestId(id),
        attempt,
        leader: leader.map(NodeId),
        answer,
    })
}

/// The bytes of a value with one of them overwritten.
fn damaged(value: &impl Encode, at: prop::sample::Index, byte: u8) -> Bytes {
    let mut bytes = BytesMut::from(&encoded(value)[..]);
    let at = at.index(bytes.len());
    bytes[at] = byte;
    bytes.freeze()
}

proptest! {
    #[test]
    fn every_record_reads_back(record in record()) {
        round_trip(&record);
    }

    #[test]
    fn every_plain_value_reads_back(
        text in ".*",
        list in vec(any::<(u16, bool)>(), 0..9),
        maybe in any::<Option<u64>>(),
        entry in entry(),
    ) {
        round_trip(&text);
        round_trip(&list);
        round_trip(&maybe);
        round_trip(&entry);
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in payload(200)) {
        value_or_error::<LogRecord>(&bytes);
        value_or_error::<Entries>(&bytes);
        value_or_error::<SnapshotMeta>(&bytes);
        value_or_error::<Vec<Entry>>(&bytes);
        value_or_error::<Vec<Option<Stamp>>>(&bytes);
        value_or_error::<(String, bool)>(&bytes);
        value_or_error::<SessionTable>(&bytes);
        // Most of these begin with version 1: without it nothing more would be read.
        let mut versioned = BytesMut::from(&[1][..]);
        versioned.extend_from_slice(&bytes);
        let bytes = versioned.freeze();
        value_or_error::<SessionCommand>(&bytes);
        value_or_error::<SessionResponse>(&bytes);
        value_or_error::<ClientRequest>(&bytes);
        value_or_error::<ClientResponse>(&bytes);
        let _ = read_frame(&mut bytes.clone(), 100);
    }

    #[test]
    fn every_session_message_reads_back(command in session_command(), response in session_response()) {
        round_trip(&command);
        round_trip(&response);
    }

    #[test]
    fn every_client_message_reads_back(request in request(), response in response()) {
        round_trip(&request);
        round_trip(&response);
    }

    #[test]
    fn a_damaged_client_message_is_a_value_or_an_error(
        request in request(),
        response in response(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        value_or_error::<ClientRequest>(&damaged(&request, at, byte));
        value_or_error::<ClientResponse>(&damaged(&response, at, byte));
    }

    #[test]
    fn a_damaged_record_is_a_value_or_an_error(
        record in record(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        value_or_error::<LogRecord>(&damaged(&record, at, byte));
    }

    #[test]
    fn frames_follow_each_other(bodies in vec(payload(60), 0..6), group in any::<u64>()) {
        let mut out = BytesMut::new();
        for body in &bodies {
            write_frame(GroupId(group), &mut out, |out| out.extend_from_slice(body));
        }
        let mut input = out.freeze();
        for body in &bodies {
            prop_assert!(matches!(frame_len(&input, 60), Ok(Some(_))));
            prop_assert_eq!(read_frame(&mut input, 60), Ok((GroupId(group), body.clone())));
        }
        prop_assert!(input.is_empty());
    }
}

#[test]
fn a_huge_count_reserves_nothing() {
    // A list of 2^32 - 1 entries in 24 bytes: refused by its count, not by running out of memory.
    let mut out = BytesMut::new();
    LogIndex(1).encode(&mut out);
    Stamp::of(1).encode(&mut out);
    u32::MAX.encode(&mut out);
    out.extend_from_slice(&[0; 24]);
    let refused = Entries::decode_all(out.freeze());
    assert!(matches!(refused, Err(DecodeError::Short { .. })));
}

#[test]
fn payloads_share_the_input() {
    let bytes = encoded(&Bytes::from(vec![7; 1000]));
    let read = Bytes::decode_all(bytes.clone()).unwrap();
    assert_eq!(read.as_ptr(), bytes[4..].as_ptr());
}
