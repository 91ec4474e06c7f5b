//! The explored logs: three voters, of which n1 and n2 may stand.

use synod_core::NodeId;
use synod_paxos::log::Config;
use synod_paxos::log::planted::Bug;

/// A log, how it begins, and its bounds.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) name: &'static str,
    /// How it begins: see [`World::play`](crate::world::World::play).
    pub(super) script: &'static str,
    /// Who may stand.
    pub(super) standing: &'static [u64],
    /// The highest round in which anybody stands.
    pub(super) rounds: u64,
    // How much there is of everything, the script included.
    pub(super) commands: u8,
    pub(super) beats: u8,
    pub(super) reads: u8,
    pub(super) slows: u8,
    pub(super) crashes: u8,
    /// Whether the answers to proposals are lost: what is chosen is counted from disks.
    pub(super) blind: bool,
    pub(super) bug: Option<Bug>,
}

/// Nothing has happened.
pub(super) const BIRTH: Setup = Setup {
    name: "from the beginning, 1 command",
    script: "",
    standing: &[1, 2],
    rounds: 4,
    commands: 1,
    beats: 0,
    reads: 0,
    slows: 0,
    crashes: 0,
    blind: false,
    bug: None,
};

/// n1 leads with the promise of n2.
const LEADING: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
";

/// n1 leads and has voted for its first command.
const LED: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
    1 proposes
";

/// The same, and all have promised before.
const PROMISED: &str = "
    1 stands
    2 prepare 2.1
    3 prepare 2.1
    1 promise 2.1 2
    1 proposes
";

/// n1 has proposed in two slots, and only the second has come to n2 (Paxos Made Simple §3: a gap).
const GAP: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
    1 proposes
    1 proposes
    2 accept:2 2.1
";

/// n1 and n3 have chosen a command, of which n1 alone knows.
const CHOSEN_WITH_3: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
    1 proposes
    3 accept:1 2.1
    1 accepted 2.1 3
";

/// n1 and n2 have chosen a command, of which n1 alone knows; n2 leads since, with the promise of n3, and
/// proposes it again.
const TAKEN_OVER: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
    1 proposes
    2 accept:1 2.1
    1 accepted 2.1 2
    2 stands
    3 prepare 4.2
    2 promise 4.2 3
";

/// The same, and with n3 it has chosen a second one. n1 believes that it still leads.
const TWO_LEADERS: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
    1 proposes
    2 accept:1 2.1
    1 accepted 2.1 2
    2 stands
    3 prepare 4.2
    2 promise 4.2 3
    3 accept:1 4.2
    2 accepted 4.2 3
    2 proposes
    3 accept:2 4.2
    2 accepted 4.2 3 newest
";

/// n1 has voted for its own command in 2.1, and n2 and n3 have chosen another one in 4.2.
const TWO_VALUES: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
    1 proposes
    2 stands
    3 prepare 4.2
    2 promise 4.2 3
    2 proposes
    3 accept:1 4.2
";

/// n1 has proposed in 2.1 and lost its own vote. With its promise n2 leads in 4.2, and has chosen another
/// command with n3, which had promised nothing before.
const UNASKED: &str = "
    1 stands
    2 prepare 2.1
    1 promise 2.1 2
    1 proposes torn 0
    2 stands
    1 prepare 4.2
    2 promise 4.2 1
    2 proposes
    3 accept:1 4.2
";

impl Setup {
    pub(super) const fn after(self, name: &'static str, script: &'static str) -> Self {
        Self {
            name,
            script,
            ..self
        }
    }

    pub(super) const fn with(self, bug: Option<Bug>) -> Self {
        Self { bug, ..self }
    }

    pub(super) const fn crashing() -> Self {
        Self {
            name: "the same, 1 crash",
            crashes: 1,
            ..BIRTH
        }
    }

    pub(super) const fn leading() -> Self {
        Self {
            commands: 2,
            beats: 1,
            ..BIRTH.after("n1 leads, 2 commands, 1 heartbeat", LEADING)
        }
    }

    pub(super) const fn slow() -> Self {
        Self {
            slows: 1,
            crashes: 1,
            commands: 2,
            ..BIRTH.after("n1 leads, 2 commands, a slow disk, 1 crash", LEADING)
        }
    }

    pub(super) const fn led() -> Self {
        Self {
            commands: 2,
            crashes: 1,
            ..BIRTH.after("n1 has proposed, 1 more command, 1 crash", LED)
        }
    }

    pub(super) const fn promised() -> Self {
        Self {
            commands: 1,
            ..Self::led().after("all have promised, n1 has proposed, 1 crash", PROMISED)
        }
    }

    pub(super) const fn gap() -> Self {
        Self {
            commands: 3,
            beats: 1,
            ..BIRTH.after("a gap, 1 more command, 1 heartbeat", GAP)
        }
    }

    pub(super) const fn chosen_with_3() -> Self {
        Self {
            commands: 2,
            beats: 1,
            crashes: 1,
            ..BIRTH.after(
                "n1 and n3 have chosen, 1 more command, 1 crash",
                CHOSEN_WITH_3,
            )
        }
    }

    pub(super) const fn taken_over() -> Self {
        Self {
            reads: 1,
            ..BIRTH.after("n2 has taken over, 1 read", TAKEN_OVER)
        }
    }

    pub(super) const fn two_leaders() -> Self {
        Self {
            commands: 3,
            beats: 1,
            reads: 1,
            rounds: 6,
            ..BIRTH.after("two leaders, 1 more command, 1 read", TWO_LEADERS)
        }
    }

    pub(super) const fn two_values() -> Self {
        Self {
            commands: 2,
            beats: 1,
            rounds: 6,
            ..BIRTH.after("votes for two values, one of them chosen", TWO_VALUES)
        }
    }

    /// The same, and nobody hears that it is chosen.
    pub(super) const fn two_values_unheard() -> Self {
        Self {
            blind: true,
            beats: 0,
            name: "the same, answers to proposals are lost",
            ..Self::two_values()
        }
    }

    pub(super) const fn unasked() -> Self {
        Self {
            commands: 2,
            rounds: 6,
            ..BIRTH.after(
                "a vote without a promise before, after a torn write",
                UNASKED,
            )
        }
    }

    pub(super) fn config(&self, id: NodeId) -> Config {
        let builder = Config::builder(id)
            .voters((1..=super::VOTERS as u64).map(NodeId))
            .forward_proposals(false);
        let builder = match self.bug {
            Some(bug) => builder.danger_plant(bug),
            None => builder,
        };
        builder.for_exploration().unwrap()
    }
}
