//! Settings: a `Config` that exists is valid.

use core::time::Duration;

use synod_paxos::single::{Config, ConfigBuilder, ConfigError, Learning};

use crate::cluster::{n, nodes};

fn three() -> ConfigBuilder {
    Config::builder(n(1)).acceptors(nodes(1..=3))
}

#[test]
fn each_broken_rule_is_named() {
    let wrong: Vec<(ConfigBuilder, &str)> = vec![
        (Config::builder(n(1)), "acceptors or quorums must be set"),
        (
            Config::builder(n(1)).acceptors([]),
            "the quorums are not usable",
        ),
        (three().proposers([]), "at least one of the proposers"),
        (three().learners([]), "at least one of the learners"),
        (
            three().proposers(nodes([1, 2, 1])),
            "n1 is named twice among the proposers",
        ),
        (
            three().learners(nodes([2, 2])),
            "n2 is named twice among the learners",
        ),
        (
            Config::builder(n(9)).acceptors(nodes(1..=3)),
            "n9 is neither a proposer nor an acceptor nor a learner",
        ),
        (
            three().distinguished(n(7)),
            "n7 is not one of the proposers",
        ),
        (
            Config::builder(n(1)).fast_acceptors(nodes(1..=3)),
            "fast quorums need a distinguished proposer",
        ),
        (
            three().learning(Learning::First(4)),
            "4 learners are to hear of votes, and there are 3",
        ),
        (
            three().learning(Learning::First(0)),
            "learning (0) must be positive",
        ),
        (three().max_proposals(0), "max_proposals (0)"),
        (three().max_value_bytes(0), "max_value_bytes (0)"),
        (three().round_timeout(Duration::ZERO), "round_timeout (0)"),
        (three().patience(Duration::ZERO), "patience (0)"),
        (three().learn_timeout(Duration::ZERO), "learn_timeout (0)"),
        (
            three().back_off(Duration::from_secs(1)..=Duration::from_secs(1)),
            "back_off_max (1s) must be greater than back_off_min (1s)",
        ),
    ];
    for (builder, expected) in wrong {
        let error = builder.build().unwrap_err();
        assert!(
            error.to_string().contains(expected),
            "{error} lacks {expected}"
        );
    }
}

#[test]
fn defaults_are_valid_for_any_role() {
    assert!(three().build().is_ok());
    for id in [1, 11, 12] {
        let config = Config::builder(n(id))
            .acceptors(nodes(1..=3))
            .proposers(nodes([11]))
            .learners(nodes([12]));
        assert!(config.build().is_ok(), "{id}");
    }
    assert!(!matches!(three().build(), Err(ConfigError::NoAcceptors)));
}

/// The settings can be shown: with the feature, as any format of serde.
#[test]
fn settings_can_be_written_out() {
    fn writes<T: serde::Serialize>(_: &T) {}
    fn reads<T: serde::de::DeserializeOwned>() {}
    writes(&three().build().unwrap());
    reads::<synod_paxos::single::Message>();
    reads::<synod_paxos::single::Record>();
    reads::<synod_paxos::single::Command>();
}
