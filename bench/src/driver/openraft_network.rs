//! A network for `openraft` in which a call to a peer is a function call.

use core::future::Future;
use std::sync::{Arc, OnceLock};

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Raft, RaftNetworkFactory, RaftNetworkV2};

use super::openraft_store::{Adder, Types};

/// One node's handle.
pub(super) type Node = Raft<Types, Adder>;

/// All nodes, once they exist.
#[derive(Clone, Default)]
pub(super) struct Router(Arc<OnceLock<Vec<Node>>>);

impl Router {
    /// Makes `nodes` known. They call each other only after that.
    pub(super) fn connect(&self, nodes: Vec<Node>) {
        assert!(self.0.set(nodes).is_ok(), "a router connects one cluster");
    }
}

impl RaftNetworkFactory<Types> for Router {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &()) -> Peer {
        let nodes = self
            .0
            .get()
            .expect("no node leads or votes before all are connected");
        Peer(nodes[usize::try_from(target).expect("nodes are numbered from 0")].clone())
    }
}

/// The way to one peer.
pub(super) struct Peer(Node);

fn unreachable<E: core::error::Error + 'static>(error: E) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(&error))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.0.append_entries(request).await.map_err(unreachable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.0.vote(request).await.map_err(unreachable)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let answer = self.0.install_full_snapshot(vote, snapshot).await;
        answer.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))
    }
}
