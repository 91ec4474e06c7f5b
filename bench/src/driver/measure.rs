//! Client tasks, each proposing in a loop, and what the whole process paid for it.

use core::fmt;
use core::time::Duration;
use std::io;
use std::time::Instant;

use bytes::Bytes;
use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use super::{Service, Tally};
use crate::payload;

/// What every service is asked to do, exactly the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Voters in the cluster.
    pub nodes: usize,
    /// Bytes in one command.
    pub size: usize,
    /// Client tasks; each has one proposal under way.
    pub clients: u64,
    /// Proposals in the measured part, by all clients together.
    pub operations: u64,
}

impl Load {
    /// The load of about `operations` proposals, the same number from each client.
    pub fn new(nodes: usize, size: usize, clients: u64, operations: u64) -> Self {
        Self {
            nodes,
            size,
            clients,
            operations: operations.next_multiple_of(clients),
        }
    }

    fn warm_up(&self) -> u64 {
        (self.operations / 10).next_multiple_of(self.clients)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            nodes,
            size,
            clients,
            operations,
        } = self;
        write!(
            f,
            "{nodes} nodes, {size} B, {clients} clients, {operations} operations"
        )
    }
}

/// Which threads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Cluster and clients on the calling thread.
    OneThread,
    /// Cluster and clients on the same two worker threads.
    Pool,
    /// The cluster on one worker thread, the clients on another.
    Split,
}

/// What one run of one service measured, warm-up excluded.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// CPU time of the whole process, kernel time included.
    pub cpu: Duration,
    /// Time on the clock.
    pub wall: Duration,
}

/// Runs `load` on the service `S` in the given shape.
///
/// # Panics
///
/// If the runtimes cannot be built, or if at the end any node has not applied exactly the commands that were
/// proposed.
pub(super) fn measure<S: Service>(load: &Load, shape: Shape) -> Timing {
    let (servers, clients) = runtimes(shape).expect("the system gives a benchmark two threads");
    let service = servers.block_on(S::start(load.nodes));
    let on = clients.as_ref().unwrap_or(&servers);

    let warm_up = commands(load, 0, load.warm_up());
    let measured = commands(load, load.warm_up(), load.operations);
    let expected = tally([&warm_up, &measured]);

    on.block_on(propose_all(service.clone(), warm_up));
    let wall = Instant::now();
    let cpu = ProcessTime::now();
    on.block_on(propose_all(service.clone(), measured));
    let timing = Timing {
        cpu: cpu.elapsed(),
        wall: wall.elapsed(),
    };

    for (node, applied) in servers
        .block_on(service.stop(expected.count))
        .into_iter()
        .enumerate()
    {
        assert_eq!(
            applied, expected,
            "node {node} applied other commands than were proposed: {load}"
        );
    }
    timing
}

fn runtimes(shape: Shape) -> io::Result<(Runtime, Option<Runtime>)> {
    let workers = |count| {
        Builder::new_multi_thread()
            .worker_threads(count)
            .enable_time()
            .build()
    };
    Ok(match shape {
        Shape::OneThread => (Builder::new_current_thread().enable_time().build()?, None),
        Shape::Pool => (workers(2)?, None),
        Shape::Split => (workers(1)?, Some(workers(1)?)),
    })
}

/// Commands `first..first + count`, dealt out to the clients. Made before the clock starts.
fn commands(load: &Load, first: u64, count: u64) -> Vec<Vec<Bytes>> {
    let mut payload = vec![0; load.size];
    let share = count / load.clients;
    let mut command = |index| {
        payload::fill(index, &mut payload);
        payload::shared(&payload)
    };
    (0..load.clients)
        .map(|client| {
            (0..share)
                .map(|i| command(first + client * share + i))
                .collect()
        })
        .collect()
}

fn tally<const N: usize>(parts: [&Vec<Vec<Bytes>>; N]) -> Tally {
    let mut tally = Tally::default();
    for command in parts.into_iter().flatten().flatten() {
        tally.add(command);
    }
    tally
}

async fn propose_all<S: Service>(service: S, commands: Vec<Vec<Bytes>>) {
    let client = |share: Vec<Bytes>| {
        let service = service.clone();
        tokio::spawn(async move {
            for command in share {
                service.propose(command).await;
            }
        })
    };
    let clients: Vec<_> = commands.into_iter().map(client).collect();
    for client in clients {
        client
            .await
            .expect("a client that panics ends the benchmark");
    }
}
