//! The typed events, told to `tracing`.

use core::future::Future;

use synod_core::NodeId;
use tracing::{Instrument, debug, error, info, info_span, trace, warn};

use crate::NodeEvent;

/// What subscribers filter by.
const TARGET: &str = "synod::node";

/// Everything that a node does happens in a span that names it.
pub(crate) fn in_span<F: Future>(node: NodeId, future: F) -> impl Future<Output = F::Output> {
    future.instrument(info_span!(target: TARGET, "node", id = %node))
}

pub(crate) fn event(event: &NodeEvent) {
    match event {
        NodeEvent::Role(change) => info!(
            target: TARGET,
            role = %change.role,
            era = change.era,
            leader = change.leader.map(|leader| leader.0),
            why = change.why,
            "role"
        ),
        NodeEvent::Link(peer, link) => debug!(target: TARGET, %peer, ?link, "link"),
        NodeEvent::Committed(index) => trace!(target: TARGET, %index, "committed"),
        NodeEvent::SnapshotTaken(meta) => {
            info!(target: TARGET, id = %meta.id, bytes = meta.size, "snapshot taken");
        }
        NodeEvent::SnapshotFailed(why) => warn!(target: TARGET, why, "no snapshot"),
        NodeEvent::Restored(meta) => {
            info!(target: TARGET, id = %meta.id, bytes = meta.size, "restored from a snapshot");
        }
        NodeEvent::Detail(detail) => debug!(target: TARGET, ?detail, "protocol"),
        NodeEvent::Ended(None) => info!(target: TARGET, "ended"),
        NodeEvent::Ended(Some(why)) => error!(target: TARGET, %why, "ended"),
    }
}
