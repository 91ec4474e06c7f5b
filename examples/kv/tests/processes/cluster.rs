//! The nodes as processes, and what can be done to a process. However a trial ends, none of them
//! is left behind: they are killed when this is dropped, when their standard input ends, and by
//! the system when the thread that has started them is gone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use synod_core::NodeId;
use synod_kv::Addresses;

use crate::proxy::Proxies;

/// How long a process may take to do what the system has promised.
const SOON: Duration = Duration::from_secs(5);

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    /// Where nodes listen for each other, and for clients.
    pub(crate) peers: Addresses,
    pub(crate) clients: Arc<Addresses>,
    /// What stands before each node's command: how to get into its network, for example.
    pub(crate) prefix: BTreeMap<NodeId, Vec<String>>,
    pub(crate) env: Vec<(String, String)>,
    /// Whether each node has a small file system for itself.
    pub(crate) has_disks: bool,
}

/// Where a node's small file system is.
pub(crate) fn disk(dir: &Path, node: NodeId) -> PathBuf {
    dir.join(format!("disk-{}", node.0))
}

impl Layout {
    /// Nodes on free ports of the loopback interface.
    pub(crate) fn loopback(dir: &Path, nodes: u64) -> Result<Self, String> {
        let mut ports = synod_kv::free_ports(2 * nodes)?.into_iter();
        let mut addresses = || -> Addresses {
            let ports = ports.by_ref().take(usize::try_from(nodes).unwrap());
            let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
            (1..).map(NodeId).zip(addresses).collect()
        };
        Ok(Self {
            dir: dir.into(),
            peers: addresses(),
            clients: Arc::new(addresses()),
            prefix: BTreeMap::new(),
            env: Vec::new(),
            has_disks: false,
        })
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.peers.keys().copied().collect()
    }

    /// What takes the room on a node's file system.
    pub(crate) fn ballast(&self, node: NodeId) -> PathBuf {
        disk(&self.dir, node).join("ballast")
    }

    fn data(&self, node: NodeId) -> PathBuf {
        if self.has_disks {
            return disk(&self.dir, node).join("data");
        }
        self.dir.join(format!("node-{}", node.0))
    }

    /// What a node's tracer writes.
    pub(crate) fn trace(&self, node: NodeId) -> PathBuf {
        self.dir.join(format!("node-{}.strace", node.0))
    }

    pub(crate) fn log(&self, node: NodeId) -> PathBuf {
        self.dir.join(format!("node-{}.log", node.0))
    }

    /// What a node has said on standard error in all its lives.
    pub(crate) fn said(&self, node: NodeId) -> String {
        let said = fs::read(self.log(node)).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// How many lines of all nodes' logs hold one of these.
    pub(crate) fn lines_with(&self, any: &[&str]) -> u64 {
        let said: Vec<String> = self.nodes().iter().map(|node| self.said(*node)).collect();
        let lines = said.iter().flat_map(|said| said.lines());
        lines
            .filter(|line| any.iter().any(|what| line.contains(what)))
            .count() as u64
    }
}

/// A node that was started and not ended by us.
struct Life {
    child: Child,
    is_paused: bool,
}

/// The processes.
pub(crate) struct Cluster {
    lives: BTreeMap<NodeId, Life>,
    pub(crate) layout: Layout,
    pub(crate) proxies: Option<Proxies>,
    dies_with_us: bool,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for life in self.lives.values_mut() {
            // An error says that it is gone already. SIGKILL ends a paused process, too.
            let _gone = life.child.kill();
        }
        for life in self.lives.values_mut() {
            let _gone = life.child.wait();
        }
    }
}

impl Cluster {
    /// Starts nothing yet.
    pub(crate) fn new(layout: Layout, proxies: Option<Proxies>) -> Self {
        let probe = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stderr(Stdio::null())
            .status();
        Self {
            lives: BTreeMap::new(),
            layout,
            proxies,
            dies_with_us: probe.is_ok_and(|status| status.success()),
        }
    }

    /// Starts a node that does not run, under `wrapper` (a tracer and its options) if there is one.
    pub(crate) fn start(&mut self, node: NodeId, wrapper: &[String]) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("cannot start node {}: {error}", node.0);
        let mut words: Vec<String> = Vec::new();
        if self.dies_with_us {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(String::from));
        }
        words.extend(self.layout.prefix.get(&node).into_iter().flatten().cloned());
        words.extend(wrapper.iter().cloned());
        words.push(env!("CARGO_BIN_EXE_synod-kv").into());
        let log = self.open_log(node).map_err(failed)?;
        let peers = self.layout.peers.iter().map(|(peer, address)| {
            let proxy = self.proxies.as_ref();
            let proxy = proxy.and_then(|proxies| proxies.address(node, *peer));
            format!("{}={}", peer.0, proxy.unwrap_or(address))
        });
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["serve", "--exit-with-stdin", "--id", &node.0.to_string()])
            .args(["--peers", &peers.collect::<Vec<_>>().join(",")])
            .args(["--client-addr", &self.layout.clients[&node]])
            .arg("--data")
            .arg(self.layout.data(node))
            .env_remove("SYNOD_KV_CLUSTER")
            .envs(self.layout.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let is_paused = false;
        self.lives.insert(node, Life { child, is_paused });
        Ok(())
    }

    /// Connections with damaged bytes that have not ended yet.
    pub(crate) fn damaged(&self) -> u64 {
        let proxies = self.proxies.as_ref();
        proxies.map_or(0, |proxies| proxies.counts.damaged.load(Ordering::Relaxed))
    }

    fn open_log(&self, node: NodeId) -> std::io::Result<File> {
        let path = self.layout.log(node);
        OpenOptions::new().create(true).append(true).open(path)
    }

    pub(crate) fn runs(&self, node: NodeId) -> bool {
        self.lives.get(&node).is_some_and(|life| !life.is_paused)
    }

    pub(crate) fn is_down(&self, node: NodeId) -> bool {
        !self.lives.contains_key(&node)
    }

    /// SIGKILL: the process has no chance to finish anything. How it has ended, if it ran: perhaps
    /// by itself just before.
    pub(crate) fn kill(&mut self, node: NodeId) -> Result<Option<ExitStatus>, String> {
        let Some(mut life) = self.lives.remove(&node) else {
            return Ok(None);
        };
        let killed = life.child.kill().and_then(|()| life.child.wait());
        let killed = killed.map_err(|error| format!("cannot kill node {}: {error}", node.0));
        killed.map(Some)
    }

    /// SIGSTOP: everything stands still, and goes on later as if nothing had happened.
    pub(crate) fn pause(&mut self, node: NodeId) -> Result<bool, String> {
        self.signal(node, "STOP", true)
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self, node: NodeId) -> Result<bool, String> {
        self.signal(node, "CONT", false)
    }

    fn signal(&mut self, node: NodeId, name: &str, pauses: bool) -> Result<bool, String> {
        let Some(life) = self.lives.get_mut(&node) else {
            return Ok(false);
        };
        if life.is_paused == pauses {
            return Ok(false);
        }
        let process = life.child.id().to_string();
        let script = format!("kill -s {name} {process}");
        let sent = Command::new("sh").args(["-c", &script]).status();
        if !sent.is_ok_and(|status| status.success()) {
            return Err(format!("cannot send SIG{name} to node {}", node.0));
        }
        let until = Instant::now() + SOON;
        while is_stopped(&process) != pauses {
            if Instant::now() > until {
                return Err(format!("SIG{name} did nothing to node {}", node.0));
            }
            std::thread::yield_now();
        }
        life.is_paused = pauses;
        Ok(true)
    }

    /// Those that have ended by themselves, and how. They can be started again.
    pub(crate) fn ended(&mut self) -> Vec<(NodeId, ExitStatus)> {
        let mut ended = Vec::new();
        for (node, life) in &mut self.lives {
            if let Ok(Some(status)) = life.child.try_wait() {
                ended.push((*node, status));
            }
        }
        for (node, _) in &ended {
            self.lives.remove(node);
        }
        ended
    }

    /// Ends all nodes, and makes sure that nothing is left that speaks of this directory.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        for node in self.layout.nodes() {
            let status = self.kill(node)?;
            if let Some(status) = status.filter(|status| status.code().is_some()) {
                return Err(format!("node {} has ended by itself: {status}", node.0));
            }
        }
        let until = Instant::now() + SOON;
        loop {
            let left = processes_about(&self.layout.dir);
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("processes are left behind: {left:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The state of a process by proc(5): `T` is stopped by a signal.
fn is_stopped(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim());
    state.starts_with('T')
}

/// The command lines of running processes that mention `what`.
fn processes_about(what: &Path) -> Vec<String> {
    let what = what.display().to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = all.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines
        .filter(|line| line.contains(&what) && !line.contains("--inside"))
        .collect()
}
