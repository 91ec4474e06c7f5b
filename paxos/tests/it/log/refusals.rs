//! What a configuration or a start is refused for, word by word.

use synod_core::{Entries, Entry, EntryKind, Instant, LogImage, LogRecord, Restored, Stamp};
use synod_paxos::log::{Config, ConfigBuilder, MultiPaxos};
use synod_quorum::{PaxosPhases, Quorum};

use super::cluster::{i, ms, n};
use super::solo::{Solo, accept, b, votes};

fn refused(configure: impl Fn(ConfigBuilder) -> ConfigBuilder) -> String {
    let builder = Config::builder(n(1)).voters([n(1), n(2), n(3)]);
    configure(builder).build().unwrap_err().to_string()
}

#[test]
fn each_rule_of_the_settings_has_its_words() {
    assert_eq!(
        refused(|b| b.election_round(ms(20))),
        "election_round (20ms) must be at least the heartbeat_interval (50ms), which must not be 0"
    );
    assert_eq!(
        refused(|b| b.heartbeat_interval(ms(0))),
        "election_round (100ms) must be at least the heartbeat_interval (0ns), which must not be 0"
    );
    assert_eq!(
        refused(|b| b.max_accept_bytes(9 << 20)),
        "max_accept_bytes (9437184) must not be greater than max_in_flight bytes (8388608)"
    );
    assert_eq!(
        refused(|b| b.max_command_bytes(100).max_uncommitted_bytes(99)),
        "max_command_bytes (100) must not be greater than max_uncommitted_bytes (99)"
    );
}

#[test]
fn a_limit_of_nothing_is_refused_by_name() {
    type Set = fn(ConfigBuilder) -> ConfigBuilder;
    let zeros: [(&str, Set); 10] = [
        ("max_command_bytes", |b| b.max_command_bytes(0)),
        ("max_accept_bytes", |b| b.max_accept_bytes(0)),
        ("max_in_flight messages", |b| b.max_in_flight(0, 1)),
        ("max_in_flight bytes", |b| b.max_in_flight(1, 0)),
        ("max_uncommitted_bytes", |b| b.max_uncommitted_bytes(0)),
        ("max_unapplied_bytes", |b| b.max_unapplied_bytes(0)),
        ("max_log_bytes", |b| b.max_log_bytes(0)),
        ("max_pending_reads", |b| b.max_pending_reads(0)),
        ("snapshot_chunk_bytes", |b| b.snapshot_chunk_bytes(0)),
        ("writes_in_flight", |b| b.writes_in_flight(0)),
    ];
    for (name, zero) in zeros {
        assert_eq!(refused(zero), format!("{name} (0) must be at least 1"));
    }
}

#[test]
fn voters_and_learners_are_distinct_members() {
    let voters =
        |ids: &'static [u64]| move |b: ConfigBuilder| b.voters(ids.iter().map(|id| n(*id)));
    assert_eq!(
        refused(voters(&[1, 2, 2])),
        "the voters are not usable: n2 is listed twice"
    );
    assert_eq!(
        refused(voters(&[2, 3])),
        "n1 is neither a voter nor a learner of the cluster that it is to found"
    );
    assert_eq!(
        refused(|b| b.learners([n(2)])),
        "n2 is named twice among voters and learners"
    );
    assert_eq!(
        refused(|b| b.learners([n(4), n(4)])),
        "n4 is named twice among voters and learners"
    );
    let none = refused(|b| b.voters([]).learners([n(1)]));
    assert!(none.starts_with("the voters are not usable: "), "{none}");
    // Who names nobody waits to be taken in.
    assert!(Config::builder(n(1)).build().is_ok());
    assert!(
        Config::builder(n(1))
            .voters([n(2)])
            .learners([n(1)])
            .build()
            .is_ok()
    );
}

/// Phases that miss each other are refused where they are made.
#[test]
fn quorums_that_miss_each_other_are_refused() {
    let count = |need| Quorum::count(need, (1..=4).map(n)).unwrap();
    let refused = PaxosPhases::new(&count(2), &count(2)).unwrap_err();
    let text = "phase-1 quorum {n1, n2} and phase-2 quorum {n3, n4} have no node in common";
    assert_eq!(refused.to_string(), text);
}

// What is on disk.

fn config() -> Config {
    Config::builder(n(1))
        .voters([n(1), n(2), n(3)])
        .build()
        .unwrap()
}

/// A disk that has voted for "a" in slot 1 and "c" in slot 3, and knows the first to be chosen; as
/// it is after a promise later.
fn image() -> LogImage {
    let mut solo = Solo::new(1, 3);
    solo.say(2, b(2, 2), accept(votes(1, b(2, 2), &["a"]), 1, 1));
    solo.say(2, b(2, 2), accept(votes(3, b(2, 2), &["c"]), 1, 1));
    solo.say(3, b(4, 3), synod_paxos::log::Body::Prepare { after: i(1) });
    solo.settle();
    solo.image
}

fn error(restored: Restored) -> String {
    MultiPaxos::new(config(), restored, Instant::START)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_disk_that_is_whole_is_a_start() {
    let log = MultiPaxos::new(config(), image().restored(usize::MAX), Instant::START).unwrap();
    let status = synod_core::ReplicatedLog::status(&log);
    assert_eq!((status.era, status.committed, status.last), (4, i(1), i(3)));
}

#[test]
fn each_damage_has_its_words() {
    let restored = || image().restored(usize::MAX);
    let mut damaged = restored();
    damaged.state = Some("x".into());
    assert!(
        error(damaged).starts_with("the stored state of the multi-paxos node cannot be read: ")
    );
    let mut damaged = restored();
    damaged.state = None;
    assert_eq!(
        error(damaged),
        "there are votes up to i3 but no state: the promise is lost, this disk must not vote again"
    );
    let other = Config::builder(n(2))
        .voters([n(1), n(2), n(3)])
        .build()
        .unwrap();
    let refused = MultiPaxos::new(other, restored(), Instant::START).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the storage belongs to n1, this node is n2"
    );
    let mut damaged = restored();
    damaged.runs.remove(0);
    assert_eq!(
        error(damaged),
        "everything up to i1 is chosen, but slot i1 is empty"
    );
    let mut damaged = restored();
    damaged.compacted = (i(1), Stamp { number: 2, node: 2 });
    damaged.runs.remove(0);
    assert_eq!(
        error(damaged),
        "the stored log begins behind i1 and there is no snapshot of what came before"
    );
    let mut damaged = restored();
    damaged.runs[1].stamp = Stamp { number: 6, node: 2 };
    assert_eq!(
        error(damaged),
        "slot i3 holds a vote of B6.2, but only B4.3 is promised"
    );
}

/// A configuration that is chosen and cannot be read.
#[test]
fn a_damaged_configuration_has_its_words() {
    let mut image = image();
    let entry = Entry {
        kind: EntryKind::Config,
        payload: "x".into(),
    };
    let put = Entries::new(i(1), Stamp { number: 2, node: 2 }, [entry]);
    image.apply(LogRecord::Put(put)).unwrap();
    let text = error(image.restored(usize::MAX));
    assert!(
        text.starts_with("the configuration stored at i1 cannot be read: "),
        "{text}"
    );
}

/// Later settings do not found the cluster anew: what is on disk counts.
#[test]
fn the_stored_configuration_counts() {
    let other = Config::builder(n(1)).voters([n(1), n(7)]).build().unwrap();
    let log = MultiPaxos::new(other, image().restored(usize::MAX), Instant::START).unwrap();
    assert_eq!(
        synod_core::ReplicatedLog::status(&log).voters,
        [n(1), n(2), n(3)]
    );
}
