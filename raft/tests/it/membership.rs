//! Who belongs to the cluster (dissertation §4).

use synod_core::{
    Change, Encode, Entries, Entry, EntryKind, LogEvent, LogImage, LogIndex, Machine, NodeId,
    Refusal, ReplicatedLog, Role,
};
use synod_raft::{Append, Body, Config, Detail, Round, Term};

use crate::cluster::{Cluster, ms, n};
use crate::solo::{Solo, append, appended, at};

fn add(cluster: &mut Cluster, leader: NodeId, change: Change) {
    let now = cluster.now;
    cluster.raft(leader.0).reconfigure(now, change).unwrap();
    cluster.run(ms(5));
}

/// Node 4 starts with an empty disk and connects.
fn join(cluster: &mut Cluster, life: u64) {
    cluster.start(n(4), LogImage::new(), life);
    cluster.connect();
}

#[test]
fn a_learner_gets_the_log_and_does_not_count() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.propose(leader, "a").unwrap();
    cluster.settle();
    join(&mut cluster, 0);
    add(&mut cluster, leader, Change::AddLearner(n(4)));
    cluster.run(ms(100));
    assert_eq!(cluster.commands(4), ["a"]);
    assert_eq!(cluster.raft(4).status().role, Role::Learner);
    let others: Vec<NodeId> = (1..=3).map(n).filter(|id| *id != leader).collect();
    others.iter().for_each(|id| cluster.isolate(*id));
    let ticket = cluster.propose(leader, "b").unwrap();
    cluster.run(ms(50));
    assert_eq!(
        cluster.outcome(leader, ticket),
        [""; 0],
        "leader and learner are no majority"
    );
    cluster.heal();
    cluster.run(ms(500));
    assert_eq!(cluster.outcome(leader, ticket).len(), 1);
}

#[test]
fn a_removed_learner_is_left_alone_and_disturbs_nobody() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    join(&mut cluster, 0);
    add(&mut cluster, leader, Change::AddLearner(n(4)));
    add(&mut cluster, leader, Change::RemoveLearner(n(4)));
    let term = cluster.raft(leader.0).status().era;
    cluster.propose(leader, "after").unwrap();
    cluster.run(ms(3000));
    assert!(!cluster.commands(4).contains(&"after".to_owned()));
    assert_eq!(cluster.raft(leader.0).status().era, term);
    assert_eq!(
        cluster.raft(4).deadline(),
        None,
        "who does not vote never stands"
    );
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let mut solo = Solo::leading(|builder| builder);
    let mut refusal = |change| solo.raft.reconfigure(solo.now, change).unwrap_err().refusal;
    let text = |refusal: Refusal| refusal.to_string();
    assert_eq!(
        text(refusal(Change::AddLearner(n(2)))),
        "n2 is a member already"
    );
    assert_eq!(
        text(refusal(Change::RemoveLearner(n(7)))),
        "n7 is not a learner"
    );
    let voters = refusal(Change::Voters(vec![n(1)]));
    assert!(matches!(voters, Refusal::Unsupported(_)));
}

#[test]
fn no_change_before_the_term_has_committed_and_one_at_a_time() {
    let mut solo = Solo::new(1, 3);
    solo.win(&[2]);
    let early = solo.raft.reconfigure(solo.now, Change::AddLearner(n(7)));
    assert_eq!(
        early.unwrap_err().refusal,
        Refusal::ChangeUnderWay(LogIndex(1))
    );
    solo.say(2, 1, appended(1, 0));
    solo.raft
        .reconfigure(solo.now, Change::AddLearner(n(7)))
        .unwrap();
    solo.settle();
    let second = solo.raft.reconfigure(solo.now, Change::AddLearner(n(8)));
    assert_eq!(
        second.unwrap_err().refusal,
        Refusal::ChangeUnderWay(LogIndex(2))
    );
    solo.say(2, 1, appended(2, 0));
    assert!(
        solo.raft
            .reconfigure(solo.now, Change::AddLearner(n(8)))
            .is_ok()
    );
}

/// The entry with which a leader of three adds node 7, as an append behind `before`.
fn config_entry(before: synod_raft::Position, term: u64) -> Body {
    let mut leader = Solo::leading(|builder| builder);
    leader
        .raft
        .reconfigure(leader.now, Change::AddLearner(n(7)))
        .unwrap();
    leader.settle();
    let config = leader.image.get(LogIndex(2)).unwrap().1.clone();
    assert_eq!(config.kind, EntryKind::Config);
    Body::Append(Append {
        before: before.term,
        entries: Entries::new(before.index.next(), Term(term).stamp(), [config]),
        commit: LogIndex(0),
        round: Round(0),
    })
}

#[test]
fn a_configuration_counts_when_appended_and_is_rolled_back_with_the_tail() {
    let mut solo = Solo::new(1, 3);
    solo.say(2, 1, config_entry(at(0, 0), 1));
    assert_eq!(
        solo.status().learners,
        [n(7)],
        "before it is durable, before it is committed"
    );
    solo.settle();
    solo.say(3, 2, append(at(0, 0), 2, 1, 0));
    assert_eq!(solo.status().learners, []);
    let last = solo.events.iter().rev().find_map(|event| match event {
        LogEvent::Detail(Detail::Membership { learners, .. }) => Some(learners.len()),
        _ => None,
    });
    assert_eq!(last, Some(0), "and the application is told");
}

#[test]
fn a_restart_finds_the_configuration_in_the_log_and_in_the_snapshot() {
    let mut solo = Solo::with(1, 1, |builder| builder.retained_entries(0));
    solo.wake();
    solo.settle();
    solo.raft
        .reconfigure(solo.now, Change::AddLearner(n(7)))
        .unwrap();
    solo.settle();
    let again = Solo::on(1, 1, solo.image.clone(), |builder| builder);
    assert_eq!(again.status().learners, [n(7)], "from the log");
    let meta = solo.raft.describe(LogIndex(2)).unwrap();
    let (id, lane) = (meta.id, synod_core::Lane::Taken);
    let chunk = bytes::Bytes::new();
    let offset = 0;
    solo.image
        .apply(synod_core::LogRecord::Stage {
            lane,
            id,
            offset,
            chunk,
        })
        .unwrap();
    let log = synod_core::OldLog::Keep;
    solo.image
        .apply(synod_core::LogRecord::Activate {
            meta: meta.clone(),
            log,
        })
        .unwrap();
    solo.raft.compact(solo.now, meta);
    solo.settle();
    let again = Solo::on(1, 1, solo.image, |builder| builder);
    assert_eq!(again.status().compacted, LogIndex(2));
    assert_eq!(again.status().learners, [n(7)], "from the snapshot");
}

#[test]
fn a_node_that_lost_its_disk_is_recognised_and_stops() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    let victim = n(leader.0 % 3 + 1);
    cluster.crash(victim);
    let life = cluster.server(victim.0).life + 1;
    cluster.start(victim, LogImage::new(), life);
    cluster.connect();
    cluster.run(ms(1000));
    assert_eq!(cluster.raft(victim.0).status().role, Role::Stopped);
    let told = cluster.server(leader.0).events.iter().any(
        |event| matches!(event, LogEvent::Detail(Detail::Amnesia { peer, .. }) if *peer == victim),
    );
    assert!(told, "the application of the leader learns of it");
    assert_eq!(cluster.raft(leader.0).status().role, Role::Leader);
}

#[test]
fn a_learner_with_a_new_disk_is_welcome_after_its_removal() {
    // Also if everybody restarts in between: who was taken out is forgotten durably.
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    join(&mut cluster, 0);
    add(&mut cluster, leader, Change::AddLearner(n(4)));
    cluster.run(ms(200));
    add(&mut cluster, leader, Change::RemoveLearner(n(4)));
    cluster.run(ms(200));
    cluster.crash(n(4));
    cluster.servers.remove(&n(4));
    let image = cluster.server(leader.0).image.clone();
    let config = Config::builder(leader)
        .voters((1..=3).map(n))
        .build()
        .unwrap();
    let again = synod_raft::Raft::new(config, image.restored(usize::MAX), cluster.now).unwrap();
    let mut raft = again;
    // What it remembers shows in what it answers to a new disk under the old name.
    raft.link(
        cluster.now,
        n(4),
        synod_core::Link::Up(synod_core::LinkId(1)),
    );
    let envelope = synod_core::Envelope {
        from: n(4),
        to: leader,
        link: synod_core::LinkId(1),
        message: synod_raft::Message {
            generation: synod_core::Generation(77),
            term: Term(0),
            body: Body::Read {
                life: 1,
                ticket: synod_core::Ticket(1),
            },
        },
    };
    raft.step(cluster.now, envelope);
    while let Some(output) = raft.poll() {
        if let synod_core::Output::Send(envelope) = output {
            let stranger = matches!(envelope.message.body, Body::Stranger { .. });
            assert!(!stranger, "the disk that it had is forgotten");
        }
    }
}

#[test]
fn an_unreadable_configuration_in_the_log_stops_the_node() {
    let mut solo = Solo::new(1, 3);
    let entry = Entry {
        kind: EntryKind::Config,
        payload: bytes::Bytes::from_static(b"nonsense"),
    };
    let body = Body::Append(Append {
        before: Term(0),
        entries: Entries::new(LogIndex(1), Term(1).stamp(), [entry]),
        commit: LogIndex(0),
        round: Round(0),
    });
    solo.say(2, 1, body);
    assert_eq!(
        solo.stopped(),
        Some("configurations in the log are readable")
    );
}

#[test]
fn a_membership_has_one_encoding() {
    use synod_core::Decode;
    let solo = Solo::leading(|builder| builder.learners([n(9), n(5)]));
    let bytes = solo.raft.describe(LogIndex(1)).unwrap().config;
    let membership = synod_raft::Membership::decode_all(bytes.clone()).unwrap();
    assert_eq!(membership.learners(), [n(5), n(9)]);
    assert_eq!(Encode::to_bytes(&membership), bytes);
}
