//! Everything that others can fill has an end.

use bytes::Bytes;
use std::time::Duration;
use synod_core::{Decode, Encode, Machine, NodeId};
use synod_paxos::Ballot;
use synod_paxos::register::{
    Body, CasPaxos, Change, Command, Condition, Config, ConfigError, Event, Key, Nack, Phase,
    Record, Refusal, Rejection, RestoreError, Restored,
};

use crate::hand::{Hand, config, write};

const ABC: &[u64] = &[1, 2, 3];

#[test]
fn long_keys_and_values_are_given_back() {
    let mut hand = Hand::with(ABC, |id| {
        config(id, ABC).max_key_bytes(4).max_value_bytes(3)
    });
    let command = |key: &'static str, value| Command::Change {
        key: Bytes::from_static(key.as_bytes()),
        change: write(value, Condition::Always),
    };
    let refused = hand.call(1, command("long!", "abc")).unwrap_err();
    assert_eq!(*refused.command, command("long!", "abc"), "it comes back");
    assert_eq!(refused.to_string(), "the key has 5 bytes, the limit is 4");
    let refused = hand.call(1, command("key", "abcd")).unwrap_err();
    assert_eq!(refused.to_string(), "the value has 4 bytes, the limit is 3");
    assert!(hand.call(1, command("key", "abc")).is_ok());
}

#[test]
fn too_many_changes_are_given_back() {
    let mut hand = Hand::with(ABC, |id| config(id, ABC).max_changes(3, 2));
    hand.read(1, "k");
    hand.read(1, "k");
    let change = Change::Read;
    let read = |key: &'static str| Command::Change {
        key: key.into(),
        change: change.clone(),
    };
    let why = hand.call(1, read("k")).unwrap_err().why;
    assert!(
        matches!(
            why,
            Rejection::Busy {
                count: 2,
                limit: 2,
                ..
            }
        ),
        "{why}"
    );
    hand.read(1, "l");
    let why = hand.call(1, read("m")).unwrap_err().why;
    assert!(
        matches!(
            why,
            Rejection::Busy {
                count: 3,
                limit: 3,
                ..
            }
        ),
        "{why}"
    );
    hand.settle();
    assert!(hand.call(1, read("m")).is_ok(), "they end");
}

#[test]
fn full_acceptors_refuse_what_is_new_and_take_what_is_not() {
    let mut hand = Hand::with(ABC, |id| config(id, ABC).max_registers(1));
    hand.write(1, "k", "a");
    hand.settle();
    let ticket = hand.write(1, "l", "b");
    hand.pass(100);
    let why = Refusal::Full;
    assert_eq!(
        hand.outcome(1, ticket),
        Some(&Event::Refused { ticket, why })
    );
    let ticket = hand.write(1, "k", "c");
    hand.pass(100);
    assert_eq!(hand.value(1, ticket).as_deref(), Some("c"));
}

#[test]
fn a_longer_value_that_does_not_fit_is_refused_and_the_old_one_stays() {
    let limits = |id| config(id, ABC).max_value_bytes(8).max_bytes(8);
    let mut hand = Hand::with(ABC, limits);
    hand.write(1, "k", "short");
    hand.settle();
    let ticket = hand.write(1, "k", "toolong!");
    hand.pass(1000);
    let why = Refusal::Full;
    assert_eq!(
        hand.outcome(1, ticket),
        Some(&Event::Refused { ticket, why })
    );
    let ticket = hand.read(2, "k");
    hand.pass(100);
    assert_eq!(hand.value(2, ticket).as_deref(), Some("short"));
}

#[test]
fn promises_for_nothing_are_folded() {
    let mut hand = Hand::with(ABC, |id| config(id, ABC).max_promises(4));
    for (place, name) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        let body = Body::Prepare {
            key: Key::Data(name.into()),
            ballot: crate::hand::ballot(2 + 2 * place as u64, 2),
            asked: 0,
        };
        hand.forge(2, 1, body);
    }
    let storage = hand.nodes[&1].storage();
    assert!(storage.registers.len() <= 4);
    assert_eq!(
        storage.floor,
        crate::hand::ballot(10, 2),
        "and what was promised still is"
    );
}

#[test]
fn caches_are_few_and_the_oldest_goes() {
    let mut hand = Hand::with(ABC, |id| config(id, ABC).max_caches(1));
    hand.write(1, "k", "a");
    hand.settle();
    hand.write(1, "l", "a");
    hand.settle();
    hand.write(1, "l", "b");
    assert_eq!(hand.settle(), 2, "cached");
    hand.write(1, "k", "b");
    assert_eq!(hand.settle(), 4, "not cached");
}

#[test]
fn strangers_beyond_the_limit_are_not_listened_to() {
    let mut hand = Hand::with(ABC, |id| config(id, ABC).max_peers(2));
    hand.write(1, "k", "a");
    hand.settle();
    let now = hand.now;
    let link = synod_core::Link::Up(synod_core::LinkId(1));
    hand.nodes.get_mut(&1).unwrap().link(now, NodeId(9), link);
    let body = Body::List { after: None };
    assert!(hand.forge(9, 1, body).is_empty());
}

#[test]
fn settings_are_checked() {
    let zero = config(1, ABC).max_registers(0).build().unwrap_err();
    assert_eq!(zero.to_string(), "max_registers (0) must be at least 1");
    let ms = Duration::from_millis;
    let order = config(1, ABC).backoff(ms(5)..=ms(5)).build().unwrap_err();
    assert_eq!(
        order.to_string(),
        "backoff start (5ms) must be less than backoff end (5ms)"
    );
    let fit = config(1, ABC).max_bytes(1).build().unwrap_err();
    assert!(matches!(fit, ConfigError::DoesNotFit { .. }));
    let twice = config(1, &[1, 1]).build().unwrap_err();
    assert!(matches!(twice, ConfigError::Acceptors(_)));
}

#[test]
fn a_storage_that_cannot_be_this_nodes_is_refused() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    let disk = hand.disks[&1].clone();
    let start = |id: u64, disk: Restored| {
        let config = Config::builder(NodeId(id)).build().unwrap();
        CasPaxos::new(config, disk, hand.now).unwrap_err()
    };
    assert!(matches!(
        start(2, disk.clone()),
        RestoreError::OtherNode { .. }
    ));
    let headless = Restored {
        identity: None,
        ..disk.clone()
    };
    assert_eq!(start(1, headless), RestoreError::IdentityMissing);
    let cut = Restored { rounds: 0, ..disk };
    assert!(matches!(start(1, cut), RestoreError::RoundsMissing { .. }));
}

/// A proposal for which nobody has room is not dead: a copy of it can find room later. So nothing is
/// told of it before something above it is chosen.
#[test]
fn what_was_refused_for_want_of_room_does_not_happen_later() {
    let limits = |id| config(id, ABC).max_value_bytes(12).max_bytes(12);
    // The fourth only proposes.
    let mut hand = Hand::with(&[1, 2, 3, 4], limits);
    hand.write(4, "k", "s");
    hand.settle();
    hand.write(2, "x", "1234567");
    hand.settle();
    // The answers are late, so it is sent twice. The first copies find no room.
    let ticket = hand.write(4, "k", "longer");
    hand.later(100);
    let last = hand.mail.iter().rposition(|it| it.to.0 == 3).unwrap();
    let copy = hand.mail.remove(last);
    hand.settle();
    // The second does.
    hand.write(2, "x", "1");
    for _ in 0..4 {
        hand.deliver(|it| it.from.0 != 4 && it.to.0 != 4);
    }
    hand.step(copy);
    hand.mail.clear();
    for _ in 0..100 {
        hand.settle_among(&[1, 2, 4]);
        hand.later(20);
    }
    assert_eq!(
        hand.outcome(4, ticket),
        Some(&Event::Refused {
            ticket,
            why: Refusal::Full
        })
    );
    let read = hand.read(2, "k");
    for _ in 0..20 {
        hand.settle_among(&[2, 3]);
        hand.later(20);
    }
    assert_eq!(hand.value(2, read).as_deref(), Some("s"));
}

/// A peer that names a ballot which nobody can have reached does not drive this node to the end of the
/// rounds, where it could not read its own disk any more.
#[test]
fn a_ballot_out_of_this_world_is_not_gone_past() {
    let mut hand = Hand::new(ABC);
    hand.write(1, "k", "a");
    hand.settle();
    for round in [
        Ballot::LAST_ROUND,
        Ballot::LAST_ROUND - 2,
        Ballot::LAST_ROUND - 2000,
    ] {
        let promised = crate::hand::ballot(round, 2);
        let body = Body::Refused {
            key: Key::Data("k".into()),
            phase: Phase::One,
            ballot: crate::hand::ballot(2, 1),
            why: Nack::Promised(promised),
        };
        hand.forge(2, 1, body);
        let ticket = hand.write(1, "k", "b");
        hand.pass(500);
        assert_eq!(hand.value(1, ticket).as_deref(), Some("b"));
    }
    for record in hand.disks[&1].records() {
        assert_eq!(Record::decode_all(record.to_bytes()), Ok(record));
    }
    hand.start(1, config(1, ABC));
}

/// One full acceptor of three hinders nobody, however slow the others are.
#[test]
fn one_full_acceptor_and_a_slow_one_are_not_too_many() {
    let mut hand = Hand::with(ABC, |id| {
        config(id, ABC).max_registers(if id == 3 { 1 } else { 100 })
    });
    hand.write(1, "other", "x");
    hand.settle();
    let ticket = hand.write(1, "k", "a");
    // The third says at once that it is full, the second says nothing for a while.
    hand.deliver(|it| it.to.0 == 3);
    hand.deliver(|it| it.to.0 == 1);
    let slow = std::mem::take(&mut hand.mail);
    hand.later(150);
    hand.mail.extend(slow);
    hand.pass(1000);
    assert_eq!(hand.value(1, ticket).as_deref(), Some("a"));
}

/// A conflict with somebody else is no want of room.
#[test]
fn one_full_acceptor_and_one_that_has_promised_more_are_not_too_many() {
    let mut hand = Hand::with(&[1, 2, 3, 4], |id| {
        let bytes = if id == 3 { 4 } else { 100 };
        config(id, ABC).max_value_bytes(4).max_bytes(bytes)
    });
    hand.write(4, "k", "a");
    hand.settle();
    // The second has promised more to a node that went away, and the first hears nothing yet.
    let prepare = Body::Prepare {
        key: Key::Data("k".into()),
        ballot: crate::hand::ballot(100, 3),
        asked: 0,
    };
    hand.forge(3, 2, prepare);
    let ticket = hand.write(4, "k", "long");
    hand.mail.retain(|it| it.to.0 != 1);
    hand.pass(1000);
    assert_eq!(hand.value(4, ticket).as_deref(), Some("long"));
}

/// The configuration has room in any case: more acceptors or other ones may be what helps.
#[test]
fn full_acceptors_take_a_step() {
    let mut hand = Hand::with(&[1, 2, 3, 4], |id| {
        let founders = if id <= 3 { ABC } else { &[] };
        config(id, founders).max_value_bytes(8).max_bytes(8)
    });
    hand.write(1, "k", "1234567");
    hand.settle();
    let phases = synod_quorum::PaxosPhases::majority([1, 2, 3, 4].map(NodeId)).unwrap();
    let step = synod_paxos::register::Step::Phases(phases);
    let ticket = hand.call(1, Command::Configure(step)).unwrap().unwrap();
    hand.pass(3000);
    let outcome = hand.outcome(1, ticket);
    assert!(
        matches!(outcome, Some(Event::Stepped { .. })),
        "{outcome:?}"
    );
}
