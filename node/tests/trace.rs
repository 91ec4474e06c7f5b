//! A node's events as `tracing` events, in a span that names the node. In a process of its own:
//! `tracing` remembers for each place whether anybody listens, and other tests do not.
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests fail loudly, and a test has std"
)]

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "it/driver_support.rs"]
mod driver_support;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use synod_core::Role;
use synod_core::mem::{MemNetwork, MemStorage};
use synod_node::Config;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use driver_support::{Ledger, SOON, raft_config, raft_node};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "synod::node"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut log = self.0.lock().unwrap();
        write!(log, "span {}", attributes.metadata().name()).unwrap();
        attributes.record(&mut Line(&mut log));
        log.push('\n');
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().unwrap();
        write!(log, "{}", event.metadata().level()).unwrap();
        event.record(&mut Line(&mut log));
        log.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn what_happens_is_told_under_the_name_of_the_node() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (network, storage) = (MemNetwork::new(16), MemStorage::new());
    let raft = raft_config(1, &[1]);
    let (node, handle) = raft_node(
        raft,
        &network,
        &storage,
        Ledger::default(),
        Config::default(),
    );
    let work = async {
        let leads = handle.wait(|status| status.role == Role::Leader, SOON);
        leads.await.unwrap();
        handle.propose("x".into()).await.unwrap();
        handle.snapshot().await.unwrap();
        handle.shutdown().await;
    };
    let (ended, ()) = block_on(async { futures::join!(node.run(), work) });
    ended.unwrap();
    let log = log.0.lock().unwrap().clone();
    for line in [
        "span node id=n1",
        "INFO message=role role=leader era=1 leader=1",
        "TRACE message=committed index=i2",
        "INFO message=snapshot taken id=i2@",
        "INFO message=ended",
    ] {
        assert!(log.contains(line), "{line}\nis not in\n{log}");
    }
}
