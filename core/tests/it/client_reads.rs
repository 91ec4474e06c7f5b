//! Reads, configurations, and what a node makes of a call.

use core::time::Duration;

use bytes::Bytes;
use synod_core::{
    Client, ClientAnswer, ClientCall, ClientConfig, ClientConfigError, ClientError, ClientOutput,
    LogIndex, ReadLevel, Refusal, SessionCommand, SessionToken,
};

use crate::client::{A, B, C, at, client, failed, reply, sent, with_session};

#[test]
fn reads_need_no_session_and_see_what_was_seen() {
    let mut client = with_session();
    let level = ReadLevel::Session(SessionToken::default());
    let id = client.read(at(3), "get".into(), level, at(5000)).unwrap();
    let (to, get) = sent(&mut client);
    let ClientCall::Read { level, .. } = get.call else {
        panic!("{get:?}");
    };
    assert_eq!(level, ReadLevel::Session(SessionToken(LogIndex(11))));
    let answer = ClientAnswer::Read {
        index: LogIndex(20),
        response: "value".into(),
    };
    client.answer(at(4), to, reply(&get, answer));
    let index = LogIndex(20);
    let response = Bytes::from("value");
    assert_eq!(
        client.poll(),
        Some(ClientOutput::Done {
            id,
            response,
            index
        })
    );
    assert_eq!(client.token(), SessionToken(index));
}

#[test]
fn an_unanswered_read_did_not_happen() {
    let mut client = client();
    let level = ReadLevel::Linearizable;
    let id = client.read(at(0), "get".into(), level, at(10)).unwrap();
    sent(&mut client);
    client.tick(at(10));
    assert_eq!(client.poll(), failed(id, ClientError::TimedOut));
}

#[test]
fn reads_that_any_node_can_answer_go_to_another_one_after_a_failure() {
    let mut client = client();
    client
        .read(at(0), "get".into(), ReadLevel::Stale, at(9000))
        .unwrap();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let (to, _) = sent(&mut client);
        asked.push(to);
        client.unreachable(at(1), to);
    }
    asked.sort_unstable();
    assert_eq!(asked, [A, B, C]);
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    let broken = |change: fn(&mut ClientConfig)| {
        let mut config = ClientConfig::new(vec![A, B], 1);
        change(&mut config);
        Client::new(config).unwrap_err()
    };
    assert_eq!(broken(|c| c.nodes.clear()), ClientConfigError::NoNodes);
    assert_eq!(broken(|c| c.nodes.push(A)), ClientConfigError::Twice(A));
    assert_eq!(
        broken(|c| c.in_flight = 0),
        ClientConfigError::Zero("in_flight")
    );
    assert_eq!(
        broken(|c| c.capacity = 0),
        ClientConfigError::Zero("capacity")
    );
    let backoff = broken(|c| c.backoff_min = Duration::from_secs(9));
    let text = backoff.to_string();
    assert_eq!(
        text,
        "backoff_min (9s) must not be greater than backoff_max (1s)"
    );
}

#[test]
fn what_a_node_makes_of_a_call() {
    let open = ClientCall::Open { nonce: 4 };
    let expected = SessionCommand::Open { nonce: 4, time: 99 };
    assert_eq!(open.into_command(99), Some(expected));
    let query = Bytes::new();
    let level = ReadLevel::Stale;
    assert_eq!(ClientCall::Read { query, level }.into_command(99), None);
    assert_eq!(
        ClientAnswer::from(Refusal::NoLeader),
        ClientAnswer::NotLeader
    );
    let busy = Refusal::Busy {
        what: "x",
        limit: 1,
    };
    assert_eq!(ClientAnswer::from(busy), ClientAnswer::Busy);
    let late = ClientAnswer::from(Refusal::TimedOut);
    assert_eq!(
        late,
        ClientAnswer::Unknown,
        "it may have happened where it was sent on to"
    );
    let long = ClientAnswer::from(Refusal::TooLarge { len: 9, limit: 8 });
    let text = "the command has 9 bytes, the limit is 8".into();
    assert_eq!(long, ClientAnswer::Refused(text));
}
