//! A network of our own: a namespace for each node, on one bridge, with packet filters.

use std::process::Command;

use synod_core::NodeId;

use crate::cluster::Layout;

fn address(node: NodeId) -> String {
    format!("10.77.0.{}", node.0)
}

fn namespace(node: NodeId) -> String {
    format!("node{}", node.0)
}

/// Runs a command that must succeed; what it prints.
fn run(words: &str) -> Result<String, String> {
    let parts: Vec<&str> = words.split_whitespace().collect();
    let output = Command::new(parts[0]).args(&parts[1..]).output();
    let output = output.map_err(|error| format!("{}: {error}", parts[0]))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{words}: {}", why.trim()))
}

/// Makes the network, in a namespace (of network and mounts) that only we see.
pub(crate) fn set_up(nodes: u64) -> Result<(), String> {
    run("mount -t tmpfs none /run")?;
    std::fs::create_dir("/run/netns").map_err(|error| error.to_string())?;
    run("ip link set lo up")?;
    run("ip link add bridge type bridge")?;
    run("ip addr add 10.77.0.254/24 dev bridge")?;
    run("ip link set bridge up")?;
    for node in (1..=nodes).map(NodeId) {
        let (name, n) = (namespace(node), node.0);
        run(&format!("ip netns add {name}"))?;
        run(&format!(
            "ip link add to{n} type veth peer name eth0 netns {name}"
        ))?;
        run(&format!("ip link set to{n} master bridge up"))?;
        run(&format!(
            "ip -n {name} addr add {}/24 dev eth0",
            address(node)
        ))?;
        run(&format!("ip -n {name} link set lo up"))?;
        run(&format!("ip -n {name} link set eth0 up"))?;
        nft(node, "add table ip synod")?;
        nft(
            node,
            "add chain ip synod in { type filter hook input priority 0 ; }",
        )?;
    }
    Ok(())
}

/// Where nodes are in it.
pub(crate) fn lay_out(layout: &mut Layout) {
    for node in layout.nodes() {
        layout.peers.insert(node, format!("{}:7000", address(node)));
        let prefix = ["ip", "netns", "exec", &namespace(node)].map(String::from);
        layout.prefix.insert(node, prefix.to_vec());
    }
    let clients = layout.nodes();
    let clients = clients
        .iter()
        .map(|node| (*node, format!("{}:8000", address(*node))));
    layout.clients = std::sync::Arc::new(clients.collect());
}

fn nft(node: NodeId, what: &str) -> Result<String, String> {
    run(&format!("ip netns exec {} nft {what}", namespace(node)))
}

/// Nothing of what these send arrives at `node`.
pub(crate) fn drop_from(node: NodeId, from: &[NodeId]) -> Result<(), String> {
    for other in from {
        let from = address(*other);
        nft(
            node,
            &format!("add rule ip synod in ip saddr {from} counter drop"),
        )?;
    }
    Ok(())
}

/// Of what the nodes send to `node`, so many packets of a hundred do not arrive.
pub(crate) fn lose(node: NodeId, percent: u64) -> Result<(), String> {
    let rule = format!(
        "add rule ip synod in ip saddr != 10.77.0.254 numgen random mod 100 < {percent} counter drop"
    );
    nft(node, &rule).map(drop)
}

/// Nothing is dropped any more at `node`; how many packets were.
pub(crate) fn heal(node: NodeId) -> Result<u64, String> {
    let rules = nft(node, "list chain ip synod in")?;
    nft(node, "flush chain ip synod in")?;
    let words: Vec<&str> = rules.split_whitespace().collect();
    let counted = words.windows(2).filter(|pair| pair[0] == "packets");
    Ok(counted.filter_map(|pair| pair[1].parse::<u64>().ok()).sum())
}
