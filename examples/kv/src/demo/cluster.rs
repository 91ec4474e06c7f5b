//! The nodes as processes. However this ends, none of them is left behind: they are killed when
//! this is dropped, and end by themselves when the pipe to them closes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use synod_core::NodeId;
use tempfile::TempDir;

use crate::args::{Addresses, DemoArgs};
use crate::protocol::ProtocolName;
use crate::say::complain;
use crate::serve::fresh_seed;

/// The nodes, their addresses and their directory.
pub(crate) struct Cluster {
    // Dropped first: the processes go before their directory does.
    children: Children,
    dir: Dir,
    peers: Addresses,
    clients: Arc<Addresses>,
    id: u64,
    protocol: ProtocolName,
}

enum Dir {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Dir {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }
}

#[derive(Default)]
struct Children(BTreeMap<NodeId, Child>);

impl Children {
    fn kill(&mut self, node: NodeId) {
        if let Some(mut child) = self.0.remove(&node) {
            // An error says that it is gone already.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            let _gone = child.kill();
        }
        for child in self.0.values_mut() {
            let _gone = child.wait();
        }
    }
}

impl Cluster {
    /// Finds a directory and free ports; starts nothing.
    pub(crate) fn new(args: &DemoArgs) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("synod-kv-").tempdir();
        let dir = dir.map_err(|error| format!("no temporary directory: {error}"))?;
        let dir = if args.keep {
            Dir::Kept(dir.keep())
        } else {
            Dir::Temporary(dir)
        };
        let mut ports = free_ports(2 * args.nodes)?.into_iter();
        let mut addresses = || -> Addresses {
            let addresses = ports
                .by_ref()
                .take(usize::try_from(args.nodes).unwrap_or(0));
            let addresses = addresses.map(|port| format!("127.0.0.1:{port}"));
            (1..).map(NodeId).zip(addresses).collect()
        };
        Ok(Self {
            children: Children::default(),
            dir,
            peers: addresses(),
            clients: Arc::new(addresses()),
            id: fresh_seed(),
            protocol: args.protocol,
        })
    }

    /// Where clients are served.
    pub(crate) fn clients(&self) -> Arc<Addresses> {
        Arc::clone(&self.clients)
    }

    /// Where the logs are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory, if it is to stay.
    pub(crate) fn kept(&self) -> Option<&Path> {
        match &self.dir {
            Dir::Temporary(_) => None,
            Dir::Kept(dir) => Some(dir),
        }
    }

    fn log_of(&self, node: NodeId) -> PathBuf {
        self.dir().join(format!("node-{}.log", node.0))
    }

    fn open_log(&self, node: NodeId) -> std::io::Result<File> {
        let path = self.log_of(node);
        OpenOptions::new().create(true).append(true).open(path)
    }

    /// Starts a node that does not run.
    pub(crate) fn start(&mut self, node: NodeId) -> Result<(), String> {
        let failed = |error| format!("cannot start node {}: {error}", node.0);
        let peers = self
            .peers
            .iter()
            .map(|(id, address)| format!("{}={address}", id.0));
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .args([
                "serve",
                "--exit-with-stdin",
                "--protocol",
                self.protocol.as_str(),
            ])
            .args(["--id", &node.0.to_string()])
            .args(["--peers", &peers.collect::<Vec<_>>().join(",")])
            .args(["--client-addr", &self.clients[&node]])
            .args(["--cluster-id", &self.id.to_string()])
            .arg("--data")
            .arg(self.dir().join(format!("node-{}", node.0)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(self.open_log(node).map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        self.children.0.insert(node, child);
        Ok(())
    }

    /// SIGKILL: the process has no chance to finish anything.
    pub(crate) fn kill(&mut self, node: NodeId) {
        self.children.kill(node);
    }

    /// Ends all nodes.
    pub(crate) fn stop(&mut self) {
        self.children = Children::default();
    }

    /// Whether all that were started and not killed still run.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        for (node, child) in &mut self.children.0 {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("node {} has ended by itself: {status}", node.0));
            }
        }
        Ok(())
    }

    /// For when something went wrong: what the nodes have said last.
    pub(crate) fn show_logs(&self) {
        for node in self.clients.keys() {
            let log = std::fs::read_to_string(self.log_of(*node)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(12)..] {
                complain(&format!("  {line}"));
            }
        }
    }
}

/// Ports that nobody uses, below those that the system gives to outgoing connections: a node that
/// is down must find its port free when it comes back.
///
/// # Errors
///
/// If there are not so many.
pub fn free_ports(count: u64) -> Result<Vec<u16>, String> {
    const LOWEST: u64 = 10_000;
    const HIGHEST: u64 = 32_000;
    let seed = fresh_seed();
    let mut held = BTreeMap::new();
    for attempt in 0..10_000 {
        let port = LOWEST + synod_core::mix(seed, attempt) % (HIGHEST - LOWEST);
        let port = u16::try_from(port).unwrap_or(u16::MAX);
        if held.contains_key(&port) {
            continue;
        }
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.insert(port, listener);
        }
        if held.len() as u64 == count {
            return Ok(held.into_keys().collect());
        }
    }
    Err("found no free ports on 127.0.0.1".into())
}
