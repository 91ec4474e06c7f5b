//! The client machine, step by step.

use bytes::Bytes;
use synod_core::{
    Client, ClientAnswer, ClientCall, ClientConfig, ClientError, ClientId, ClientOutput,
    ClientRequest, ClientResponse, Encode, Instant, LogIndex, NodeId, ReadLevel, RequestId,
    SessionResponse, SessionToken,
};

pub(crate) const A: NodeId = NodeId(1);
pub(crate) const B: NodeId = NodeId(2);
pub(crate) const C: NodeId = NodeId(3);

pub(crate) const fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

pub(crate) fn client() -> Client {
    Client::new(ClientConfig::new(vec![A, B, C], 7)).unwrap()
}

pub(crate) fn sent(client: &mut Client) -> (NodeId, ClientRequest) {
    match client.poll() {
        Some(ClientOutput::Send { to, request }) => (to, request),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn reply(request: &ClientRequest, answer: ClientAnswer) -> ClientResponse {
    ClientResponse {
        id: request.id,
        attempt: request.attempt,
        leader: None,
        answer,
    }
}

fn applied(request: &ClientRequest, index: u64, response: &SessionResponse) -> ClientResponse {
    let answer = ClientAnswer::Applied {
        index: LogIndex(index),
        response: response.to_bytes(),
    };
    reply(request, answer)
}

fn done(request: &ClientRequest, index: u64) -> ClientResponse {
    applied(request, index, &SessionResponse::Done("ok".into()))
}

fn opened(request: &ClientRequest, index: u64) -> ClientResponse {
    applied(
        request,
        index,
        &SessionResponse::Opened(ClientId(LogIndex(index))),
    )
}

/// A client whose session 10 was opened by `A`.
pub(crate) fn with_session() -> Client {
    let mut client = client();
    client.submit(at(0), "first".into(), at(9000)).unwrap();
    let (to, open) = sent(&mut client);
    client.answer(at(1), to, opened(&open, 10));
    let (to, first) = sent(&mut client);
    client.answer(at(2), to, done(&first, 11));
    assert!(matches!(client.poll(), Some(ClientOutput::Done { .. })));
    client
}

fn place(request: &ClientRequest) -> (u64, u64, u64) {
    match &request.call {
        ClientCall::Command {
            client, seq, below, ..
        } => (client.0.0, *seq, *below),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn failed(id: RequestId, error: ClientError) -> Option<ClientOutput> {
    Some(ClientOutput::Failed { id, error })
}

#[test]
fn a_command_gets_a_session_a_number_and_an_answer() {
    let mut client = client();
    let id = client.submit(at(0), "put".into(), at(5000)).unwrap();
    let (to, open) = sent(&mut client);
    assert_eq!(to, A);
    client.answer(at(1), A, opened(&open, 10));
    let (to, put) = sent(&mut client);
    assert_eq!((to, place(&put)), (A, (10, 0, 0)));
    client.answer(at(2), A, done(&put, 12));
    let index = LogIndex(12);
    let response = Bytes::from("ok");
    assert_eq!(
        client.poll(),
        Some(ClientOutput::Done {
            id,
            response,
            index
        })
    );
    assert_eq!(client.token(), SessionToken(index));
    assert_eq!((client.outstanding(), client.deadline()), (0, None));
}

#[test]
fn an_answer_counts_once() {
    let mut client = with_session();
    client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (to, put) = sent(&mut client);
    client.answer(at(4), to, done(&put, 12));
    client.answer(at(4), to, done(&put, 12));
    assert!(matches!(client.poll(), Some(ClientOutput::Done { .. })));
    assert_eq!(client.poll(), None);
}

#[test]
fn the_leader_is_found_by_hints_and_by_asking_around() {
    let mut client = with_session();
    client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (to, put) = sent(&mut client);
    assert_eq!(to, A);
    let hint = ClientResponse {
        leader: Some(C),
        ..reply(&put, ClientAnswer::NotLeader)
    };
    client.answer(at(4), A, hint);
    let (to, put) = sent(&mut client);
    assert_eq!((to, put.attempt), (C, 2));
    client.answer(at(5), C, reply(&put, ClientAnswer::NotLeader));
    let (to, put) = sent(&mut client);
    assert_eq!(to, B, "no hint: whoever was not asked");
    client.answer(at(6), B, done(&put, 12));
    assert_eq!(client.leader(), Some(B));
}

#[test]
fn who_was_asked_by_everybody_pauses_longer_each_time() {
    let mut client = with_session();
    client.submit(at(3), "put".into(), at(500_000)).unwrap();
    let mut now = at(3);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        while let Some(ClientOutput::Send { to, request }) = client.poll() {
            client.answer(now, to, reply(&request, ClientAnswer::NotLeader));
        }
        let due = client.deadline().unwrap().at;
        pauses.push(due.since(now).as_millis() as u64);
        now = due;
        client.tick(now);
    }
    let bounds = [20, 40, 80, 160, 320, 640, 1000, 1000];
    for (pause, full) in pauses.iter().zip(bounds) {
        assert!((full / 2..=full).contains(pause), "{pauses:?}");
    }
}

#[test]
fn two_seeds_pause_differently() {
    let pause = |seed| {
        let mut client = Client::new(ClientConfig::new(vec![A], seed)).unwrap();
        client.submit(at(0), "put".into(), at(9000)).unwrap();
        while let Some(ClientOutput::Send { to, request }) = client.poll() {
            client.answer(at(0), to, reply(&request, ClientAnswer::Busy));
        }
        client.deadline().unwrap().at
    };
    assert_eq!(pause(1), pause(1));
    assert_ne!(pause(1), pause(2));
}

#[test]
fn an_unanswered_attempt_is_made_again_under_the_same_number() {
    let mut client = with_session();
    client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (_, first) = sent(&mut client);
    assert_eq!(client.deadline().unwrap().at, at(1003));
    client.tick(at(1002));
    assert_eq!(client.poll(), None, "not due yet");
    client.tick(at(1003));
    let (to, second) = sent(&mut client);
    assert_eq!((to, place(&second)), (B, place(&first)));
    // The first one was done after all.
    client.answer(at(1004), A, done(&first, 12));
    assert!(matches!(client.poll(), Some(ClientOutput::Done { .. })));
}

#[test]
fn what_never_left_failed_for_certain() {
    let mut client = with_session();
    let id = client.submit(at(3), "put".into(), at(5000)).unwrap();
    while let Some(ClientOutput::Send { to, request }) = client.poll() {
        client.undelivered(at(3), to, &request);
    }
    client.tick(at(5000));
    let outputs: Vec<_> = core::iter::from_fn(|| client.poll()).collect();
    let error = ClientError::TimedOut;
    assert!(
        outputs.contains(&ClientOutput::Failed { id, error }),
        "{outputs:?}"
    );
}

#[test]
fn what_was_turned_away_failed_for_certain() {
    let mut client = with_session();
    let id = client.submit(at(3), "put".into(), at(10)).unwrap();
    let (to, put) = sent(&mut client);
    client.answer(at(4), to, reply(&put, ClientAnswer::Busy));
    client.tick(at(10));
    assert_eq!(client.poll(), failed(id, ClientError::TimedOut));
}

#[test]
fn what_may_have_left_is_unknown() {
    let mut client = with_session();
    let id = client.submit(at(3), "put".into(), at(10)).unwrap();
    sent(&mut client);
    client.tick(at(10));
    assert_eq!(client.poll(), failed(id, ClientError::Unknown));

    // In doubt even while it makes a pause: after a node that cannot tell, and after one that was
    // lost and another that turned it away.
    let id = client.submit(at(11), "put".into(), at(15)).unwrap();
    let (to, put) = sent(&mut client);
    client.answer(at(12), to, reply(&put, ClientAnswer::Unknown));
    client.tick(at(15));
    assert_eq!(client.poll(), failed(id, ClientError::Unknown));

    let id = client.submit(at(16), "put".into(), at(20)).unwrap();
    let (to, _) = sent(&mut client);
    client.unreachable(at(17), to);
    let (to, put) = sent(&mut client);
    client.answer(at(18), to, reply(&put, ClientAnswer::Busy));
    client.tick(at(20));
    assert_eq!(client.poll(), failed(id, ClientError::Unknown));
}

#[test]
fn a_refusal_is_certain_only_if_no_attempt_is_in_doubt() {
    let refused = || ClientAnswer::Refused("too long".into());
    let mut client = with_session();
    let id = client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (to, put) = sent(&mut client);
    client.answer(at(4), to, reply(&put, refused()));
    assert_eq!(
        client.poll(),
        failed(id, ClientError::Refused("too long".into()))
    );

    let id = client.submit(at(5), "put".into(), at(5000)).unwrap();
    let (to, _) = sent(&mut client);
    client.unreachable(at(6), to);
    let (to, put) = sent(&mut client);
    client.answer(at(7), to, reply(&put, refused()));
    assert_eq!(client.poll(), failed(id, ClientError::Unknown));
}

#[test]
fn a_service_without_sessions_refuses_all_commands() {
    let mut client = client();
    let one = client.submit(at(0), "a".into(), at(5000)).unwrap();
    let two = client.submit(at(0), "b".into(), at(5000)).unwrap();
    let (to, open) = sent(&mut client);
    client.answer(at(1), to, reply(&open, ClientAnswer::Refused("no".into())));
    assert_eq!(
        client.poll(),
        failed(one, ClientError::Refused("no".into()))
    );
    assert_eq!(
        client.poll(),
        failed(two, ClientError::Refused("no".into()))
    );
    assert_eq!(client.poll(), None);
}

#[test]
fn an_expired_session_is_replaced_if_nothing_is_in_doubt() {
    let expired = |request| applied(request, 50, &SessionResponse::Expired);
    let mut client = with_session();
    client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (to, put) = sent(&mut client);
    client.answer(at(4), to, expired(&put));
    let (to, open) = sent(&mut client);
    let ClientCall::Open { nonce } = open.call else {
        panic!("{open:?}");
    };
    client.answer(at(5), to, opened(&open, 60));
    let (to, put) = sent(&mut client);
    assert_eq!(place(&put), (60, 0, 0));
    client.answer(at(6), to, done(&put, 61));
    assert!(matches!(client.poll(), Some(ClientOutput::Done { .. })));

    // An attempt without an answer: it may have happened before the session expired.
    let id = client.submit(at(7), "put".into(), at(5000)).unwrap();
    let (to, _) = sent(&mut client);
    client.unreachable(at(8), to);
    let (to, put) = sent(&mut client);
    client.answer(at(9), to, expired(&put));
    assert_eq!(client.poll(), failed(id, ClientError::Unknown));
    client.submit(at(10), "next".into(), at(5000)).unwrap();
    let (_, open) = sent(&mut client);
    assert!(matches!(open.call, ClientCall::Open { nonce: other } if other != nonce));
}

#[test]
fn a_retried_open_keeps_its_nonce() {
    let mut client = client();
    client.submit(at(0), "put".into(), at(9000)).unwrap();
    let (to, first) = sent(&mut client);
    client.unreachable(at(1), to);
    let (_, second) = sent(&mut client);
    assert_eq!(first.call, second.call);
}

#[test]
fn a_lost_response_says_so() {
    let mut client = with_session();
    let id = client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (to, put) = sent(&mut client);
    client.answer(at(4), to, applied(&put, 12, &SessionResponse::Stale));
    assert_eq!(client.poll(), failed(id, ClientError::ResponseLost));
}

#[test]
fn numbers_run_ahead_only_so_far() {
    let mut config = ClientConfig::new(vec![A], 7);
    config.in_flight = 3;
    let mut client = Client::new(config).unwrap();
    for _ in 0..6 {
        client.submit(at(0), "put".into(), at(5000)).unwrap();
    }
    let (to, open) = sent(&mut client);
    client.answer(at(1), to, opened(&open, 10));
    let first: Vec<_> = (0..3).map(|_| sent(&mut client).1).collect();
    assert_eq!(client.poll(), None);
    // The second is done, but the first is not: what the service must keep is bounded by it.
    client.answer(at(2), A, done(&first[1], 12));
    assert!(matches!(client.poll(), Some(ClientOutput::Done { .. })));
    assert_eq!(client.poll(), None);
    client.answer(at(3), A, done(&first[0], 13));
    assert!(matches!(client.poll(), Some(ClientOutput::Done { .. })));
    let (_, fourth) = sent(&mut client);
    assert_eq!(place(&fourth), (10, 3, 2));
    let (_, fifth) = sent(&mut client);
    assert_eq!(place(&fifth), (10, 4, 2));
    assert_eq!(client.poll(), None);
}

#[test]
fn what_is_too_much_is_handed_back() {
    let mut config = ClientConfig::new(vec![A], 7);
    config.capacity = 2;
    let mut client = Client::new(config).unwrap();
    client.submit(at(0), "a".into(), at(9)).unwrap();
    let level = ReadLevel::Stale;
    client.read(at(0), "b".into(), level, at(9)).unwrap();
    let full = client.submit(at(0), "c".into(), at(9)).unwrap_err();
    assert_eq!((&full.payload[..], full.limit), (&b"c"[..], 2));
    client.tick(at(9));
    client.submit(at(9), "c".into(), at(99)).unwrap();
}

#[test]
fn an_idle_session_can_be_closed() {
    let mut client = with_session();
    let id = client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (to, put) = sent(&mut client);
    assert!(!client.close(), "a command waits");
    client.answer(at(4), to, done(&put, 12));
    assert!(matches!(client.poll(), Some(ClientOutput::Done { id: it, .. }) if it == id));
    assert!(client.close());
    let (_, close) = sent(&mut client);
    let client_id = ClientId(LogIndex(10));
    assert_eq!(close.call, ClientCall::Close { client: client_id });
    assert_eq!(client.session(), None);
    assert!(!client.close(), "once");
}

#[test]
fn old_and_foreign_answers_do_nothing() {
    let mut client = with_session();
    client.submit(at(3), "put".into(), at(5000)).unwrap();
    let (to, put) = sent(&mut client);
    client.unreachable(at(4), to);
    let (other, _) = sent(&mut client);
    // Refusals of an attempt that is not the present one, or by nobody who was asked.
    let refused = reply(&put, ClientAnswer::Refused("late".into()));
    client.answer(at(5), to, refused.clone());
    client.answer(
        at(5),
        NodeId(77),
        ClientResponse {
            attempt: 2,
            ..refused
        },
    );
    // Answers that fit no command.
    let read = ClientAnswer::Read {
        index: LogIndex(1),
        response: Bytes::new(),
    };
    client.answer(at(5), other, reply(&put, read));
    client.answer(at(5), other, applied(&put, 9, &SessionResponse::Limited));
    let nonsense = ClientAnswer::Applied {
        index: LogIndex(9),
        response: "nonsense".into(),
    };
    client.answer(at(5), other, reply(&put, nonsense));
    assert_eq!((client.poll(), client.outstanding()), (None, 1));
    let stranger = ClientResponse {
        leader: Some(NodeId(99)),
        ..done(&put, 12)
    };
    client.answer(at(6), to, stranger);
    assert_ne!(client.leader(), Some(NodeId(99)), "not one of the nodes");
}
