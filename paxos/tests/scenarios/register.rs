//! CASPaxos on the stage: one register.

use std::collections::BTreeMap;
use std::convert::Infallible;

use synod_core::{Instant, Machine, NodeId};
use synod_paxos::Ballot;
use synod_paxos::register::planted::Bug;
use synod_paxos::register::{
    Before, Body, CasPaxos, Change, Command, Condition, Config, Event, Held, Key, Message, Nack,
    Record, Refusal, Restored, State, Vote,
};

use crate::hall::{Done, Hall, Play};
use crate::names::Names;

const KEY: &str = "k";

#[derive(Clone, Default)]
pub(crate) struct Register {
    acceptors: u64,
    bug: Option<Bug>,
    /// Every vote that was ever durable: for what, and whose.
    votes: BTreeMap<Ballot, (State, Vec<NodeId>)>,
    /// What the last client at each node was told.
    told: BTreeMap<NodeId, String>,
}

impl Register {
    pub(crate) fn new(acceptors: u64, bug: Option<Bug>) -> Self {
        Self {
            acceptors,
            bug,
            ..Self::default()
        }
    }
}

fn text(state: &State) -> String {
    let value = state.value.as_ref();
    value.map_or_else(
        || "nothing".into(),
        |value| String::from_utf8_lossy(value).into_owned(),
    )
}

fn vote(names: &Names, vote: &Vote) -> String {
    format!("{} in {}", text(&vote.state), names.ballot(vote.ballot))
}

impl Play for Register {
    type Message = Message;
    type Record = Record;
    type Machine = CasPaxos;
    type Disk = Restored;

    fn start(&self, id: NodeId, disk: &Restored, now: Instant) -> CasPaxos {
        let builder = Config::builder(id).acceptors((1..=self.acceptors).map(NodeId));
        let builder = match self.bug {
            Some(bug) => builder.danger_plant(bug),
            None => builder,
        };
        CasPaxos::new(builder.build().unwrap(), disk.clone(), now).unwrap()
    }

    fn crashed(&mut self, _: NodeId) {}

    fn check(machine: &CasPaxos) {
        machine.check();
    }

    fn load(_: &Restored, load: &Infallible) -> Option<Infallible> {
        match *load {}
    }

    fn store(&mut self, id: NodeId, disk: &mut Restored, record: Record) -> Done {
        if let Record::Vote { vote, .. } = &record {
            let fresh = (vote.state.clone(), Vec::new());
            let (known, voters) = self.votes.entry(vote.ballot).or_insert(fresh);
            if *known != vote.state {
                let ballot = vote.ballot;
                return Err(format!("{ballot} is for {known:?} and {:?}", vote.state));
            }
            if !voters.contains(&id) {
                voters.push(id);
            }
        }
        disk.apply(record);
        Ok(())
    }

    fn is_background(message: &Message) -> bool {
        matches!(message.body, Body::Behind)
    }

    fn tell_message(names: &Names, message: &Message) -> String {
        match &message.body {
            Body::Prepare { ballot, asked, .. } => {
                let again = if *asked > 0 { " once more" } else { "" };
                format!("prepare {}{again}", names.ballot(*ballot))
            }
            Body::Promised { ballot, held, .. } => {
                let held = match held {
                    Held::Vote(held) => format!("voted {}", vote(names, held)),
                    Held::Nothing(Ballot::START) => "no vote".into(),
                    Held::Nothing(floor) => format!("nothing above {}", names.ballot(*floor)),
                };
                format!("promise {}, {held}", names.ballot(*ballot))
            }
            Body::Accept(accept) => format!(
                "accept {} in {}, next is {}",
                text(&accept.state),
                names.ballot(accept.ballot),
                names.ballot(accept.next)
            ),
            Body::Accepted { ballot, .. } => format!("accepted {}", names.ballot(*ballot)),
            Body::Refused { ballot, why, .. } => match why {
                Nack::Promised(promised) => format!(
                    "refused {}, promised {}",
                    names.ballot(*ballot),
                    names.ballot(*promised)
                ),
                Nack::Full => format!("refused {}, full", names.ballot(*ballot)),
            },
            Body::Purge { ballot, .. } => format!("purge {}", names.ballot(*ballot)),
            Body::Purged { ballot, .. } => format!("purged {}", names.ballot(*ballot)),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    fn tell_record(names: &Names, record: &Record) -> Option<String> {
        Some(match record {
            Record::Promise { ballot, .. } => format!("promise {}", names.ballot(*ballot)),
            Record::Vote {
                vote: cast,
                promised,
                ..
            } => format!(
                "vote {}, promise {}",
                vote(names, cast),
                names.ballot(*promised)
            ),
            Record::Purge { floor, .. } => {
                format!("that it is gone below {}", names.ballot(*floor))
            }
            Record::Floor { floor } => format!("a floor of {}", names.ballot(*floor)),
            Record::Rounds { through } => format!("rounds through {through}"),
            Record::Identity { .. } | Record::Known { .. } | Record::Configuration(_) => {
                return None;
            }
        })
    }

    fn hear(hall: &mut Hall<Self>, id: NodeId, event: Event) -> Option<String> {
        let there = |current: Option<synod_paxos::register::Versioned>| match current {
            Some(it) => String::from_utf8_lossy(&it.value).into_owned(),
            None => "nothing".into(),
        };
        let told = match event {
            Event::Done { current, .. } => format!("done, {}", there(current)),
            Event::Refused {
                why: Refusal::Condition { current },
                ..
            } => format!("refused, {}", there(current)),
            Event::Refused { why, .. } => format!("refused, {why:?}"),
            Event::Unknown { .. } => "unknown".into(),
            Event::Purged { .. } => return Some("has purged it".into()),
            other => return Some(format!("{other:?}")),
        };
        hall.play.told.insert(id, told.clone());
        Some(format!("tells its client: {told}"))
    }

    fn command(hall: &mut Hall<Self>, words: &[&str]) -> Option<Done> {
        let write = |value: &str, when| Change::Write {
            value: value.to_owned().into(),
            when,
        };
        let (change, node) = match words {
            ["write", value, "at", node] => (write(value, Condition::Always), node),
            ["create", value, "at", node] => (write(value, Condition::Absent), node),
            ["delete", "at", node] => {
                let when = Condition::Always;
                (Change::Delete { when }, node)
            }
            ["read", "at", node] => (Change::Read, node),
            _ => return None,
        };
        Some(hall.up(node).and_then(|id| {
            let (key, now) = (KEY.into(), hall.now);
            let asked = hall
                .server(id)
                .machine
                .call(now, Command::Change { key, change });
            hall.drain(id);
            asked.map(|_| ()).map_err(|error| format!("{error:?}"))
        }))
    }

    fn found(hall: &Hall<Self>, id: NodeId, words: &[&str]) -> Result<(String, String), String> {
        let key = Key::Data(KEY.into());
        let register = hall.servers[&id].disk.registers.get(&key);
        let wanted = words[1..].join(" ");
        let found = match words {
            ["voted", ..] => {
                let held = register.and_then(|register| register.vote.as_ref());
                held.map_or_else(|| "no vote".into(), |held| vote(&hall.names, held))
            }
            ["promised", ..] => {
                let floor = hall.servers[&id].disk.floor;
                let promised = register.map_or(floor, |register| register.promised);
                hall.names.ballot(promised)
            }
            ["told", ..] => {
                let told = hall.play.told.get(&id).cloned();
                told.unwrap_or_else(|| "nobody".into())
            }
            other => return Err(format!("{other:?} cannot be expected")),
        };
        Ok((found, wanted))
    }

    /// Of what is chosen, the later descends from the earlier (CASPaxos §2.2). What was purged is behind
    /// the floor.
    fn law(hall: &Hall<Self>) -> Done {
        let play = &hall.play;
        let votes = play.votes.values();
        let chosen = votes.filter(|(_, voters)| voters.len() as u64 > play.acceptors / 2);
        let chosen: Vec<_> = chosen.map(|(state, _)| state).collect();
        for pair in chosen.windows(2) {
            let (earlier, mut at) = (pair[0], pair[1]);
            while at.version != earlier.version {
                at = match at.before {
                    Before::Nothing(floor) if floor >= earlier.version => break,
                    Before::Version(before) if play.votes.contains_key(&before) => {
                        &play.votes[&before].0
                    }
                    Before::Nothing(_) | Before::Version(_) => {
                        return Err(format!("{:?} is chosen, and {earlier:?} was", pair[1]));
                    }
                };
            }
        }
        Ok(())
    }
}
