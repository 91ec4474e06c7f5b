//! Overload: what is beyond the limits is rejected at once, and nothing of it is kept.

use bytes::Bytes;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use synod_core::mem::{MemNetwork, MemStorage};
use synod_core::{LogIndex, Refusal, Rejected};
use synod_node::{CommittedError, Config, Handle, ProposeError, ReadError, SnapshotError};

use crate::driver_support::{Ledger, RaftNode, Rt, counted, one, raft_config, raft_node};

/// A node that does not run: what is asked of it stays in the queue.
fn idle(config: Config) -> (RaftNode, Handle) {
    let network = MemNetwork::new(16);
    let raft = raft_config(1, &[1]);
    raft_node(
        raft,
        &network,
        &MemStorage::new(),
        Ledger::default(),
        config,
    )
}

fn busy(command: Option<&'static str>, what: &'static str, limit: usize) -> Rejected {
    Rejected {
        command: command.map(Bytes::from),
        leader: None,
        refusal: Refusal::Busy { what, limit },
    }
}

#[test]
fn too_many_requests_are_rejected_at_once_with_the_command() {
    let config = Config::builder().max_outstanding(2).build().unwrap();
    let (_node, handle) = idle(config);
    let _first = handle.propose("a".into());
    let second = handle.propose("b".into());
    assert!(second.now_or_never().is_none(), "it waits");
    let third = handle.propose("c".into()).now_or_never();
    let expected = busy(Some("c"), "outstanding requests", 2);
    assert_eq!(third, Some(Err(expected.into())));

    let read = handle.read("q".into(), synod_core::ReadLevel::Stale);
    let expected = busy(None, "outstanding requests", 2);
    assert_eq!(read.now_or_never(), Some(Err(expected.into())));

    let many = handle.propose_many(["d".into(), "e".into()]).now_or_never();
    let expected = ["d", "e"].map(|c| {
        let rejected = busy(Some(c), "outstanding requests", 2);
        Err(rejected.into())
    });
    assert_eq!(many, Some(expected.to_vec()));
}

#[test]
fn too_many_bytes_are_rejected_at_once() {
    let config = Config::builder().max_queued_bytes(1000).build().unwrap();
    let (_node, handle) = idle(config);
    let _first = handle.propose(Bytes::from(vec![0; 800]));
    let second = handle.propose(Bytes::from(vec![0; 200])).now_or_never();
    let Some(Err(ProposeError::Rejected(rejected))) = second else {
        panic!("{second:?}");
    };
    assert_eq!(rejected.command.map(|c| c.len()), Some(200));
    let (what, limit) = ("queued bytes", 1000);
    assert_eq!(rejected.refusal, Refusal::Busy { what, limit });
}

#[test]
fn answered_requests_make_room_for_others() {
    let config = Config::builder().max_outstanding(3).build().unwrap();
    let node = one(Rt::Tokio, config);
    for _ in 0..100 {
        let three = [(); 3].map(|()| node.handle.propose("x".into()));
        for outcome in block_on(futures::future::join_all(three)) {
            outcome.unwrap();
        }
        let read = node.handle.read(Bytes::new(), synod_core::ReadLevel::Stale);
        block_on(read).unwrap();
    }
}

#[test]
fn an_answer_that_nobody_fetches_keeps_its_place() {
    let config = Config::builder().max_outstanding(2).build().unwrap();
    let node = one(Rt::Tokio, config);
    let propose = || node.handle.propose("x".into());
    let (kept, fetched) = (propose(), propose());
    counted(&node.handle, |m| m.commits == 3);
    let full = || {
        let rejected = busy(Some("x"), "outstanding requests", 2);
        assert_eq!(propose().now_or_never(), Some(Err(rejected.into())));
    };
    full();
    // Whoever has an answer may ask again at once.
    block_on(fetched).unwrap();
    let third = propose();
    full();
    block_on(third).unwrap();
    block_on(propose()).unwrap();
    let read = node.handle.read(Bytes::new(), synod_core::ReadLevel::Stale);
    full();
    drop(read);
    block_on(kept).unwrap();
    block_on(propose()).unwrap();
}

#[test]
fn a_dropped_future_keeps_its_place_until_it_is_decided() {
    let config = Config::builder().max_outstanding(1).build().unwrap();
    let node = one(Rt::Smol, config);
    node.storage.hold();
    drop(node.handle.propose("x".into()));
    let second = node.handle.propose("y".into()).now_or_never();
    let rejected = busy(Some("y"), "outstanding requests", 1);
    assert_eq!(second, Some(Err(rejected.into())));
    node.storage.release();
    counted(&node.handle, |m| m.commits == 2);
    let third = || block_on(node.handle.propose("z".into()));
    while third().is_err() {
        std::thread::yield_now();
    }
    assert_eq!(
        node.ledger.lines(),
        ["x", "z"],
        "dropping took nothing back"
    );
}

#[test]
fn answers_that_nobody_fetches_hold_no_more_bytes_than_allowed() {
    let config = Config::builder().max_answer_bytes(1000).build().unwrap();
    let node = one(Rt::Tokio, config);
    block_on(node.handle.propose(Bytes::from(vec![7; 600]))).unwrap();
    let read = || node.handle.read(Bytes::new(), synod_core::ReadLevel::Stale);
    let (what, limit) = ("bytes of queries and answers", 1000);
    let refusal = Refusal::Busy { what, limit };

    // Both are let in, and the answer of the second is too much.
    let first = read();
    let second = block_on(read());
    assert_eq!(second, Err(ReadError::Refused(refusal)));
    block_on(node.handle.propose(Bytes::from(vec![7; 500]))).unwrap();
    assert_eq!(block_on(first).unwrap().response.len(), 600);

    // One that is too large for the limit passes alone, and then nothing does until it is fetched.
    let large = read();
    while node.handle.propose("x".into()).now_or_never().is_none() {
        std::thread::yield_now();
    }
    let rejected = busy(Some("x"), what, limit);
    let proposal = node.handle.propose("x".into()).now_or_never();
    assert_eq!(proposal, Some(Err(rejected.into())));
    let snapshot = node.handle.snapshot().now_or_never();
    assert_eq!(snapshot, Some(Err(SnapshotError::Busy { what, limit })));
    let mut stream = node.handle.committed_from(LogIndex(1));
    let wanted = LogIndex(1);
    let error = CommittedError::Busy {
        wanted,
        what,
        limit,
    };
    assert_eq!(stream.next().now_or_never(), Some(Some(Err(error))));
    assert!(block_on(large).unwrap().response.len() > 1000);
    block_on(node.handle.propose("y".into())).unwrap();
}

#[test]
fn who_comes_and_goes_leaves_no_request_behind() {
    let config = Config::builder().max_outstanding(3).build().unwrap();
    let node = one(Rt::Tokio, config);
    let end = block_on(node.handle.propose("x".into())).unwrap().index;
    for _ in 0..1000 {
        // A stream that waits for what is not there yet, and a status that is not waited for.
        let mut stream = node.handle.committed_from(end.next());
        let _none = stream.next().now_or_never();
        let _none = node.handle.status().now_or_never();
        let _none = node.handle.events();
    }
    block_on(node.handle.status()).unwrap();
    let mut stream = node.handle.committed_from(end.next());
    assert!(stream.next().now_or_never().is_none());
    let next = block_on(node.handle.propose("y".into())).unwrap().index;
    assert_eq!(block_on(stream.next()).unwrap().unwrap().index, next);
}

#[test]
fn a_stream_too_many_says_so_and_one_that_goes_makes_room() {
    let config = Config::builder().max_streams(2).build().unwrap();
    let node = one(Rt::Bare, config);
    let mut streams = [(); 3].map(|()| node.handle.committed_from(LogIndex(1)));
    assert!(block_on(streams[0].next()).unwrap().is_ok());
    let error = CommittedError::Busy {
        wanted: LogIndex(1),
        what: "streams of committed entries",
        limit: 2,
    };
    assert_eq!(block_on(streams[2].next()), Some(Err(error)));
    assert_eq!(block_on(streams[2].next()), None);
    let [_first, second, _third] = streams;
    drop(second);
    let mut again = node.handle.committed_from(LogIndex(1));
    assert!(block_on(again.next()).unwrap().is_ok());
}

#[test]
fn what_the_machine_rejects_comes_back() {
    let node = one(Rt::Smol, Config::default());
    let long = Bytes::from(vec![7; 2 << 20]);
    let outcome = block_on(node.handle.propose(long.clone()));
    let Err(ProposeError::Rejected(rejected)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(rejected.command, Some(long));
    assert!(matches!(rejected.refusal, Refusal::TooLarge { .. }));
    counted(&node.handle, |m| m.rejections == 1);
    let transfer = block_on(node.handle.transfer(synod_core::NodeId(1)));
    assert!(transfer.is_err(), "there is nobody to transfer to");
}
