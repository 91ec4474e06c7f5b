//! The program, and clusters of it.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program with these arguments, with nothing on standard input.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod-kv"));
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("SYNOD_KV_CLUSTER");
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    program(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it says when it refuses its command line.
pub(crate) fn refusal(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    text(&output.stderr)
}

/// A process that does not outlive its test.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

impl Process {
    /// Waits for its end, but not for long.
    pub(crate) fn end(&mut self, within: Duration) -> std::process::ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it did not end within {within:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A port that nobody uses, below those that the system gives to outgoing connections: a node that
/// comes back must find its port free, and a dial to a dead node must not reach itself.
fn free_port() -> TcpListener {
    let draws = (0_u64..).map(|n| RandomState::new().hash_one(n));
    let ports = draws.map(|draw| u16::try_from(10_000 + draw % 22_000).unwrap());
    let mut free = ports.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    free.next().unwrap()
}

/// A cluster in a directory of its own.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) peers: String,
    pub(crate) clients: String,
    pub(crate) client_addresses: Vec<String>,
}

impl Cluster {
    pub(crate) fn new(nodes: usize) -> Self {
        let held: Vec<TcpListener> = (0..2 * nodes).map(|_| free_port()).collect();
        let addresses: Vec<String> = held
            .iter()
            .map(|listener| listener.local_addr().unwrap().to_string())
            .collect();
        let list = |part: &[String]| {
            let named = part.iter().zip(1..).map(|(at, id)| format!("{id}={at}"));
            named.collect::<Vec<_>>().join(",")
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            peers: list(&addresses[..nodes]),
            clients: list(&addresses[nodes..]),
            client_addresses: addresses[nodes..].to_vec(),
        }
    }

    pub(crate) fn data(&self, id: usize) -> String {
        self.dir
            .path()
            .join(format!("node-{id}"))
            .display()
            .to_string()
    }

    pub(crate) fn start(&self, id: usize) -> Process {
        let args = [
            "serve",
            "--exit-with-stdin",
            "--id",
            &id.to_string(),
            "--peers",
            &self.peers,
            "--client-addr",
            &self.client_addresses[id - 1],
            "--data",
            &self.data(id),
        ];
        let child = program(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Process(child.unwrap())
    }

    /// Runs a client's command.
    pub(crate) fn ask(&self, args: &[&str]) -> Output {
        program(args)
            .env("SYNOD_KV_CLUSTER", &self.clients)
            .output()
            .unwrap()
    }

    /// Runs a client's command that must succeed; what it prints.
    pub(crate) fn told(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout)
    }
}

/// The ids of running processes whose command line mentions `what`.
pub(crate) fn processes_about(what: &Path) -> Vec<String> {
    let what = what.display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let about = all.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&what)
    });
    about
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
