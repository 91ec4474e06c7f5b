//! Carries the plan out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synod_core::{NodeId, mix};
use synod_kv::Shared;

use crate::cluster::Cluster;
use crate::network;
use crate::plan::{Kind, Step};
use crate::proxy::Mode;
use crate::syncs::Quiet;

/// The longest delay of a chunk by a proxy.
const LATE: Duration = Duration::from_millis(60);

/// How long a sync takes that fails, where nobody else can have what it was to make durable.
const FAILS_AFTER: Duration = Duration::from_millis(300);

/// How long a full disk may go unnoticed by a node that writes little.
const FULL_FOR: Duration = Duration::from_secs(15);

/// What nodes say of their disks.
const FULL: &str = "no space left while writing";
const FAILED: &str = "Input/output error";

/// What ends a fault.
enum Undo {
    Nothing,
    Restart(Vec<NodeId>),
    Resume(NodeId),
    /// Ways between nodes, by proxy.
    Mode(Vec<(NodeId, NodeId)>, fn(&mut Mode)),
    /// The same, after all nodes were killed.
    Forget(Vec<(NodeId, NodeId)>),
    /// Packet filters of nodes.
    Filter(Vec<NodeId>),
    Disk(NodeId),
    /// The node should have ended by itself; it starts again without a tracer.
    Traced(NodeId),
}

/// Why a node may end by itself, and what it must have said then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Killed,
    Says(&'static str),
    SaysAlone(&'static str),
}

/// Faults under way, and how many there have been.
pub(crate) struct Faults {
    open: Vec<(Duration, Undo)>,
    expected: BTreeMap<NodeId, Expected>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// What was done, and when.
    pub(crate) done: Vec<String>,
    pub(crate) quiet: Quiet,
}

/// The ways from one set of nodes to all others, and back.
fn ways(nodes: &[NodeId], of: NodeId, out: bool, back: bool) -> Vec<(NodeId, NodeId)> {
    let others = nodes.iter().filter(|other| **other != of);
    let both = others.flat_map(|other| [(of, *other), (*other, of)]);
    both.filter(|(from, _)| if *from == of { out } else { back })
        .collect()
}

impl Faults {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            quiet: Quiet::new(shared),
            open: Vec::new(),
            expected: BTreeMap::new(),
            counts: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    fn count(&mut self, kind: Kind) {
        *self.counts.entry("faults".into()).or_default() += 1;
        *self.counts.entry(format!("{kind:?}")).or_default() += 1;
    }

    fn tell(&mut self, shared: &Shared, what: String) {
        let now = shared.recorder.elapsed();
        self.done.push(format!("{now:?}: {what}"));
    }

    /// SIGKILL to a node; if it was faster and has ended by itself, it must have been allowed to.
    fn kill(&mut self, node: NodeId, cluster: &mut Cluster, shared: &Shared) -> Result<(), String> {
        match cluster.kill(node)? {
            Some(status) if status.code().is_some() => self.ended(node, status, cluster, shared),
            Some(_) | None => Ok(()),
        }
    }

    fn has_full_disk(&self) -> bool {
        let mut open = self.open.iter();
        open.any(|(_, undo)| matches!(undo, Undo::Disk(_)))
    }

    /// Begins a fault, if there is something that it can happen to.
    pub(crate) fn begin(
        &mut self,
        step: &Step,
        cluster: &mut Cluster,
        shared: &Shared,
    ) -> Result<(), String> {
        let nodes = cluster.layout.nodes();
        let pick = |salt: u64, among: &[NodeId]| {
            let place = mix(step.draw, salt) % among.len().max(1) as u64;
            among.get(usize::try_from(place).unwrap()).copied()
        };
        let up: Vec<NodeId> = nodes.iter().copied().filter(|n| cluster.runs(*n)).collect();
        let leader = shared.views.leads().map(|(leader, _)| leader);
        let leader = leader.filter(|leader| up.contains(leader));
        let node = match step.kind {
            Kind::KillLeader
            | Kind::PauseLeader
            | Kind::IsolateLeader
            | Kind::KillIsolated
            | Kind::DeafLeader
            | Kind::MuteLeader
            | Kind::DropLeader => leader,
            // Between followers there is next to nothing to delay.
            Kind::Delay | Kind::Trickle => leader.or_else(|| pick(1, &up)),
            _ => pick(1, &up),
        };
        let Some(node) = node else {
            self.tell(shared, format!("{:?}: nobody to do it to", step.kind));
            return Ok(());
        };
        let others: Vec<NodeId> = nodes.iter().copied().filter(|n| *n != node).collect();
        let other = pick(2, &others).unwrap_or(node);
        let pair = vec![(node, other), (other, node)];
        let by_proxy = |ways: Vec<(NodeId, NodeId)>, set: fn(&mut Mode), undo: fn(&mut Mode)| {
            let proxies = cluster.proxies.as_ref().ok_or("there are no proxies")?;
            ways.iter().for_each(|(a, b)| proxies.set(*a, *b, set));
            Ok::<_, String>(Undo::Mode(ways, undo))
        };
        let undo = match step.kind {
            Kind::Kill | Kind::KillLeader => {
                self.kill(node, cluster, shared)?;
                Undo::Restart(vec![node])
            }
            Kind::KillAll => {
                for node in &up {
                    self.kill(*node, cluster, shared)?;
                }
                Undo::Restart(up)
            }
            Kind::Pause | Kind::PauseLeader => {
                cluster.pause(node)?;
                Undo::Resume(node)
            }
            Kind::Cut => by_proxy(pair, |mode| mode.cut = true, |mode| mode.cut = false)?,
            Kind::IsolateLeader => {
                let ways = ways(&nodes, node, true, true);
                by_proxy(ways, |mode| mode.cut = true, |mode| mode.cut = false)?
            }
            Kind::KillIsolated => {
                let ways = ways(&nodes, node, true, true);
                by_proxy(ways.clone(), |mode| mode.cut = true, |_| ())?;
                Undo::Forget(ways)
            }
            Kind::Silence => by_proxy(
                vec![(node, other)],
                |mode| mode.silent = true,
                |mode| mode.silent = false,
            )?,
            Kind::DeafLeader | Kind::MuteLeader => {
                let is_mute = step.kind == Kind::MuteLeader;
                let ways = ways(&nodes, node, is_mute, !is_mute);
                by_proxy(ways, |mode| mode.silent = true, |mode| mode.silent = false)?
            }
            Kind::Delay => by_proxy(
                ways(&nodes, node, true, false),
                |mode| mode.delay = Some(LATE),
                |mode| mode.delay = None,
            )?,
            Kind::Trickle => by_proxy(
                ways(&nodes, node, true, true),
                |mode| mode.trickle = true,
                |mode| mode.trickle = false,
            )?,
            Kind::Shoot(shot) => {
                let proxies = cluster.proxies.as_ref().ok_or("there are no proxies")?;
                proxies.shoot(node, other, shot);
                Undo::Nothing
            }
            // One at a time: without a majority nobody writes, and nobody would notice.
            Kind::FillDisk if self.has_full_disk() => return Ok(()),
            Kind::FillDisk => {
                cluster.layout.fill(node)?;
                let says = Expected::Says(FULL);
                self.expected.insert(node, says);
                Undo::Disk(node)
            }
            Kind::KillAtSync | Kind::FailSync | Kind::FailOnlySync => {
                let n = mix(step.draw, 3) % 20 + 1;
                let (mut what, expected) = match step.kind {
                    Kind::KillAtSync => ("signal=KILL".into(), Expected::Killed),
                    Kind::FailSync => ("error=EIO".into(), Expected::Says(FAILED)),
                    _ => ("error=EIO".to_string(), Expected::SaysAlone(FAILED)),
                };
                if step.kind == Kind::FailOnlySync {
                    what.push_str(&format!(":delay_enter={}", FAILS_AFTER.as_micros()));
                }
                self.kill(node, cluster, shared)?;
                let tracer = cluster.layout.tracer(node, &format!("{what}:when={n}"));
                cluster.start(node, &tracer)?;
                self.expected.insert(node, expected);
                Undo::Traced(node)
            }
            Kind::Drop => {
                network::drop_from(node, &[other])?;
                Undo::Filter(vec![node])
            }
            Kind::DropLeader => {
                network::drop_from(node, &others)?;
                for other in &others {
                    network::drop_from(*other, &[node])?;
                }
                Undo::Filter(nodes)
            }
            Kind::Lose => {
                network::lose(node, mix(step.draw, 4) % 30 + 10)?;
                Undo::Filter(vec![node])
            }
        };
        match &undo {
            // Counted when it has happened.
            Undo::Nothing | Undo::Disk(_) | Undo::Traced(_) => {}
            _ => self.count(step.kind),
        }
        self.tell(shared, format!("{:?} of {node} ({other})", step.kind));
        self.open.push((step.until, undo));
        Ok(())
    }

    /// Ends what has lasted long enough at `now`, and starts what may be started again.
    pub(crate) fn end(
        &mut self,
        now: Duration,
        cluster: &mut Cluster,
        shared: &Shared,
    ) -> Result<(), String> {
        for (node, status) in cluster.ended() {
            self.ended(node, status, cluster, shared)?;
        }
        let (over, open) = self.open.drain(..).partition(|(until, undo)| match undo {
            // The room that a log has filled ahead may last for a while.
            Undo::Disk(node) if cluster.runs(*node) => *until + FULL_FOR <= now,
            _ => *until <= now,
        });
        self.open = open;
        for (_, undo) in over {
            self.undo(undo, cluster, shared)?;
        }
        Ok(())
    }

    fn ended(
        &mut self,
        node: NodeId,
        status: ExitStatus,
        cluster: &Cluster,
        shared: &Shared,
    ) -> Result<(), String> {
        use std::os::unix::process::ExitStatusExt as _;
        const KILLED: i32 = 9;
        let said = cluster.layout.said(node);
        let last = said.lines().next_back().unwrap_or_default();
        let says = |what| status.code() == Some(1) && last.contains(what);
        let (kind, fits) = match self.expected.remove(&node) {
            Some(Expected::Killed) => (Kind::KillAtSync, status.signal() == Some(KILLED)),
            Some(Expected::Says(FULL)) => (Kind::FillDisk, says(FULL)),
            Some(Expected::Says(what)) => (Kind::FailSync, says(what)),
            Some(Expected::SaysAlone(what)) => {
                self.be_quiet(node, cluster)?;
                (Kind::FailOnlySync, says(what))
            }
            None => (Kind::Kill, false),
        };
        if !fits {
            return Err(format!(
                "node {} has ended by itself: {status}: {last}",
                node.0
            ));
        }
        self.count(kind);
        self.tell(shared, format!("{node} has ended: {status}: {last}"));
        Ok(())
    }

    /// The only node has asked for a sync that failed, perhaps.
    fn be_quiet(&mut self, node: NodeId, cluster: &Cluster) -> Result<(), String> {
        if let Some(since) = self.quiet.begin(&cluster.layout.trace(node))? {
            let what = format!("{since:?}: {node} asks for the sync that fails");
            self.done.push(what);
        }
        Ok(())
    }

    fn undo(&mut self, undo: Undo, cluster: &mut Cluster, shared: &Shared) -> Result<(), String> {
        match undo {
            Undo::Nothing => {}
            Undo::Restart(nodes) => {
                for node in nodes {
                    self.start(node, cluster, shared)?;
                }
            }
            Undo::Resume(node) => {
                cluster.resume(node)?;
                self.tell(shared, format!("{node} goes on"));
            }
            Undo::Mode(ways, undo) => {
                if let Some(proxies) = &cluster.proxies {
                    ways.iter().for_each(|(a, b)| proxies.set(*a, *b, undo));
                }
                self.tell(shared, format!("as before: {ways:?}"));
            }
            Undo::Forget(ways) => {
                for node in cluster.layout.nodes() {
                    self.kill(node, cluster, shared)?;
                }
                self.undo(Undo::Mode(ways, |mode| mode.cut = false), cluster, shared)?;
                self.undo(Undo::Restart(cluster.layout.nodes()), cluster, shared)?;
            }
            Undo::Filter(nodes) => {
                for node in nodes {
                    let dropped = network::heal(node)?;
                    *self.counts.entry("packets dropped".into()).or_default() += dropped;
                }
                self.tell(shared, "no packets are dropped".into());
            }
            Undo::Disk(node) => {
                // Before there is room again: it might be about to end.
                self.kill(node, cluster, shared)?;
                self.expected.remove(&node);
                cluster.layout.empty(node)?;
                self.start(node, cluster, shared)?;
            }
            Undo::Traced(node) => {
                self.kill(node, cluster, shared)?;
                if let Some(Expected::SaysAlone(_)) = self.expected.remove(&node) {
                    // It has gone on: perhaps no sync has failed yet, perhaps it should not have.
                    self.be_quiet(node, cluster)?;
                    self.quiet.end(shared.recorder.elapsed());
                }
                self.start(node, cluster, shared)?;
            }
        }
        Ok(())
    }

    fn start(
        &mut self,
        node: NodeId,
        cluster: &mut Cluster,
        shared: &Shared,
    ) -> Result<(), String> {
        if cluster.is_down(node) {
            let now = shared.recorder.elapsed();
            self.quiet.end(now);
            cluster.start(node, &[])?;
            self.tell(shared, format!("{node} starts"));
        }
        Ok(())
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self, cluster: &mut Cluster, shared: &Shared) -> Result<(), String> {
        self.end(Duration::MAX, cluster, shared)?;
        if let Some(proxies) = &cluster.proxies {
            proxies.heal();
        }
        for node in cluster.layout.nodes() {
            cluster.resume(node)?;
            self.start(node, cluster, shared)?;
        }
        self.tell(shared, "all faults are over".into());
        Ok(())
    }

    /// Adds what the proxies have counted, and nodes have noticed of it.
    pub(crate) fn conclude(&mut self, cluster: &Cluster) {
        let Some(proxies) = &cluster.proxies else {
            return;
        };
        let counts = &proxies.counts;
        for (shot, count) in counts.shots.lock().unwrap().iter() {
            self.counts.insert(format!("{shot:?}"), *count);
        }
        let noticed = cluster.layout.lines_with(&[
            "the peer sent nonsense",
            "does not speak this protocol",
            "spoke out of turn",
        ]);
        self.counts.insert("damage noticed".into(), noticed);
        let named = [
            ("connections cut", &counts.cut),
            ("chunks held back", &counts.held),
            ("chunks delayed", &counts.delayed),
            ("pieces trickled", &counts.trickled),
        ];
        for (name, count) in named {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                self.counts.insert(name.into(), count);
            }
        }
    }

    /// Faults that have not happened as often as they should have, if there are any.
    pub(crate) fn missing(&self, least: &[(&str, u64)]) -> Option<String> {
        let counted = |name: &str| self.counts.get(name).copied().unwrap_or(0);
        let missing = least.iter().filter(|(name, least)| counted(name) < *least);
        let missing: BTreeSet<String> = missing
            .map(|(name, least)| format!("{name} {} times, not {least}", counted(name)))
            .collect();
        let missing: Vec<String> = missing.into_iter().collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }
}

impl crate::cluster::Layout {
    /// Leaves no room on the node's file system.
    fn fill(&self, node: NodeId) -> Result<(), String> {
        use std::io::Write as _;
        let path = self.ballast(node);
        let file = fs::File::create(&path);
        let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        // Page by page, so that the last one that fits is found.
        while file.write_all(&[1; 4096]).is_ok() {}
        Ok(())
    }

    fn empty(&self, node: NodeId) -> Result<(), String> {
        let path = self.ballast(node);
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// What traces a node and injects `what` into its syncs.
    pub(crate) fn tracer(&self, node: NodeId, what: &str) -> Vec<String> {
        let trace = self.trace(node).display().to_string();
        let inject = format!("inject=fsync,fdatasync:{what}");
        // `-D`: the node stays our child, and its tracer ends with it.
        let words = [
            "strace",
            "-D",
            "-f",
            "-qq",
            "-ttt",
            "-o",
            &trace,
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            &inject,
        ];
        words.map(String::from).to_vec()
    }
}
