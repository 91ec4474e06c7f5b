//! Changes of the voters: stop-signs, and what becomes of them when nodes die at each point.

use synod_core::{
    Change, Entries, Entry, EntryKind, Envelope, LogIndex, NodeId, ReplicatedLog, Role, Ticket,
};
use synod_paxos::log::planted::Bug;
use synod_paxos::log::{Body, Detail, Epoch, Message};

use super::cluster::{Cluster, i, ms, n};
use super::solo::{Solo, accept, accepted, b, page, votes};

fn ids(of: &[u64]) -> Vec<NodeId> {
    of.iter().map(|id| n(*id)).collect()
}

pub(super) fn change(cluster: &mut Cluster, at: NodeId, change: Change) -> Result<Ticket, String> {
    let now = cluster.now;
    let ticket = cluster.log(at).reconfigure(now, change);
    cluster.pump();
    ticket.map_err(|rejected| rejected.refusal.to_string())
}

fn voters(cluster: &mut Cluster, at: u64, of: &[u64]) -> Result<Ticket, String> {
    change(cluster, n(at), Change::Voters(ids(of)))
}

/// Takes new nodes in, and waits until they have the log.
pub(super) fn take_in(cluster: &mut Cluster, at: NodeId, of: &[u64]) {
    for id in of {
        if !cluster.ids().contains(&n(*id)) {
            cluster.join(*id);
        }
        change(cluster, at, Change::AddLearner(n(*id))).unwrap();
        cluster.run(ms(300));
    }
}

/// Everybody there says that these vote, and holds the same log.
#[track_caller]
fn agreed(cluster: &Cluster, of: &[u64]) {
    for id in ids(of) {
        let status = cluster.status(id);
        assert_eq!(status.voters, ids(of), "{id}");
        assert_eq!(status.committed, cluster.status(n(of[0])).committed, "{id}");
    }
}

fn epoch(cluster: &Cluster, id: u64) -> u64 {
    let details = cluster.servers[&n(id)].details();
    let epochs = details.filter_map(|detail| match detail {
        Detail::Membership { epoch, .. } => Some(epoch.0),
        _ => None,
    });
    epochs.last().unwrap_or(0)
}

// What happens when nothing goes wrong.

#[test]
fn three_voters_become_four() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    take_in(&mut cluster, n(1), &[4]);
    let start = cluster.now;
    let ticket = voters(&mut cluster, 1, &[1, 2, 3, 4]).unwrap();
    let progress = cluster.progress(ms(1000)).unwrap();
    assert_eq!(cluster.outcome(n(1), ticket), "committed i3");
    assert!(progress <= ms(10), "the leader goes on: {progress:?}");
    assert_eq!(cluster.leader(), Some(n(1)));
    assert_eq!(cluster.ballots_since(start), 1, "by one more phase 1");
    cluster.run(ms(100));
    agreed(&cluster, &[1, 2, 3, 4]);
    assert_eq!(cluster.status(n(4)).role, Role::Follower);
    // Three of four are needed now.
    cluster.crash(n(2));
    cluster.commit(n(1), "three");
    cluster.crash(n(3));
    let ticket = cluster.propose(n(1), "two").unwrap();
    cluster.run(ms(1000));
    assert_eq!(
        cluster.outcome(n(1), ticket),
        "",
        "two of four are not enough"
    );
    cluster.restart(n(3));
    let leader = cluster.elect();
    cluster.commit(leader, "three again");
    cluster.run(ms(100));
    agreed_among(&cluster, &[1, 3, 4], &[1, 2, 3, 4]);
}

#[track_caller]
fn agreed_among(cluster: &Cluster, of: &[u64], voters: &[u64]) {
    let last = of.iter().map(|id| cluster.status(n(*id)).committed).max();
    for id in of {
        let status = cluster.status(n(*id));
        assert_eq!(status.voters, ids(voters), "n{id}");
        assert_eq!(Some(status.committed), last, "n{id}");
    }
}

#[test]
fn a_cluster_grows_and_shrinks() {
    let mut cluster = Cluster::new(1);
    cluster.led_by(n(1));
    cluster.commit(n(1), "alone");
    for (new, all) in [
        (&[2, 3][..], &[1, 2, 3][..]),
        (&[4, 5], &[1, 2, 3, 4, 5]),
        (&[], &[1, 3, 5]),
        (&[], &[5]),
        (&[1, 2], &[1, 2, 5]),
    ] {
        let leader = cluster.elect();
        cluster.run(ms(200));
        let leader = cluster.leader().unwrap_or(leader);
        take_in(&mut cluster, leader, new);
        change(&mut cluster, leader, Change::Voters(ids(all))).unwrap();
        let progress = cluster.progress(ms(1000));
        assert!(progress.is_some(), "{all:?}");
        cluster.run(ms(300));
        agreed(&cluster, all);
    }
    assert_eq!(epoch(&cluster, 5), 5);
}

#[test]
fn all_voters_are_replaced() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "before");
    take_in(&mut cluster, n(1), &[4, 5, 6]);
    let ticket = voters(&mut cluster, 1, &[4, 5, 6]).unwrap();
    cluster.run(ms(20));
    assert_eq!(cluster.outcome(n(1), ticket), "committed i5");
    let leader = cluster.leader().expect("handed over at once");
    assert!(ids(&[4, 5, 6]).contains(&leader));
    for id in [1, 2, 3] {
        cluster.run(ms(100));
        let left = Detail::LeftOut { index: i(5) };
        let says = cluster.servers[&n(id)]
            .details()
            .any(|detail| *detail == left);
        assert!(says, "n{id} may go");
        cluster.crash(n(id));
    }
    let leader = cluster.elect();
    cluster.commit(leader, "after");
    cluster.run(ms(50));
    for id in [4, 5, 6] {
        assert_eq!(cluster.commands(n(id)), ["before", "after"]);
    }
}

/// The leader goes: it says so, names the one that has most, and that one leads within a few delays.
#[test]
fn a_leader_takes_itself_out() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    let ticket = voters(&mut cluster, 1, &[2, 3]).unwrap();
    let progress = cluster.progress(ms(1000)).unwrap();
    assert!(progress <= ms(12), "{progress:?}");
    assert_eq!(cluster.outcome(n(1), ticket), "committed i2");
    cluster.run(ms(200));
    agreed(&cluster, &[2, 3]);
    assert_eq!(cluster.status(n(1)).role, Role::Learner);
    assert_eq!(
        cluster.propose(n(1), "x").unwrap_err().refusal.to_string(),
        "no leader is known"
    );
    // It says no more once all know.
    cluster.sent.clear();
    let asks = |cluster: &Cluster| cluster.count("Ask");
    cluster.crash(n(2));
    cluster.crash(n(3));
    cluster.run(ms(2000));
    assert_eq!(asks(&cluster), 0);
}

/// Its request to take over is lost: the voters find a leader by themselves.
#[test]
fn who_follows_a_leader_that_left_needs_no_word_of_it() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    voters(&mut cluster, 1, &[2, 3]).unwrap();
    cluster.lose_unless(|envelope| !matches!(envelope.message.body, Body::TakeOver));
    let progress = cluster.progress(ms(2000)).unwrap();
    assert!(
        progress <= 4 * super::cluster::LONGEST_ROUND,
        "{progress:?}"
    );
}

// What is refused.

#[test]
fn voters_that_are_not_ready_are_refused() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    let refused = |cluster: &mut Cluster, of: &[u64]| voters(cluster, 1, of).unwrap_err();
    assert_eq!(
        refused(&mut cluster, &[1, 2, 3, 4]),
        "n4 is no learner: a voter gets the log first"
    );
    assert_eq!(
        voters(&mut cluster, 2, &[1, 2]).unwrap_err(),
        "this node is not the leader"
    );
    let not_ready = "n4 lacks more than 1,000 slots or has not answered for two rounds: a voter is \
                     there and has the log";
    change(&mut cluster, n(1), Change::AddLearner(n(4))).unwrap();
    cluster.run(ms(300));
    assert_eq!(
        refused(&mut cluster, &[1, 2, 3, 4]),
        not_ready,
        "nobody has seen it"
    );
    cluster.join(4);
    cluster.run(ms(300));
    cluster.crash(n(4));
    cluster.run(ms(1));
    assert_eq!(
        refused(&mut cluster, &[1, 2, 3, 4]),
        not_ready,
        "it is down"
    );
    for k in 0..1_200 {
        cluster.commit(n(1), &k.to_string());
    }
    // Back, and slow to catch up.
    cluster.restart(n(4));
    cluster.stuck.push(n(4));
    cluster.run(ms(60));
    assert_eq!(
        refused(&mut cluster, &[1, 2, 3, 4]),
        not_ready,
        "it is behind"
    );
    cluster.stuck.clear();
    cluster.run(ms(600));
    voters(&mut cluster, 1, &[1, 2, 3, 4]).unwrap();
}

/// Nothing is taken on behind a stop-sign, neither here nor from a follower, and nothing is lost.
#[test]
fn nothing_is_proposed_behind_a_stop_sign() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    // The acceptors hear nothing of it for a while; what they say arrives.
    cluster.lose_unless(|envelope| match &envelope.message.body {
        Body::Accept(accept) => accept.entries.is_empty(),
        _ => true,
    });
    let ticket = voters(&mut cluster, 1, &[1, 2]).unwrap();
    let under_way = "another membership change is under way at i2";
    let refused = cluster.propose(n(1), "x").unwrap_err();
    assert_eq!(refused.refusal.to_string(), under_way);
    assert_eq!(refused.command.unwrap(), "x", "it is handed back");
    let more = change(&mut cluster, n(1), Change::AddLearner(n(9)));
    assert_eq!(more.unwrap_err(), under_way);
    let forwarded = cluster.propose(n(2), "y").unwrap();
    cluster.run(ms(10));
    assert_eq!(
        cluster.outcome(n(2), forwarded),
        format!("refused: {under_way}")
    );
    cluster.heal();
    cluster.run(ms(500));
    assert_eq!(cluster.outcome(n(1), ticket), "committed i2");
    let leader = cluster.leader().unwrap();
    assert_eq!(cluster.commit(leader, "z"), i(3));
}

// Leaders that die on the way.

/// A cluster of 1, 2 and 3 with learner 4, that node 1 leads.
fn four() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    take_in(&mut cluster, n(1), &[4]);
    cluster
}

/// Goes on without node 1 until something is chosen; the present voters.
fn without_1(cluster: &mut Cluster) -> Vec<NodeId> {
    cluster.crash(n(1));
    let progress = cluster.progress(ms(3000));
    assert!(progress.is_some(), "nobody goes on");
    cluster.run(ms(300));
    let leader = cluster.leader().unwrap();
    cluster.status(leader).voters
}

#[test]
fn a_stop_sign_that_nobody_has_seen_is_gone() {
    let mut cluster = four();
    cluster.isolate(n(1));
    let ticket = voters(&mut cluster, 1, &[2, 3, 4]).unwrap();
    cluster.run(ms(5));
    assert_eq!(without_1(&mut cluster), ids(&[1, 2, 3]));
    cluster.heal();
    cluster.restart(n(1));
    cluster.run(ms(500));
    agreed_among(&cluster, &[1, 2, 3, 4], &[1, 2, 3]);
    assert_eq!(cluster.outcome(n(1), ticket), "", "its life is over");
}

#[test]
fn a_stop_sign_with_one_vote_is_proposed_again() {
    let mut cluster = four();
    cluster.cut = vec![(n(1), n(3)), (n(1), n(4)), (n(2), n(1))];
    voters(&mut cluster, 1, &[2, 3, 4]).unwrap();
    cluster.run(ms(5));
    cluster.heal();
    // Node 2 has it, and is heard of in phase 1.
    assert_eq!(without_1(&mut cluster), ids(&[2, 3, 4]));
    agreed(&cluster, &[2, 3, 4]);
    cluster.restart(n(1));
    cluster.run(ms(500));
    assert_eq!(
        cluster.status(n(1)).voters,
        ids(&[2, 3, 4]),
        "it hears of it"
    );
}

#[test]
fn a_stop_sign_that_was_chosen_unheard_is_found() {
    let mut cluster = four();
    // All hold it, and no answer reaches the leader.
    cluster.lose_unless(|envelope| {
        envelope.to != n(1) || !matches!(envelope.message.body, Body::Accepted { .. })
    });
    voters(&mut cluster, 1, &[2, 3, 4]).unwrap();
    cluster.run(ms(5));
    assert_eq!(cluster.status(n(1)).committed, i(2));
    cluster.heal();
    assert_eq!(without_1(&mut cluster), ids(&[2, 3, 4]));
    agreed(&cluster, &[2, 3, 4]);
}

/// The leader learns that it is chosen, tells some, and dies.
#[test]
fn who_knows_of_the_next_voters_tells_the_others() {
    for told in [&[][..], &[2], &[4], &[2, 3]] {
        let mut cluster = four();
        let told_of = ids(told);
        let all = ids(&[2, 3, 4]);
        cluster.lose_unless(move |envelope| {
            let news = match &envelope.message.body {
                Body::Accept(accept) => accept.chosen >= i(3),
                _ => envelope.message.epoch > Epoch(0),
            };
            !(news && envelope.from == n(1)) || told_of.contains(&envelope.to)
        });
        voters(&mut cluster, 1, &[2, 3, 4]).unwrap();
        cluster.run(ms(4));
        assert_eq!(cluster.status(n(1)).voters, all, "it knows");
        for id in [2, 3, 4] {
            let knows = cluster.status(n(id)).voters == all;
            assert_eq!(knows, told.contains(&id), "{told:?}: n{id}");
        }
        cluster.heal();
        assert_eq!(without_1(&mut cluster), all, "{told:?}");
        agreed(&cluster, &[2, 3, 4]);
    }
}

/// One voter hands over to another: it alone has chosen that, and nobody else would ever say so.
#[test]
fn the_only_one_that_knows_tells_after_a_restart() {
    let mut cluster = Cluster::new(1);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    take_in(&mut cluster, n(1), &[2]);
    cluster.lose_unless(|envelope| envelope.from != n(1));
    voters(&mut cluster, 1, &[2]).unwrap();
    cluster.run(ms(50));
    assert_eq!(cluster.status(n(1)).voters, [n(2)]);
    assert_eq!(cluster.status(n(2)).voters, [n(1)]);
    cluster.crash(n(1));
    cluster.heal();
    cluster.run(ms(1000));
    assert_eq!(cluster.leader(), None);
    cluster.restart(n(1));
    assert!(cluster.progress(ms(1000)).is_some());
    assert_eq!(cluster.leader(), Some(n(2)));
}

/// And it does not go before that one knows for good: the disk of the new voter hangs, and it restarts.
#[test]
fn the_only_one_that_knows_waits_for_a_disk() {
    let mut cluster = Cluster::new(1);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    take_in(&mut cluster, n(1), &[2]);
    cluster.stuck.push(n(2));
    voters(&mut cluster, 1, &[2]).unwrap();
    cluster.run(ms(300));
    assert_eq!(cluster.status(n(2)).voters, [n(2)]);
    cluster.crash(n(2));
    cluster.stuck.clear();
    cluster.restart(n(2));
    assert_eq!(cluster.status(n(2)).voters, [n(1)], "it has forgotten that");
    assert!(cluster.progress(ms(1000)).is_some());
    assert_eq!(cluster.leader(), Some(n(2)));
}

// Voids.

/// The first slot that a message proposes something for.
fn slot(envelope: &Envelope<Message>) -> Option<LogIndex> {
    match &envelope.message.body {
        Body::Accept(accept) if !accept.entries.is_empty() => Some(accept.entries.first()),
        _ => None,
    }
}

/// Nodes 1 to `size`, with or without a bug, that node 1 leads; one entry is chosen.
fn led(size: u64, bug: Option<Bug>) -> Cluster {
    let mut cluster = Cluster::with(size, move |builder| match bug {
        Some(bug) => builder.danger_plant(bug),
        None => builder,
    });
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.run(ms(100));
    cluster
}

/// The schedule of `stop.rs`: what a leader left that died is no stop-sign any more once a later one has
/// gone on behind its slot.
fn overtaken(bug: Option<Bug>) {
    let mut cluster = led(3, bug);
    // Node 1 puts the stop-sign into slot 2, on its own disk alone, and falls asleep.
    cluster.isolate(n(1));
    voters(&mut cluster, 1, &[1, 2]).unwrap();
    cluster.run(ms(1));
    cluster.crash(n(1));
    // Another one leads, does not hear of it, and proposes x and y; x reaches nobody, y the third.
    cluster.heal();
    let next = cluster.elect();
    let third = if next == n(2) { n(3) } else { n(2) };
    cluster.run(ms(300));
    cluster.lose_unless(move |envelope| slot(envelope) != Some(i(2)));
    cluster.propose(next, "x").unwrap();
    cluster.run(ms(1));
    cluster.propose(next, "y").unwrap();
    cluster.run(ms(10));
    assert_eq!(
        cluster.status(next).committed,
        i(1),
        "y is chosen, x is not"
    );
    // The third one leads: it hears of the stop-sign and of y.
    cluster.crash(next);
    cluster.heal();
    cluster.restart(n(1));
    let leader = cluster.elect();
    assert!([third, n(1)].contains(&leader));
    cluster.run(ms(500));
    cluster.restart(next);
    cluster.run(ms(500));
    for id in [1, 2, 3] {
        let y = cluster.commands(n(id)).contains(&"y".into());
        assert!(y, "what was chosen is not undone at n{id}");
        assert_eq!(cluster.status(n(id)).voters, ids(&[1, 2, 3]));
    }
}

#[test]
fn a_stop_sign_that_was_overtaken_is_void() {
    overtaken(None);
}

/// A stop-sign is chosen by 1, 2 and 3, and only 1 knows; 2 leads and proposes it again, which
/// reaches nobody, and a client asks it for more. To propose that behind the stop-sign would make 3, 4 and
/// 5 believe that it was overtaken.
fn continued(bug: Option<Bug>) {
    let mut cluster = led(5, bug);
    cluster.lose_unless(|envelope| {
        let late = [n(4), n(5)].contains(&envelope.to) && slot(envelope) == Some(i(2));
        let news = envelope.message.epoch > Epoch(0)
            || matches!(&envelope.message.body, Body::Accept(accept) if accept.chosen >= i(2));
        !(late || envelope.from == n(1) && news)
    });
    voters(&mut cluster, 1, &[1, 2, 3]).unwrap();
    cluster.run(ms(4));
    assert_eq!(cluster.status(n(1)).committed, i(2));
    cluster.crash(n(1));
    // Node 2 alone may lead: the others hear each other no more.
    let between = [(3, 4), (3, 5), (4, 5)].map(|(a, b)| [(n(a), n(b)), (n(b), n(a))]);
    cluster.cut = between.concat();
    cluster.lose_unless(|envelope| {
        slot(envelope).is_none_or(|first| first > i(2) && envelope.to != n(3))
    });
    assert_eq!(cluster.elect(), n(2));
    drop(cluster.propose(n(2), "x"));
    cluster.run(ms(10));
    cluster.crash(n(2));
    cluster.heal();
    cluster.run(ms(2000));
    for id in [1, 2] {
        cluster.restart(n(id));
    }
    cluster.run(ms(1000));
    for id in 1..=5 {
        assert_eq!(cluster.status(n(id)).voters, ids(&[1, 2, 3]), "n{id}");
    }
}

#[test]
fn a_stop_sign_that_was_chosen_is_never_void() {
    continued(None);
}

/// Node 2 makes way for node 4: the stop-sign is chosen by 1 and 2, of whom 2 does not know that, and 3
/// has not even seen it when it is asked to vote behind it. Then 1 and 4 go, while 2 and 3 are still a
/// quorum of the epoch before.
fn unready(bug: Option<Bug>) {
    let mut cluster = led(3, bug);
    take_in(&mut cluster, n(1), &[4]);
    let stop = i(3);
    cluster.lose_unless(move |envelope| {
        let news = envelope.message.epoch > Epoch(0)
            || matches!(&envelope.message.body, Body::Accept(accept) if accept.chosen >= stop);
        match envelope.to.0 {
            2 => !news,
            3 if envelope.from == n(1) => slot(envelope).is_some_and(|first| first > stop),
            3 => !news,
            _ => true,
        }
    });
    voters(&mut cluster, 1, &[1, 3, 4]).unwrap();
    cluster.run(ms(20));
    cluster.commit(n(1), "x");
    cluster.run(ms(5));
    cluster.crash(n(1));
    cluster.crash(n(4));
    cluster.heal();
    cluster.run(ms(2000));
    for id in [1, 4] {
        cluster.restart(n(id));
    }
    cluster.run(ms(1000));
    for id in 1..=4 {
        assert_eq!(cluster.status(n(id)).voters, ids(&[1, 3, 4]), "n{id}");
    }
}

#[test]
fn nobody_votes_behind_a_stop_sign_that_it_does_not_know_to_be_chosen() {
    unready(None);
}

/// A leader that is cut off makes itself the only voter, and goes on alone; so do the others.
fn hasty(bug: Option<Bug>) {
    let mut cluster = led(3, bug);
    cluster.isolate(n(1));
    voters(&mut cluster, 1, &[1]).unwrap();
    cluster.run(ms(5));
    drop(cluster.propose(n(1), "alone"));
    cluster.run(ms(5));
    cluster.crash(n(1));
    cluster.heal();
    let leader = cluster.elect();
    cluster.commit(leader, "b");
    cluster.restart(n(1));
    cluster.run(ms(500));
    agreed(&cluster, &[1, 2, 3]);
}

#[test]
fn a_stop_sign_that_is_only_accepted_changes_nothing() {
    hasty(None);
}

/// The stories above notice when a rule is broken.
#[test]
fn each_broken_rule_breaks_its_story() {
    type Story = fn(Option<Bug>);
    let stories: [(Bug, Story); 4] = [
        (Bug::ProposesBehindStop, continued),
        (Bug::AcceptsUnchosenStop, unready),
        (Bug::VoidStopCounts, overtaken),
        (Bug::NextOnAccepted, hasty),
    ];
    for (bug, story) in stories {
        let broken = std::panic::catch_unwind(|| story(Some(bug)));
        let why = broken.expect_err("a checker that notices nothing is none");
        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
        println!("{bug:?}: {why}");
        let undone = why.contains("one entry at") || why.contains("is not undone");
        assert!(undone, "{bug:?}: {why}");
    }
}

// Those who were away.

/// A voter that was taken out while it slept disturbs nobody, and hears what has become of it.
#[test]
fn a_voter_that_slept_through_its_removal_disturbs_nobody() {
    let mut cluster = four();
    cluster.crash(n(3));
    voters(&mut cluster, 1, &[1, 2, 4]).unwrap();
    cluster.run(ms(300));
    cluster.commit(n(1), "b");
    let start = cluster.now;
    cluster.restart(n(3));
    cluster.run(ms(1000));
    assert_eq!(cluster.ballots_since(start), 0, "nobody prepares");
    assert_eq!(cluster.leader(), Some(n(1)));
    let status = cluster.status(n(3));
    assert_eq!(
        (status.role, status.voters),
        (Role::Learner, ids(&[1, 2, 4]))
    );
}

/// As before, but the links stay up and it stands for election meanwhile: nobody promises it anything.
#[test]
fn a_candidate_of_an_earlier_epoch_is_promised_nothing() {
    let mut cluster = four();
    cluster.isolate(n(3));
    voters(&mut cluster, 1, &[1, 2, 4]).unwrap();
    cluster.run(ms(300));
    let era = cluster.status(n(1)).era;
    // Only its questions for promises arrive, and nobody's answers.
    cluster.heal();
    cluster.cut = vec![(n(1), n(3)), (n(2), n(3)), (n(4), n(3))];
    cluster.run(ms(2000));
    assert_eq!(cluster.status(n(1)).era, era);
    assert_eq!(cluster.leader(), Some(n(1)));
    cluster.heal();
    cluster.run(ms(500));
    assert_eq!(cluster.status(n(3)).voters, ids(&[1, 2, 4]));
}

/// A node that was taken out comes back with the disk that it had.
#[test]
fn a_voter_comes_back_with_its_old_disk() {
    let mut cluster = four();
    cluster.crash(n(3));
    voters(&mut cluster, 1, &[1, 2, 4]).unwrap();
    cluster.run(ms(300));
    for k in 0..20 {
        cluster.commit(n(1), &k.to_string());
    }
    cluster.restart(n(3));
    take_in(&mut cluster, n(1), &[3]);
    voters(&mut cluster, 1, &[1, 3, 4]).unwrap();
    cluster.run(ms(300));
    agreed(&cluster, &[1, 3, 4]);
    cluster.crash(n(1));
    let leader = cluster.elect();
    cluster.commit(leader, "b");
}

/// Node 3 is taken out and comes back with an empty disk; it goes through the epoch in which it voted. A
/// voter of that epoch that has never met it before, and slept, must not have its vote there.
#[test]
fn a_lost_disk_does_not_vote_in_epochs_that_are_over() {
    let mut solo = Solo::with(3, 3, |builder| builder.voters([]));
    let ballot = b(2, 2);
    // As learned from the log: 1, 2 and 3 vote.
    let (kind, payload) = (EntryKind::Config, super::codec::some_config());
    let config = Entries::new(i(1), ballot.stamp(), [Entry { kind, payload }]);
    let learned = Body::Page(page(0, 1, 1, &[config]));
    solo.say_in(0, 2, ballot, learned);
    solo.settle();
    assert_eq!(solo.status().voters, ids(&[1, 2, 3]));
    assert_eq!(solo.status().role, Role::Learner);
    solo.take();
    for body in [
        Body::Prepare { after: i(1) },
        accept(votes(2, b(4, 1), &["x"]), 1, 1),
    ] {
        solo.say(1, b(4, 1), body);
        solo.wait(ms(500));
        solo.settle();
        assert_eq!(solo.take_to(1), []);
        assert_eq!(solo.status().last, i(1));
    }
}

/// A node whose place was taken by another storage does not count with the new one, also where it was
/// taken in as a learner again.
#[test]
fn a_voter_comes_back_with_a_new_disk() {
    let mut cluster = four();
    cluster.crash(n(3));
    voters(&mut cluster, 1, &[1, 2, 4]).unwrap();
    cluster.run(ms(300));
    cluster.commit(n(1), "b");
    cluster.servers.remove(&n(3));
    cluster.start(n(3), synod_core::LogImage::new(), 77);
    take_in(&mut cluster, n(1), &[3]);
    voters(&mut cluster, 1, &[1, 3, 4]).unwrap();
    cluster.run(ms(300));
    agreed(&cluster, &[1, 3, 4]);
    assert_eq!(cluster.status(n(3)).role, Role::Follower);
    cluster.crash(n(4));
    cluster.commit(n(1), "its vote counts");
}

/// Who lags behind several changes goes through all of them.
#[test]
fn a_node_enters_several_epochs_at_once() {
    for snapshot in [false, true] {
        let mut cluster = Cluster::with(3, |builder| builder.retained_entries(0));
        cluster.led_by(n(1));
        cluster.commit(n(1), "a");
        take_in(&mut cluster, n(1), &[4]);
        cluster.crash(n(3));
        voters(&mut cluster, 1, &[1, 2, 3, 4]).unwrap();
        cluster.run(ms(300));
        voters(&mut cluster, 1, &[1, 2, 3]).unwrap();
        cluster.run(ms(300));
        take_in(&mut cluster, n(1), &[4]);
        voters(&mut cluster, 1, &[1, 2, 3, 4]).unwrap();
        cluster.run(ms(300));
        cluster.commit(n(1), "b");
        if snapshot {
            let last = cluster.status(n(1)).committed;
            for id in [1, 2, 4] {
                cluster.run(ms(50));
                cluster.snapshot(n(id), last, b"all");
            }
        }
        cluster.restart(n(3));
        cluster.run(ms(600));
        agreed(&cluster, &[1, 2, 3, 4]);
        cluster.crash(n(2));
        cluster.commit(n(1), "needs node 3");
        // What it entered is durable.
        cluster.crash(n(3));
        cluster.restart(n(3));
        assert_eq!(
            cluster.status(n(3)).voters,
            ids(&[1, 2, 3, 4]),
            "{snapshot}"
        );
    }
}

// Disks.

/// Wherever the disk of an acceptor stops while it enters the next epoch and votes in it: no vote behind
/// the stop-sign is on a disk that does not know that to be chosen.
#[test]
fn no_vote_of_an_epoch_is_on_a_disk_that_is_not_in_it() {
    for kept in 0..12 {
        let mut cluster = four();
        cluster.stuck.push(n(3));
        voters(&mut cluster, 1, &[1, 2, 3, 4]).unwrap();
        cluster.run(ms(20));
        cluster.commit(n(1), "b");
        cluster.run(ms(20));
        cluster.crash_keeping(n(3), kept);
        let image = cluster.servers[&n(3)].image.clone();
        let behind = image.iter().any(|(index, ..)| index > i(3));
        cluster.stuck.clear();
        cluster.restart(n(3));
        let knows = cluster.status(n(3)).voters.len() == 4;
        assert!(knows || !behind, "{kept} records");
        cluster.run(ms(500));
        agreed(&cluster, &[1, 2, 3, 4]);
    }
}

/// The stop-sign of voters 1, 2 and 3 in `slot`, who go on.
pub(super) fn stop_sign(slot: u64, ballot: synod_paxos::Ballot) -> Entries {
    let (kind, payload) = (EntryKind::Config, super::codec::next_config());
    Entries::new(i(slot), ballot.stamp(), [Entry { kind, payload }])
}

/// Votes of the epoch that has ended are dropped as the next one begins: there they would look like its
/// own.
#[test]
fn votes_behind_a_chosen_stop_sign_are_dropped() {
    let mut solo = Solo::new(1, 3);
    solo.say(
        2,
        b(2, 2),
        accept(votes(1, b(2, 2), &["x", "y", "z"]), 0, 1),
    );
    solo.settle();
    let page = page(0, 1, 1, &[stop_sign(1, b(4, 3))]);
    solo.say_in(1, 3, b(4, 3), Body::Page(page));
    let status = solo.status();
    assert_eq!((status.committed, status.last), (i(1), i(1)));
    solo.settle();
    assert_eq!(solo.image.last(), i(1));
    solo.take();
    solo.say_in(1, 2, b(6, 2), Body::Prepare { after: i(0) });
    solo.settle();
    let [Body::Promise(page)] = &solo.take_to(2)[..] else {
        panic!("a promise");
    };
    assert_eq!((page.last, page.chosen), (i(1), i(1)));
}

/// Nothing counts across epochs: who is behind is told so, who is ahead is asked for what is chosen.
#[test]
fn what_is_of_another_epoch_does_not_count() {
    let fetch = Body::Fetch {
        after: i(0),
        through: None,
        votes: false,
        staged: None,
    };
    for prepares in [true, false] {
        let later = b(8, 2);
        let body = if prepares {
            Body::Prepare { after: i(0) }
        } else {
            accept(votes(1, later, &["x"]), 1, 1)
        };
        let mut solo = Solo::new(1, 3);
        solo.say_in(1, 2, later, body.clone());
        solo.settle();
        assert_eq!(
            solo.take_to(2),
            std::slice::from_ref(&fetch),
            "it is behind"
        );
        assert_eq!((solo.status().era, solo.status().last), (0, i(0)));
        // And now it is in that epoch, and the other one not.
        solo.say_in(
            1,
            3,
            b(4, 3),
            Body::Page(page(0, 1, 1, &[stop_sign(1, b(4, 3))])),
        );
        solo.settle();
        solo.take();
        solo.say_in(0, 2, later, body);
        solo.settle();
        assert_eq!(solo.take_to(2), [Body::Nack]);
        assert_eq!((solo.status().era, solo.status().last), (4, i(1)));
    }
}

/// A leader and a candidate that hear of a later epoch give way: their acceptors are in it.
#[test]
fn a_leader_of_an_earlier_epoch_gives_way() {
    let mut solo = Solo::leading(|builder| builder);
    let ticket = solo.propose("x").unwrap();
    solo.settle();
    let ballot = solo.ballot();
    solo.say_in(1, 2, ballot, accepted(1, &[]));
    assert_eq!(solo.status().committed, i(0), "that is not its vote");
    assert_eq!(solo.status().role, Role::Follower);
    solo.say_in(
        1,
        2,
        b(4, 3),
        Body::Page(page(0, 1, 1, &[stop_sign(1, b(4, 3))])),
    );
    solo.settle();
    assert_eq!(super::cluster::outcome(&solo.events, ticket), "displaced");
    let mut solo = Solo::new(1, 3);
    solo.stand(&[2, 3]);
    let nothing = || super::solo::promise(page(0, 0, 0, &[]));
    solo.say_in(1, 2, solo.ballot(), nothing());
    solo.say(3, solo.ballot(), nothing());
    assert_eq!(solo.status().role, Role::Follower);
}
