//! Decoders: any bytes are a value or a typed error, and a value has one encoding.

use core::fmt::Debug;

use bytes::{Bytes, BytesMut};
use synod_core::frame::{HEADER, frame_len, read_frame, write_frame};
use synod_core::{
    ClientRequest, ClientResponse, Decode, Encode, Entries, LogRecord, SessionCommand,
    SessionResponse, SnapshotMeta,
};
use synod_node::stream::Greeting;
use synod_quorum::Quorum;
use synod_raft::{Membership, Message};

/// The first byte chooses the type.
pub fn core(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 3 {
        0 => canonical::<LogRecord>(data),
        1 => canonical::<Entries>(data),
        _ => canonical::<SnapshotMeta>(data),
    }
}

/// The first byte chooses the type.
pub fn client(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 4 {
        0 => canonical::<SessionCommand>(data),
        1 => canonical::<SessionResponse>(data),
        2 => canonical::<ClientRequest>(data),
        _ => canonical::<ClientResponse>(data),
    }
}

/// The first byte chooses the type.
pub fn raft(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 2 {
        0 => canonical::<Message>(data),
        _ => canonical::<Membership>(data),
    }
}

/// The first byte chooses the type.
pub fn paxos(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 2 {
        0 => canonical::<synod_paxos::log::Message>(data),
        _ => canonical::<synod_paxos::log::Membership>(data),
    }
}

/// A frame that is read is the one that is written around its body; what its length says is what
/// it takes.
pub fn frame(data: &[u8]) {
    const LIMIT: usize = 1 << 16;
    let said = frame_len(data, LIMIT);
    let mut input = Bytes::copy_from_slice(data);
    let Ok((group, body)) = read_frame(&mut input, LIMIT) else {
        return;
    };
    let mut out = BytesMut::new();
    write_frame(group, &mut out, |out| out.extend_from_slice(&body));
    assert_eq!(out.len(), HEADER + body.len());
    assert_eq!(said, Ok(Some(out.len())));
    assert_eq!(out[..], data[..out.len()], "a frame has one encoding");
    assert_eq!(input[..], data[out.len()..], "no byte more is taken");
}

/// What is read is written again as the same bytes.
pub fn quorum(data: &[u8]) {
    if let Ok(quorum) = Quorum::decode(data) {
        assert_eq!(quorum.encode(), data, "a quorum system has one encoding");
    }
}

/// A later version may add to a greeting, so only the value comes back, not the bytes.
pub fn greeting(data: &[u8]) {
    if let Ok(greeting) = Greeting::decode(&mut Bytes::copy_from_slice(data)) {
        round_trip(&greeting);
    }
}

/// Bytes that decode are the encoding of what they decode to.
fn canonical<T: Encode + Decode + PartialEq + Debug>(data: &[u8]) {
    if let Ok(value) = T::decode_all(Bytes::copy_from_slice(data)) {
        let mut out = BytesMut::new();
        value.encode(&mut out);
        assert_eq!(out[..], data[..], "{value:?} has one encoding");
        round_trip(&value);
    }
}

fn round_trip<T: Encode + Decode + PartialEq + Debug>(value: &T) {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    let again = T::decode_all(out.freeze());
    assert_eq!(again.as_ref(), Ok(value));
}
