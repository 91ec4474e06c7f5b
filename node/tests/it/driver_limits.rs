//! Overload: what is beyond the limits is rejected at once, and nothing of it is kept.

use bytes::Bytes;
use futures::FutureExt;
use futures::executor::block_on;
use synod_core::mem::{MemNetwork, MemStorage};
use synod_core::{Refusal, Rejected};
use synod_node::{Config, Handle, ProposeError};

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
