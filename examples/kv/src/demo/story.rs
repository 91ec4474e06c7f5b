//! What happens when: start, load, proof.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synod_core::NodeId;
use synod_sim::linear::Verdict;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::fault::Fault;
use super::input::Source;
use super::load::{Shared, start};
use super::record::percentile;
use super::report::{Figures, millis};
use super::screen::Screen;
use super::verify::{agreement, count, judge, read_all};
use super::views::watch;
use crate::args::DemoArgs;

/// How often things are looked at.
const TICK: Duration = Duration::from_millis(10);

/// How long an election at the start may take, and how much longer than planned the load may.
const LENIENCE: Duration = Duration::from_secs(10);

/// The demonstration as it goes on.
pub(crate) struct Story {
    shared: Arc<Shared>,
    seconds: Duration,
    clients: u64,
    watchers: JoinSet<()>,
}

/// What the load leaves to be judged.
pub(crate) struct Loaded {
    took: Duration,
    failover: Option<Duration>,
}

impl Story {
    pub(crate) fn new(args: &DemoArgs, shared: Arc<Shared>) -> Self {
        Self {
            shared,
            seconds: Duration::from_secs(args.seconds),
            clients: args.clients,
            watchers: JoinSet::new(),
        }
    }

    /// Starts all nodes and waits for a leader.
    pub(crate) async fn start(
        &mut self,
        cluster: &mut Cluster,
        screen: &mut Screen,
    ) -> Result<(), String> {
        let nodes: Vec<NodeId> = self.shared.cluster.keys().copied().collect();
        screen.tell(&format!(
            "Starting {} nodes, each a process with a write-ahead log in {}",
            nodes.len(),
            cluster.dir().display()
        ));
        for node in &nodes {
            cluster.start(*node)?;
            let watched = watch(Arc::clone(&self.shared), *node);
            self.watchers.spawn(watched);
        }
        let until = Instant::now() + LENIENCE;
        loop {
            cluster.check()?;
            if let Some(leader) = self.shared.views.leader()
                && self.shared.views.all().len() == nodes.len()
            {
                let (node, era) = (leader.node.0, leader.era);
                screen.tell(&format!("Node {node} was elected leader in term {era}"));
                return Ok(());
            }
            if Instant::now() > until {
                return Err("the nodes have not elected a leader within 10 s".into());
            }
            sleep(TICK).await;
        }
    }

    /// The load, with the leader's death and return in it.
    pub(crate) async fn load(
        &self,
        source: Source,
        cluster: &mut Cluster,
        screen: &mut Screen,
    ) -> Result<Loaded, String> {
        screen.tell(&format!(
            "{} clients write and read for {} s: commands from {}, and a generated load",
            self.clients,
            self.seconds.as_secs(),
            source.name
        ));
        let shared = &self.shared;
        let began = shared.recorder.elapsed();
        let mut fault = Fault::new(began, self.seconds);
        let mut clients = start(shared, self.clients, source);
        let time = || shared.recorder.elapsed() - began;
        while time() < self.seconds || !fault.is_over() {
            if time() > self.seconds + LENIENCE {
                return Err(fault.missing().into());
            }
            cluster.check()?;
            while let Some(ended) = clients.try_join_next() {
                ended.map_err(|error| error.to_string())??;
            }
            fault.go_on(shared, cluster, screen)?;
            self.show(screen);
            sleep(TICK).await;
        }
        let took = time();
        shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = clients.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        screen.end();
        let writes = shared.recorder.lock().acknowledged.len();
        let input = shared.input();
        screen.tell(&format!(
            "The load is over: {writes} writes were acknowledged; {input}"
        ));
        let failover = fault.pause;
        Ok(Loaded { took, failover })
    }

    fn show(&self, screen: &mut Screen) {
        let Some(since) = screen.due() else { return };
        let latencies = self.shared.recorder.interval();
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = latencies.len() as f64 / since.as_secs_f64();
        let [p50, p99] = [0.5, 0.99].map(|share| millis(percentile(&latencies, share)));
        let load = if latencies.is_empty() {
            "nothing is answered".into()
        } else {
            format!("{rate:5.0} operations/s, latency p50 {p50:.1} ms, p99 {p99:.1} ms")
        };
        let leads = match self.shared.views.leader() {
            Some(leader) => format!(
                "node {} leads term {}, committed {}",
                leader.node.0, leader.era, leader.committed.0
            ),
            None => "no leader".into(),
        };
        let mut block = vec![String::new()];
        block.extend(self.nodes());
        block.push(format!("  load    {load}"));
        screen.draw(&format!("{leads}; {load}"), &block);
    }

    /// A line for each node.
    fn nodes(&self) -> Vec<String> {
        let views = self.shared.views.all();
        let nodes = self
            .shared
            .cluster
            .keys()
            .map(|node| match views.get(node) {
                Some(view) => format!(
                    "  node {}  {:<9}  term {:<3}  committed {:<8}  applied {}",
                    node.0, view.role, view.era, view.committed.0, view.applied.0
                ),
                None => format!("  node {}  down", node.0),
            });
        nodes.collect()
    }

    /// Looks at what is there, and judges. The cluster must still run.
    pub(crate) async fn prove(
        &self,
        loaded: Loaded,
        screen: &mut Screen,
    ) -> Result<Figures, String> {
        let recorder = &self.shared.recorder;
        let (refused, writes, mut latencies) = {
            let inner = recorder.lock();
            let writes = (inner.acknowledged.len() as u64, inner.unknown);
            (inner.refused.clone(), writes, inner.latencies.clone())
        };
        if let Some(why) = refused {
            return Err(format!("a request was refused: {why}"));
        }
        screen.tell("Reading everything back, and comparing what the nodes hold");
        let found = read_all(&self.shared).await?;
        let applied = agreement(&self.shared).await?;
        let history = recorder.lock().history.clone();
        let counted = count(&history, writes, &found, applied.unwrap_or_default());
        let (keys, unknown) = (found.len(), writes.1);
        screen.tell(&match applied {
            Some(applied) => format!(
                "{keys} keys read; each node has applied {applied} writes; {unknown} of unknown outcome"
            ),
            None => "The nodes do not hold the same".into(),
        });
        screen.tell("Judging whether one order explains everything that clients saw");
        let operations = history.iter().count();
        let linearizable = match judge(history).await {
            Some((Verdict::Linearizable(_), _)) => Some(true),
            Some((Verdict::NotLinearizable(_), evidence)) => {
                screen.tell(&evidence);
                Some(false)
            }
            Some((Verdict::Unknown { .. }, _)) | None => None,
        };
        latencies.sort_unstable();
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = latencies.len() as f64 / loaded.took.as_secs_f64();
        let latencies = [0.5, 0.9, 0.99, 1.0].map(|share| percentile(&latencies, share));
        let [p50, p90, p99, max] = latencies.map(millis);
        screen.tell(&format!(
            "{operations} operations judged; {rate:.0}/s; latency p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.0} ms"
        ));
        Ok(Figures {
            acknowledged: counted.acknowledged,
            lost: counted.lost,
            duplicated: counted.duplicated,
            linearizable,
            failover: loaded.failover,
            operations_per_second: rate,
            latencies,
            replicas_agree: applied.is_some(),
        })
    }
}
