//! How things are called in a story.

use synod_core::NodeId;
use synod_paxos::Ballot;
use synod_paxos::single::{Body, Event, Record, Value, ValueId};

/// Nodes by their place, values by their client.
#[derive(Clone, Default)]
pub(crate) struct Names {
    nodes: Vec<String>,
    values: Vec<String>,
}

fn place(list: &mut Vec<String>, name: &str) -> u64 {
    let found = list.iter().position(|known| known == name);
    let place = found.unwrap_or_else(|| {
        list.push(name.to_owned());
        list.len() - 1
    });
    place as u64 + 1
}

impl Names {
    pub(crate) fn add_node(&mut self, name: &str) -> u64 {
        place(&mut self.nodes, name)
    }

    pub(crate) fn node(&self, name: &str) -> Result<NodeId, String> {
        let found = self.nodes.iter().position(|known| known == name);
        let place = found.ok_or_else(|| format!("{name} is no node"))?;
        Ok(NodeId(place as u64 + 1))
    }

    /// The value of this name: its text, proposed by a client of its own.
    pub(crate) fn value(&mut self, name: &str) -> Value {
        Value::new(place(&mut self.values, name), 1, name.to_owned().into())
    }

    pub(crate) fn of(&self, id: NodeId) -> &str {
        &self.nodes[usize::try_from(id.0).unwrap() - 1]
    }

    fn id(&self, id: ValueId) -> &str {
        &self.values[usize::try_from(id.client).unwrap() - 1]
    }

    pub(crate) fn ballot(&self, ballot: Ballot) -> String {
        if ballot == Ballot::START {
            return "nothing".into();
        }
        let fast = if ballot.is_fast() { "f" } else { "" };
        format!("{}{fast}.{}", ballot.round, self.of(ballot.proposer))
    }

    pub(crate) fn vote(&self, ballot: Ballot, value: &Value) -> String {
        format!("{} in {}", self.id(value.id), self.ballot(ballot))
    }

    pub(crate) fn body(&self, body: &Body) -> String {
        match body {
            Body::Prepare { ballot } => format!("prepare {}", self.ballot(*ballot)),
            Body::Promise { ballot, vote: None } => format!("promise {}", self.ballot(*ballot)),
            Body::Promise {
                ballot,
                vote: Some(vote),
            } => format!(
                "promise {}, voted {}",
                self.ballot(*ballot),
                self.vote(vote.ballot, &vote.value)
            ),
            Body::Accept { ballot, value } => format!("accept {}", self.vote(*ballot, value)),
            Body::Any { ballot } => format!("any in {}", self.ballot(*ballot)),
            Body::Accepted { vote, promised } => {
                let voted = format!("voted {}", self.vote(vote.ballot, &vote.value));
                if *promised == vote.ballot {
                    voted
                } else {
                    format!("{voted}, promises {}", self.ballot(*promised))
                }
            }
            Body::Refused { ballot, promised } => format!(
                "refused {}, promised {}",
                self.ballot(*ballot),
                self.ballot(*promised)
            ),
            Body::Propose { value } => format!("propose {}", self.id(value.id)),
            Body::Chosen { value } => format!("chosen {}", self.id(value.id)),
            Body::Ask => "ask".into(),
            Body::Complete => "complete".into(),
            Body::Stranger { .. } => "stranger".into(),
        }
    }

    /// What is stored, but for the names of storages: they are the same in every story.
    pub(crate) fn record(&self, record: &Record) -> Option<String> {
        Some(match record {
            Record::Storage { .. } | Record::Known { .. } => return None,
            Record::Ballot(ballot) => format!("ballot {}", self.ballot(*ballot)),
            Record::Promised(ballot) => format!("promise {}", self.ballot(*ballot)),
            Record::Voted { vote, .. } => {
                format!("vote {}", self.vote(vote.ballot, &vote.value))
            }
            Record::Chosen(value) => format!("chosen {}", self.id(value.id)),
            Record::Fenced { .. } => "fence".into(),
        })
    }

    pub(crate) fn event(&self, event: &Event) -> String {
        match event {
            Event::Chosen(value) => format!("learns {}", self.id(value.id)),
            Event::Won(_) => "its client has won".into(),
            Event::Lost { to, .. } => format!("its client has lost to {}", self.id(*to)),
            Event::Opened(ballot) => format!("opens {}", self.ballot(*ballot)),
            Event::Refused { ballot, promised } => format!(
                "gives up {}: {} was promised",
                self.ballot(*ballot),
                self.ballot(*promised)
            ),
            Event::Collided { ballot, values } => {
                let values: Vec<_> = values.iter().map(|id| self.id(*id)).collect();
                format!(
                    "gives up {}: voted for are {}",
                    self.ballot(*ballot),
                    values.join(" ")
                )
            }
            Event::Amnesia { peer, .. } => {
                format!("meets a stranger in place of {}", self.of(*peer))
            }
            Event::Fenced { .. } => "is fenced".into(),
            other => format!("{other:?}"),
        }
    }
}
