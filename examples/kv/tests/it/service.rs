//! A cluster by hand: `serve`, `put`, `get`, `status`, `members`.

use std::time::Duration;

use crate::support::{Cluster, program, text};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_cluster_serves_and_outlives_a_node() {
    let cluster = Cluster::new(3);
    let mut nodes: Vec<_> = (1..=3).map(|id| cluster.start(id)).collect();
    assert_eq!(cluster.told(&["put", "greeting", "hello, world"]), "ok\n");
    assert_eq!(cluster.told(&["get", "greeting"]), "hello, world\n");

    let status = cluster.told(&["status"]);
    assert_eq!(
        status.matches("leader ").count(),
        2,
        "a heading and one leader: {status}"
    );
    let members = cluster.told(&["members"]);
    assert_eq!(members.matches("votes").count(), 3, "{members}");
    assert_eq!(members.matches("leads").count(), 1, "{members}");

    let voter = cluster.ask(&["members", "add-learner", "2=127.0.0.1:1"]);
    assert!(text(&voter.stderr).contains("node 2 belongs to the cluster already"));

    let missing = cluster.ask(&["get", "nothing"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("there is no key `nothing`"));

    drop(nodes.remove(0));
    assert_eq!(cluster.told(&["put", "greeting", "still here"]), "ok\n");
    assert_eq!(cluster.told(&["get", "greeting"]), "still here\n");
    let status = cluster.told(&["status"]);
    assert!(status.contains("no answer from"), "{status}");
}

#[test]
fn a_learner_comes_and_goes() {
    let all = Cluster::new(4);
    let founders: Vec<&str> = all.peers.split(',').take(3).collect();
    let cluster = Cluster {
        peers: founders.join(","),
        clients: all.clients.split(',').take(3).collect::<Vec<_>>().join(","),
        dir: tempfile::tempdir().unwrap(),
        client_addresses: all.client_addresses.clone(),
    };
    let _nodes: Vec<_> = (1..=3).map(|id| cluster.start(id)).collect();
    assert_eq!(cluster.told(&["put", "k", "v"]), "ok\n");
    let joining = [
        "serve",
        "--join",
        "--id",
        "4",
        "--peers",
        &all.peers,
        "--client-addr",
        &all.client_addresses[3],
        "--data",
        &cluster.data(4),
    ];
    let learner = program(&joining)
        .stderr(std::process::Stdio::null())
        .spawn();
    let _learner = crate::support::Process(learner.unwrap());
    let address = all.peers.split(',').next_back().unwrap();
    cluster.told(&["members", "add-learner", address]);
    assert!(
        cluster
            .told(&["members"])
            .contains("node 4: learns, does not vote")
    );
    let at_learner = all.clients.split(',').next_back().unwrap();
    let until = std::time::Instant::now() + SOON;
    loop {
        let copy = cluster.ask(&["get", "k", "--stale", "--cluster", at_learner]);
        if text(&copy.stdout) == "v\n" {
            break;
        }
        assert!(
            std::time::Instant::now() < until,
            "the learner has learned nothing: {copy:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.told(&["members", "remove-learner", "4"]);
    assert!(!cluster.told(&["members"]).contains("node 4"));
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let cluster = Cluster::new(1);
    let _node = cluster.start(1);
    assert_eq!(cluster.told(&["put", "k", "v"]), "ok\n");
    let again = program(&[
        "serve",
        "--id",
        "1",
        "--peers",
        "1=127.0.0.1:0",
        "--client-addr",
        "127.0.0.1:1",
        "--data",
        &cluster.data(1),
    ]);
    let again = { again }.output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let said = text(&again.stderr);
    assert!(said.contains("is in use by another process"), "{said}");
    assert!(said.contains(&cluster.data(1)), "{said}");
}

#[test]
fn a_node_ends_with_its_standard_input_and_keeps_what_it_has() {
    let cluster = Cluster::new(1);
    let mut node = cluster.start(1);
    assert_eq!(cluster.told(&["put", "k", "v"]), "ok\n");
    drop(node.0.stdin.take());
    assert!(node.end(SOON).success());
    let _node = cluster.start(1);
    assert_eq!(cluster.told(&["get", "k"]), "v\n");
}

#[test]
fn the_directory_of_another_node_is_refused() {
    let cluster = Cluster::new(2);
    let mut node = cluster.start(1);
    std::thread::sleep(Duration::from_millis(300));
    drop(node.0.stdin.take());
    node.end(SOON);
    let other = program(&[
        "serve",
        "--id",
        "2",
        "--peers",
        &cluster.peers,
        "--client-addr",
        &cluster.client_addresses[1],
        "--data",
        &cluster.data(1),
    ]);
    let other = { other }.output().unwrap();
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    let said = text(&other.stderr);
    assert!(said.contains("n1") && said.contains("n2"), "{said}");
}
