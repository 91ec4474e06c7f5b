//! What `--help` prints.

pub(crate) const MAIN: &str = "\
synod-kv: a key-value service that survives the loss of its leader

  synod-kv demo     start three nodes, load them, kill the leader, check that nothing was lost
  synod-kv serve    run one node of a cluster
  synod-kv put      set a key
  synod-kv get      read a key
  synod-kv status   what each node is doing
  synod-kv members  who belongs to the cluster; add and remove nodes that do not vote

`synod-kv COMMAND --help` tells more.
";

pub(crate) const DEMO: &str = "\
synod-kv demo: a cluster of real processes on this machine, and proof that it loses nothing

It starts the nodes with write-ahead logs in a temporary directory and TCP on loopback, drives them
with concurrent clients, kills the leader with SIGKILL in the middle, restarts it, and checks from
the outside that every acknowledged write is there exactly once and that what clients saw is
linearizable. The last line holds the figures. It exits with 0 only if every check has passed.

  --seconds N      how long the load lasts, 3 to 30 (12)
  --nodes N        3 to 9 (3; with fast-paxos 5, of which four choose fast)
  --clients N      1 to 256 (16)
  --input FILE     commands to run besides the generated load; `-` reads standard input
                   (a bundled sample). One command a line: put KEY VALUE, get KEY,
                   append KEY VALUE, delete KEY, cas KEY OLD NEW; # begins a comment
  --report FILE    write the figures as JSON
  --keep           keep the directory with the logs
  --protocol NAME  raft, multi-paxos or fast-paxos (raft)
";

pub(crate) const SERVE: &str = "\
synod-kv serve: run one node

  --id N                     which of --peers this node is
  --peers ID=HOST:PORT,...   all nodes, this one too: where they talk to each other
  --data DIR                 where the write-ahead log is; made if it is not there
  --client-addr HOST:PORT    where clients are served
  --cluster-id N             nodes of another cluster are refused (1)
  --join                     join a cluster that runs: see `members add-learner`
  --exit-with-stdin          stop when standard input ends, as when a parent process dies
  --protocol NAME            raft, multi-paxos or fast-paxos: the same on all nodes (raft)

Traffic between nodes and from clients is neither encrypted nor authenticated here: use it on
loopback or a private network. synod-node has mutual TLS.
";

pub(crate) const CLIENT: &str = "\
synod-kv put KEY VALUE --cluster ...
synod-kv get KEY [--stale] --cluster ...
synod-kv status --cluster ...
synod-kv members [list | add-learner ID=HOST:PORT | remove-learner ID] --cluster ...

  --cluster ID=HOST:PORT,...  the client addresses of the nodes; or set SYNOD_KV_CLUSTER
  --stale                     ask any one node, which may lag behind

A put is applied once, however often it is tried again. A get is linearizable: it sees every write
that was acknowledged before it began.
";
