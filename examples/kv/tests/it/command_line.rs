//! What the program says to a command line.

use crate::support::{refusal, run, text};

#[test]
fn help_is_there_for_everything() {
    for (args, says) in [
        (&["--help"][..], "synod-kv demo"),
        (&[][..], "synod-kv demo"),
        (&["demo", "--help"][..], "--seconds N"),
        (&["serve", "-h"][..], "--client-addr HOST:PORT"),
        (&["put", "--help"][..], "SYNOD_KV_CLUSTER"),
        (&["members", "--help"][..], "add-learner"),
    ] {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(text(&output.stdout).contains(says), "{args:?}: {output:?}");
    }
}

#[test]
fn every_broken_rule_is_named_with_its_values() {
    let serve = |peers, id, client| {
        refusal(&[
            "serve",
            "--peers",
            peers,
            "--id",
            id,
            "--data",
            "d",
            "--client-addr",
            client,
        ])
    };
    let two = "1=127.0.0.1:7001,2=127.0.0.1:7002";
    let free = "127.0.0.1:8001";
    for (said, says) in [
        (refusal(&["fly"]), "there is no command `fly`"),
        (refusal(&["--fly"]), "--fly"),
        (refusal(&["serve"]), "serve needs --id N"),
        (
            serve(two, "3", free),
            "--id (3) must be one of --peers (1, 2)",
        ),
        (serve(two, "0", free), "node id (0) must be a number from 1"),
        (serve("", "1", free), "--peers () must be ID=HOST:PORT"),
        (
            serve("1=here", "1", free),
            "address (here) must be HOST:PORT",
        ),
        (
            serve("1=127.0.0.1:7001,1=127.0.0.1:7002", "1", free),
            "--peers has node 1 twice, at 127.0.0.1:7001 and at 127.0.0.1:7002",
        ),
        (
            serve("1=127.0.0.1:7001,2=127.0.0.1:7001", "1", free),
            "--peers has 127.0.0.1:7001 twice, for node 1 and node 2",
        ),
        (
            serve(two, "1", "127.0.0.1:7002"),
            "--client-addr (127.0.0.1:7002) must differ",
        ),
        (
            refusal(&["demo", "--protocol", "pigeons"]),
            "--protocol (pigeons) must be one of: raft, multi-paxos, fast-paxos",
        ),
        (
            refusal(&["demo", "--seconds", "600"]),
            "--seconds (600) must be a number from 3 to 30",
        ),
        (
            refusal(&["demo", "--nodes", "0"]),
            "--nodes (0) must be a number from 3 to 9",
        ),
        (refusal(&["put", "k", "v"]), "put needs --cluster"),
        (
            refusal(&["put", "--cluster", two, "k"]),
            "put needs KEY and VALUE, not 1 words",
        ),
        (
            refusal(&["members", "--cluster", two, "fire", "2"]),
            "members takes: list, add-learner",
        ),
    ] {
        assert!(said.contains(says), "`{said}` does not say `{says}`");
    }
}

#[test]
fn without_nodes_it_says_so() {
    let output = run(&["put", "--cluster", "1=127.0.0.1:1", "k", "v"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.contains("no answer within 5 s from 127.0.0.1:1"),
        "{said}"
    );
    assert!(said.contains("did not happen"), "{said}");
}
