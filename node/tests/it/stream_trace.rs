//! Transport events as `tracing` events.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use synod_core::{ClusterId, NodeId};
use synod_node::stream::StreamConfig;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::stream_pipe::Hub;
use crate::stream_support::{CLUSTER, Node, config, host};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "synod::stream"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        write!(log, "{} ", event.metadata().level()).unwrap();
        event.record(&mut Line(&mut log));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        writeln!(self.0, "{value:?}").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_clear_line_at_both_ends() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let hub = Hub::default();
    let one = Node::start(&hub, config(1, &[]).accept_unknown(true));
    let other = StreamConfig::builder(NodeId(2), ClusterId(8)).peer(NodeId(1), host(1));
    let _two = Node::start(&hub, other);
    let mut three = Node::start(&hub, config(3, &[1]));
    three.up(1).await;
    assert_eq!(CLUSTER, ClusterId(7));
    drop(one);
    let log = log.0.lock().unwrap().clone();
    for line in [
        "WARN refused n2 at host2: wrong cluster: ours is c7, theirs is c8",
        "WARN refused by n1 at host1: wrong cluster: ours is c7, theirs is c8",
        "INFO link1 to n1 at host1 is up (dialled it)",
        "INFO link1 to n3 at host3 is up (dialled by it)",
    ] {
        assert!(log.contains(line), "{line}\nis not in\n{log}");
    }
}
