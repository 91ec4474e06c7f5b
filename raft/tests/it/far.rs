//! Numbers that no cluster reaches are dropped, and do no harm later.

use synod_core::{
    Envelope, Generation, Instant, Link, LinkId, LogIndex, Machine, NodeId, ReplicatedLog, Restored,
};
use synod_raft::{Append, Body, Config, Message, Position, Raft, Round, Term};

use crate::cluster::ms;

fn follower() -> Raft {
    let config = Config::builder(NodeId(1)).voters([1, 2, 3].map(NodeId));
    let config = config.build().unwrap();
    let mut raft = Raft::new(config, Restored::default(), Instant::START).unwrap();
    raft.link(Instant::START, NodeId(2), Link::Up(LinkId(1)));
    raft
}

fn hear(raft: &mut Raft, term: Term, body: Body) {
    let message = Message {
        generation: Generation(2),
        term,
        body,
    };
    let envelope = Envelope {
        from: NodeId(2),
        to: NodeId(1),
        link: LinkId(1),
        message,
    };
    raft.step(Instant::START, envelope);
}

/// Found by fuzzing: the last term that a number can hold was taken on, and the next election had
/// none to go to.
#[test]
fn the_last_term_of_all_is_not_taken_on() {
    let mut raft = follower();
    let last = Position::START;
    hear(&mut raft, Term(u64::MAX), Body::Vote { pre: false, last });
    assert_eq!(raft.status().era, 0);
    raft.tick(Instant::START + ms(10_000));
    raft.check();
}

/// The last place of all, likewise.
#[test]
fn the_last_place_of_all_is_not_believed() {
    let mut raft = follower();
    let entries = synod_core::Entries::empty(LogIndex(u64::MAX), Term(1).stamp());
    let append = Append {
        before: Term(1),
        entries,
        commit: LogIndex(u64::MAX),
        round: Round(1),
    };
    hear(&mut raft, Term(1), Body::Append(append));
    assert_eq!(raft.status().committed, LogIndex::START);
    raft.check();
}
