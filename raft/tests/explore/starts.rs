//! Where searches start: states that lie too deep for a search from the beginning, reached by
//! scripts that drive the same machines by the same steps, under the same judge.

use synod_raft::planted::Bug;

use crate::member::Setup;
use crate::search::name;
use crate::world::{Action, Budget, Kind, State, World};

/// Enough for any script.
const AMPLE: Budget = Budget {
    terms: 9,
    beats: 99,
    proposals: 99,
    reads: 0,
    crashes: 99,
    copies: 99,
    delays: 99,
    relinks: 99,
    messages: 99,
};

/// Elections and nothing else, until something is added.
pub(crate) const BARE: Budget = Budget {
    terms: 3,
    beats: 0,
    proposals: 0,
    reads: 0,
    crashes: 0,
    copies: 0,
    delays: 0,
    relinks: 0,
    messages: 6,
};

/// A little of everything: wide, and not deep.
const USUAL: Budget = Budget {
    terms: 3,
    beats: 1,
    proposals: 1,
    reads: 1,
    crashes: 1,
    copies: 1,
    delays: 1,
    relinks: 0,
    messages: 4,
};

/// A place to start from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// One voter: the machine and its disk alone.
    Alone,
    /// Two nodes that have just founded their cluster.
    BirthOfTwo,
    /// Three of them.
    BirthOfThree,
    /// n1 leads, all have the entry that opened its term and know that it is committed.
    Led,
    /// As before; followers pass proposals and reads on.
    Forwarding,
    /// n1 has committed an entry with n2; nobody else knows that it is, and n3 does not have it.
    Behind,
    /// n1 still leads T1 with two entries of its own; n3 leads T2, and has committed an entry with
    /// n2 that n1 does not have.
    TwoLeaders,
    /// Nobody leads, and the three logs end in different ways.
    Divergent,
    /// Figure 8 between (b) and (c): n1 and n3 hold different entries at the same place, neither
    /// is committed, nobody leads.
    Figure8,
    /// n1 has lost the end of a write: its old tail is cut off, what replaces it is not there.
    TornTail,
    /// n3 has the first piece of a snapshot, the second is under way.
    HalfSnapshot,
    /// n1 has a tail of its own, n3 leads and has compacted what is to take its place: n1 gets a
    /// snapshot.
    OtherTail,
    /// A snapshot is under way to n2, and so are the entries that it covers, with one more.
    LateSnapshot,
}

impl Start {
    pub(crate) const ALL: [Self; 13] = [
        Self::Alone,
        Self::BirthOfTwo,
        Self::BirthOfThree,
        Self::Led,
        Self::Forwarding,
        Self::Behind,
        Self::TwoLeaders,
        Self::Divergent,
        Self::Figure8,
        Self::TornTail,
        Self::HalfSnapshot,
        Self::OtherTail,
        Self::LateSnapshot,
    ];

    fn setup(self, plant: Option<Bug>) -> Setup {
        Setup {
            nodes: match self {
                Self::Alone => 1,
                Self::BirthOfTwo => 2,
                _ => 3,
            },
            forward: self == Self::Forwarding,
            piece: if self == Self::LateSnapshot { 9 } else { 2 },
            retained: u64::from(self != Self::LateSnapshot),
            plant,
        }
    }

    /// A little of everything.
    fn wide(self) -> Budget {
        match self {
            Self::Alone => Budget {
                proposals: 2,
                crashes: 2,
                delays: 4,
                reads: 2,
                ..USUAL
            },
            Self::BirthOfTwo => Budget { terms: 2, ..USUAL },
            Self::BirthOfThree => Budget { terms: 2, ..USUAL },
            Self::TwoLeaders | Self::Divergent | Self::TornTail => Budget {
                relinks: 1,
                ..USUAL
            },
            Self::Figure8 => Budget { terms: 4, ..USUAL },
            _ => USUAL,
        }
    }

    /// What may happen in the searches of the machine as it is: a little of everything, and deeper
    /// ones of one kind of trouble each.
    pub(crate) fn budgets(self) -> Vec<(&'static str, Budget)> {
        let wide = self.wide();
        let bare = Budget {
            terms: wide.terms,
            beats: 1,
            ..BARE
        };
        let mut budgets = vec![("wide", wide)];
        if self != Self::Alone {
            let proposals = 1;
            budgets.push(("entries", Budget { proposals, ..bare }));
            let (crashes, delays) = (1, 1);
            budgets.push((
                "crashes",
                Budget {
                    crashes,
                    delays,
                    ..bare
                },
            ));
            let (reads, copies) = (1, 1);
            budgets.push((
                "reads",
                Budget {
                    reads,
                    copies,
                    ..bare
                },
            ));
        }
        budgets
    }

    /// The world and the state to start from. The script runs in a world with the same planted bug,
    /// which must not show before the search.
    pub(crate) fn make(self, plant: Option<Bug>, budget: Budget) -> (World, State) {
        let mut world = World::new(self.setup(plant));
        let state = world.birth(AMPLE);
        let mut script = Script { world, state };
        script.play(self);
        let Script { world, mut state } = script;
        state.budget = budget;
        state.alike = match self {
            Self::Alone | Self::BirthOfTwo | Self::BirthOfThree => state.alike,
            Self::Led | Self::Forwarding => 0b110,
            _ => 0,
        };
        (world, state)
    }
}

struct Script {
    world: World,
    state: State,
}

impl Script {
    fn play(&mut self, start: Start) {
        match start {
            Start::Alone | Start::BirthOfTwo | Start::BirthOfThree => {}
            Start::Led | Start::Forwarding => self.lead(),
            Start::Behind => {
                self.lead();
                self.propose(1, 10);
                self.pump(&[1, 2]);
                self.lose_all();
            }
            Start::TwoLeaders => self.two_leaders(),
            Start::Divergent => {
                self.two_leaders();
                self.propose(3, 20);
                self.lose_all();
                self.crash(1, 0);
                self.crash(3, 0);
                self.lose_all();
            }
            Start::Figure8 => {
                self.lead();
                self.propose(1, 10);
                self.crash(1, 0);
                self.lose_all();
                self.stand(3, &[2, 3]);
                self.crash(3, 0);
                self.lose_all();
            }
            Start::TornTail => {
                self.two_leaders();
                self.tick(3);
                self.pump_but_for(&[1, 3], "entries");
                let records = self.slow_append(1);
                self.crash(1, records - 1);
                self.lose_all();
            }
            Start::HalfSnapshot => {
                self.lead();
                self.propose(1, 10);
                self.pump(&[1, 2]);
                self.propose(1, 11);
                self.pump(&[1, 2]);
                self.propose(1, 12);
                self.pump(&[1, 2]);
                self.lose_all();
                self.snapshot(1);
                self.tick(1);
                self.pump_but_for(&[1, 3], "the second piece");
                self.pump(&[1, 2]);
            }
            Start::OtherTail => {
                self.two_leaders();
                self.propose(3, 20);
                self.pump(&[2, 3]);
                self.lose_all();
                self.snapshot(3);
                // The probe is given up one heartbeat after the next.
                self.tick(3);
                self.tick(3);
                self.lose_empty();
            }
            Start::LateSnapshot => {
                self.lead();
                self.propose(1, 10);
                self.lose_to(2);
                self.propose(1, 11);
                self.propose(1, 12);
                self.tick(1);
                self.pump_but_for(&[1, 2], "entries");
                // n3 gets the first entry alone, and so n1 commits it.
                self.deliver_first(1, 3);
                self.deliver_first(3, 1);
                self.snapshot(1);
                // The next heartbeat asks n2 for the place where the log begins now. It lacks that.
                self.tick(1);
                self.pump_but_for(&[1, 2], "entries and pieces");
                self.lose_empty();
                self.lose_to(3);
            }
        }
    }

    /// n1 leads T1, and everybody knows that its first entry is committed.
    fn lead(&mut self) {
        self.stand(1, &[1, 2, 3]);
        self.pump(&[1, 2, 3]);
        self.tick(1);
        self.pump(&[1, 2, 3]);
    }

    fn two_leaders(&mut self) {
        self.lead();
        self.propose(1, 10);
        self.propose(1, 11);
        self.lose_all();
        self.stand(3, &[2, 3]);
        self.pump(&[2, 3]);
        self.lose_all();
    }

    fn act(&mut self, kind: Kind, node: u8, what: u32, hold: bool) {
        let action = Action {
            kind,
            node: node - 1,
            hold,
            what,
        };
        if let Some((next, breach)) = self.world.act(&self.state, action) {
            if let Some(breach) = breach {
                panic!("{}: {breach}", name(&self.world, action));
            }
            self.state = next;
        } else if kind == Kind::Deliver {
            // Without effect: it has arrived all the same.
            self.lose(|_, message| message == what, true);
        }
    }

    fn tick(&mut self, node: u8) {
        self.act(Kind::Tick, node, 0, false);
    }

    fn propose(&mut self, node: u8, command: u32) {
        self.act(Kind::Propose, node, command, false);
    }

    fn crash(&mut self, node: u8, kept: u32) {
        self.act(Kind::Crash, node, kept, false);
    }

    fn snapshot(&mut self, node: u8) {
        self.act(Kind::Snapshot, node, 0, false);
    }

    /// Wins an election with the votes of `nodes`; of what the new leader sends nothing arrives.
    fn stand(&mut self, node: u8, nodes: &[u64]) {
        self.tick(node);
        while !self.world.view(&self.state, usize::from(node) - 1).leads {
            let message = self.next(nodes, |_| false).expect("the votes suffice");
            self.deliver(message);
        }
    }

    fn deliver(&mut self, message: u32) {
        let to = self.world.messages[message as usize].to.0 as u8;
        self.act(Kind::Deliver, to, message, false);
    }

    /// Delivers one message, the one of a kind that was the first to be ever sent.
    fn deliver_first(&mut self, from: u64, to: u64) {
        let message = self.state.net.iter().copied().find(|message| {
            let envelope = &self.world.messages[*message as usize];
            (envelope.from.0, envelope.to.0) == (from, to)
        });
        self.deliver(message.expect("something is under way"));
    }

    /// Delivers whatever `nodes` send each other until they are silent.
    fn pump(&mut self, nodes: &[u64]) {
        while let Some(message) = self.next(nodes, |_| false) {
            self.deliver(message);
        }
    }

    /// The same, but holds one kind of message back.
    fn pump_but_for(&mut self, nodes: &[u64], what: &str) {
        let held = |body: &synod_raft::Body| match body {
            synod_raft::Body::Append(append) => {
                what.starts_with("entries") && !append.entries.is_empty()
            }
            synod_raft::Body::Snapshot(piece) => {
                what == "entries and pieces" || what == "the second piece" && piece.offset > 0
            }
            _ => false,
        };
        while let Some(message) = self.next(nodes, held) {
            self.deliver(message);
        }
    }

    fn next(&self, nodes: &[u64], held: impl Fn(&synod_raft::Body) -> bool) -> Option<u32> {
        self.state.net.iter().copied().find(|message| {
            let envelope = &self.world.messages[*message as usize];
            let among = nodes.contains(&envelope.from.0) && nodes.contains(&envelope.to.0);
            among && !held(&envelope.message.body)
        })
    }

    /// n1 gets entries and does not finish writing them; how many records that write has.
    fn slow_append(&mut self, node: u8) -> u32 {
        let message = self.next(&[1, 3], |_| false);
        let message = message.expect("entries are under way");
        self.act(Kind::Deliver, node, message, true);
        let view = self.world.view(&self.state, usize::from(node) - 1);
        view.records.expect("a write is under way")
    }

    fn lose(&mut self, is: impl Fn(&World, u32) -> bool, once: bool) {
        let mut net = self.state.net.to_vec();
        let mut lost = false;
        net.retain(|message| {
            let goes = is(&self.world, *message) && !(once && lost);
            lost |= goes;
            !goes
        });
        self.state.net = net.into();
    }

    fn lose_to(&mut self, node: u64) {
        self.lose(
            |world, message| world.messages[message as usize].to.0 == node,
            false,
        );
    }

    fn lose_all(&mut self) {
        self.lose(|_, _| true, false);
    }

    /// Loses heartbeats and answers.
    fn lose_empty(&mut self) {
        self.lose(
            |world, message| match &world.messages[message as usize].message.body {
                synod_raft::Body::Append(append) => append.entries.is_empty(),
                synod_raft::Body::Snapshot(_) => false,
                _ => true,
            },
            false,
        );
    }
}
