//! The demonstration, and that it leaves nothing behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Process, processes_about, program, refusal, run, text};

#[test]
fn a_short_run_on_raft_loses_nothing() {
    a_short_run_loses_nothing("raft");
}

#[test]
fn a_short_run_on_multi_paxos_loses_nothing() {
    a_short_run_loses_nothing("multi-paxos");
}

#[test]
fn a_short_run_on_fast_paxos_loses_nothing() {
    a_short_run_loses_nothing("fast-paxos");
}

fn a_short_run_loses_nothing(protocol: &str) {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let output = run(&[
        "demo",
        "--seconds",
        "4",
        "--clients",
        "8",
        "--protocol",
        protocol,
        "--report",
        report.to_str().unwrap(),
    ]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    assert!(
        !said.contains('\x1b'),
        "no terminal, no escape sequences: {said}"
    );
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let number = |name: &str| json[name].as_f64().unwrap();
    assert_eq!(json["lost"], 0);
    assert_eq!(json["duplicated"], 0);
    assert_eq!(json["linearizable"], "yes");
    assert!(number("acknowledged") > 100.0, "{json}");
    assert!(number("failover_ms") > 0.0, "{json}");
    assert!(number("operations_per_second") > 10.0, "{json}");
    let latency = |name: &str| json["latency_ms"][name].as_f64().unwrap();
    let order = ["p50", "p90", "p99", "max"].map(latency);
    assert!(order.is_sorted() && order[0] > 0.0, "{json}");
    let last = format!(
        "acknowledged={} lost=0 duplicated=0 linearizable=yes failover_ms={}",
        json["acknowledged"], json["failover_ms"]
    );
    assert_eq!(said.lines().last(), Some(last.as_str()));
    let place = directory(&said);
    assert!(!place.exists(), "{} is left behind", place.display());
    assert!(processes_about(&place).is_empty());
}

/// The directory that the first line names.
fn directory(said: &str) -> PathBuf {
    let first = said.lines().next().unwrap();
    first.rsplit(' ').next().unwrap().into()
}

#[test]
fn commands_come_from_standard_input_if_asked_for() {
    let child = program(&[
        "demo",
        "--seconds",
        "3",
        "--clients",
        "4",
        "--input",
        "-",
        "--keep",
    ])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn();
    let mut child = child.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"put a 1\nput a 2\nget a\n").unwrap();
    // The pipe stays open: who never ends his input does not keep the demonstration from its end.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    assert!(said.contains("; 3 commands came from the input"), "{said}");
    let place = directory(&said);
    assert!(place.join("node-1").is_dir(), "{} is kept", place.display());
    std::fs::remove_dir_all(place).unwrap();
}

#[test]
fn bad_input_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("commands");
    std::fs::write(&input, "put a 1\nfly\n").unwrap();
    let output = run(&["demo", "--input", input.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(text(&output.stderr).contains("commands, line 2: `fly` is none of"));
    let missing = run(&["demo", "--input", "/no/such/file"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("cannot read /no/such/file"));
    assert!(refusal(&["demo", "--input"]).contains("--input"));
}

/// Starts a demonstration and waits until its nodes run.
fn under_way() -> (Process, PathBuf) {
    let child = program(&["demo", "--seconds", "20", "--clients", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut process = Process(child.unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let place = directory(&lines.next().unwrap().unwrap());
    for line in lines.by_ref() {
        if line.unwrap().contains("was elected leader") {
            break;
        }
    }
    assert_eq!(processes_about(&place).len(), 3);
    std::thread::spawn(move || lines.count());
    (process, place)
}

fn no_process_is_left(place: &std::path::Path) {
    let until = Instant::now() + Duration::from_secs(10);
    while !processes_about(place).is_empty() {
        assert!(Instant::now() < until, "{:?}", processes_about(place));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_ends_it_and_its_nodes() {
    for signal in ["-TERM", "-INT"] {
        let (mut process, place) = under_way();
        let id = process.0.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(process.end(Duration::from_secs(10)).code(), Some(1));
        no_process_is_left(&place);
        assert!(!place.exists(), "{} is left behind", place.display());
    }
}

#[test]
fn its_nodes_do_not_outlive_its_sudden_death() {
    let (mut process, place) = under_way();
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    no_process_is_left(&place);
    std::fs::remove_dir_all(place).unwrap();
}
