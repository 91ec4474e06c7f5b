//! The bytes of what clients and services say to each other and put into the log.

use synod_core::{
    ClientAnswer, ClientCall, ClientId, ClientRequest, ClientResponse, LogIndex, NodeId, ReadLevel,
    RequestId, SessionCommand, SessionLimits, SessionResponse, SessionToken,
};

use crate::golden::golden;

const CLIENT: ClientId = ClientId(LogIndex(5));

#[test]
fn session_commands() {
    golden(&SessionCommand::Plain("hi".into()), "01 00 02000000 6869");
    golden(
        &SessionCommand::Open { nonce: 7, time: 8 },
        "01 01 0700000000000000 0800000000000000",
    );
    golden(
        &SessionCommand::Command {
            client: CLIENT,
            seq: 3,
            below: 2,
            time: 8,
            command: "hi".into(),
        },
        "01 02 0500000000000000 0300000000000000 0200000000000000 0800000000000000 02000000 6869",
    );
    golden(
        &SessionCommand::Close {
            client: CLIENT,
            time: 8,
        },
        "01 03 0500000000000000 0800000000000000",
    );
    let limits = SessionLimits {
        ttl_ms: 1,
        sessions: 2,
        window: 3,
        cached_bytes: 4,
    };
    golden(
        &SessionCommand::Limits(limits),
        "01 04 0100000000000000 02000000 03000000 0400000000000000",
    );
}

#[test]
fn session_responses() {
    golden(&SessionResponse::Plain("hi".into()), "01 00 02000000 6869");
    golden(&SessionResponse::Opened(CLIENT), "01 01 0500000000000000");
    golden(&SessionResponse::Done("hi".into()), "01 02 02000000 6869");
    golden(&SessionResponse::Stale, "01 03");
    golden(&SessionResponse::Expired, "01 04");
    golden(&SessionResponse::Ahead, "01 05");
    golden(&SessionResponse::Closed, "01 06");
    golden(&SessionResponse::Limited, "01 07");
    golden(&SessionResponse::Malformed, "01 08");
}

fn request(call: ClientCall) -> ClientRequest {
    ClientRequest {
        id: RequestId(9),
        attempt: 2,
        call,
    }
}

#[test]
fn requests() {
    golden(
        &request(ClientCall::Open { nonce: 7 }),
        "01 0900000000000000 02000000 00 0700000000000000",
    );
    golden(
        &request(ClientCall::Command {
            client: CLIENT,
            seq: 3,
            below: 2,
            command: "hi".into(),
        }),
        "01 0900000000000000 02000000 01 \
         0500000000000000 0300000000000000 0200000000000000 02000000 6869",
    );
    golden(
        &request(ClientCall::Close { client: CLIENT }),
        "01 0900000000000000 02000000 03 0500000000000000",
    );
    let read = |level| {
        request(ClientCall::Read {
            query: "q".into(),
            level,
        })
    };
    for (level, text) in [
        (ReadLevel::Linearizable, "00"),
        (ReadLevel::Lease, "01"),
        (
            ReadLevel::Session(SessionToken(LogIndex(6))),
            "02 0600000000000000",
        ),
        (ReadLevel::Stale, "03"),
    ] {
        let text = format!("01 0900000000000000 02000000 02 {text} 01000000 71");
        golden(&read(level), &text);
    }
}

#[test]
fn responses() {
    let response = |leader, answer| ClientResponse {
        id: RequestId(9),
        attempt: 2,
        leader,
        answer,
    };
    let head = "01 0900000000000000 02000000";
    let leads = Some(NodeId(3));
    let (index, bytes) = (LogIndex(5), bytes::Bytes::from("hi"));
    let applied = ClientAnswer::Applied {
        index,
        response: bytes.clone(),
    };
    let read = ClientAnswer::Read {
        index,
        response: bytes,
    };
    for (leader, answer, text) in [
        (None, applied, "00 00 0500000000000000 02000000 6869"),
        (None, read, "00 01 0500000000000000 02000000 6869"),
        (leads, ClientAnswer::NotLeader, "01 0300000000000000 02"),
        (None, ClientAnswer::Busy, "00 03"),
        (None, ClientAnswer::Unknown, "00 04"),
        (
            None,
            ClientAnswer::Refused("no".into()),
            "00 05 02000000 6e6f",
        ),
    ] {
        golden(&response(leader, answer), &format!("{head} {text}"));
    }
}
