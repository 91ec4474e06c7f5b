//! A single decree on the stage: nodes, their network and disks, and what can be done to them.

use synod_core::{Envelope, Machine, NodeId};
use synod_paxos::Ballot;
use synod_paxos::single::planted::Bug;
use synod_paxos::single::{Learning, Message, Recovery};

use crate::cluster::{Cluster, Said};
use crate::names::Names;

type Done = Result<(), String>;

#[derive(Clone)]
pub(crate) struct Decree {
    cluster: Cluster,
    names: Names,
    saved: Vec<(String, Self)>,
}

/// Which messages: from, to and the first word of what they say; `*` is anybody.
struct Which {
    from: Option<NodeId>,
    to: Option<NodeId>,
    kind: Option<String>,
}

impl Decree {
    /// `acceptors X Y Z proposers A B`, and what else is said of the decree.
    pub(crate) fn set(words: &[&str], bug: Option<Bug>) -> Result<Self, String> {
        let mut names = Names::default();
        let (mut acceptors, mut proposers, mut learners) = (Vec::new(), Vec::new(), Vec::new());
        let (mut fast, mut distinguished, mut into) = (false, None, 0);
        let (mut recovery, mut learning) = (Recovery::Coordinated, Learning::Everyone);
        for word in words {
            match *word {
                "acceptors" => into = 1,
                "proposers" => into = 2,
                "learners" => into = 3,
                "coordinator" | "distinguished" => {
                    fast |= *word == "coordinator";
                    into = 4;
                }
                "uncoordinated" => recovery = Recovery::Uncoordinated,
                "told-by-one" => learning = Learning::Distinguished,
                name => {
                    let id = names.add_node(name);
                    match into {
                        1 => acceptors.push(id),
                        2 => proposers.push(id),
                        3 => learners.push(id),
                        4 => distinguished = Some(NodeId(id)),
                        _ => return Err(format!("{name} has no role")),
                    }
                }
            }
        }
        if learners.is_empty() {
            learners.clone_from(&proposers);
        }
        let mut ids: Vec<u64> = acceptors
            .iter()
            .chain(&proposers)
            .chain(&learners)
            .copied()
            .collect();
        ids.sort_unstable();
        ids.dedup();
        if acceptors.is_empty() || proposers.is_empty() {
            return Err("there must be acceptors and proposers".into());
        }
        let nodes = |list: &[u64]| -> Vec<NodeId> { list.iter().copied().map(NodeId).collect() };
        let mut cluster = Cluster::new(&ids, |builder| {
            let builder = if fast {
                builder.fast_acceptors(nodes(&acceptors))
            } else {
                builder.acceptors(nodes(&acceptors))
            };
            let builder = builder
                .proposers(nodes(&proposers))
                .learners(nodes(&learners))
                .recovery(recovery)
                .learning(learning);
            let builder = match distinguished {
                Some(id) => builder.distinguished(id),
                None => builder,
            };
            match bug {
                Some(bug) => builder.danger_plant(bug),
                None => builder,
            }
        });
        for server in cluster.servers.values_mut() {
            server.is_checked = bug.is_none();
        }
        cluster.said.clear();
        Ok(Self {
            cluster,
            names,
            saved: Vec::new(),
        })
    }

    /// Does what a line says; what the machines say to that.
    pub(crate) fn act(&mut self, words: &[&str]) -> Result<Vec<String>, String> {
        self.cluster.said.clear();
        let (quiet, words) = match words {
            ["quietly", rest @ ..] => (true, rest),
            _ => (false, words),
        };
        match words {
            ["expect", rest @ ..] => self.expect(rest)?,
            ["remember", name] => {
                let saved = (name.to_string(), self.clone());
                self.saved.push(saved);
            }
            ["back", "to", name] => {
                let found = self.saved.iter().find(|(known, _)| known == name);
                let (_, stage) = found.ok_or_else(|| format!("{name} is not remembered"))?;
                let (saved, stage) = (self.saved.clone(), stage.clone());
                *self = Self { saved, ..stage };
                self.cluster.said.clear();
            }
            _ => self.command(words)?,
        }
        let phases = self
            .cluster
            .servers
            .values()
            .next()
            .unwrap()
            .config
            .quorums()
            .clone();
        let chosen = self.cluster.truth(&phases);
        if chosen.len() > 1 {
            return Err(format!("two values are chosen: {chosen:?}"));
        }
        Ok(self.told(quiet))
    }

    fn command(&mut self, words: &[&str]) -> Done {
        match words {
            ["propose", value, "at", node] => {
                let (value, id) = (self.names.value(value), self.names.node(node)?);
                let done = self.cluster.propose(id.0, value);
                done.map(|_| ()).map_err(|error| error.to_string())
            }
            ["deliver", rest @ ..] => {
                self.each(rest, |cluster, envelope| cluster.deliver(envelope))
            }
            ["drop", rest @ ..] => self.each(rest, |_, _| {}),
            ["repeat", rest @ ..] => self.each(rest, |cluster, envelope| {
                cluster.net.push(envelope.clone());
                cluster.deliver(envelope);
            }),
            ["settle"] => {
                self.cluster.settle();
                Ok(())
            }
            ["wake", node] => {
                let id = self.names.node(node)?;
                let wake = self.cluster.servers[&id].decree.deadline();
                wake.ok_or_else(|| format!("{node} waits for nothing"))?;
                self.cluster.wake(id.0);
                Ok(())
            }
            ["learn", node] => {
                let id = self.names.node(node)?;
                self.cluster.learn(id.0);
                Ok(())
            }
            ["crash", node] => self.crash(node, 0),
            ["crash", node, "keeping", kept] => {
                let kept = kept.parse().map_err(|_| format!("{kept} is no number"))?;
                self.crash(node, kept)
            }
            ["restart", node] => {
                let id = self.names.node(node)?;
                if self.cluster.servers[&id].up {
                    return Err(format!("{node} is up"));
                }
                self.cluster.restart(id.0);
                Ok(())
            }
            ["stall", node] => {
                let id = self.names.node(node)?;
                self.cluster.server(id.0).stalled = true;
                Ok(())
            }
            ["sync", node] => {
                let id = self.names.node(node)?;
                let found = self.cluster.sync(id);
                found
                    .then_some(())
                    .ok_or_else(|| format!("{node} writes nothing"))
            }
            _ => Err("this is no command".into()),
        }
    }

    fn crash(&mut self, node: &str, kept: usize) -> Done {
        let id = self.names.node(node)?;
        if !self.cluster.servers[&id].up {
            return Err(format!("{node} is down"));
        }
        self.cluster.crash(id.0, kept);
        self.cluster.lose(|e| e.from == id || e.to == id);
        Ok(())
    }

    /// Does something to each message under way that fits.
    fn each(&mut self, words: &[&str], act: impl Fn(&mut Cluster, Envelope<Message>)) -> Done {
        let which = self.which(words)?;
        let fits = |envelope: &Envelope<Message>| {
            let text = self.names.body(&envelope.message.body);
            which.from.is_none_or(|id| envelope.from == id)
                && which.to.is_none_or(|id| envelope.to == id)
                && which
                    .kind
                    .as_ref()
                    .is_none_or(|kind| text.starts_with(kind))
        };
        let (taken, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.cluster.net)
            .into_iter()
            .partition(fits);
        self.cluster.net = rest;
        if taken.is_empty() {
            return Err("nothing like that is under way".into());
        }
        for envelope in taken {
            act(&mut self.cluster, envelope);
        }
        Ok(())
    }

    fn which(&self, words: &[&str]) -> Result<Which, String> {
        let (from, to, kind) = match words {
            [from, "->", to] => (from, to, None),
            [from, "->", to, kind @ ..] => (from, to, Some(kind.join(" "))),
            _ => return Err("which messages?".into()),
        };
        let end = |name: &str| match name {
            "*" => Ok(None),
            name => self.names.node(name).map(Some),
        };
        Ok(Which {
            from: end(from)?,
            to: end(to)?,
            kind,
        })
    }

    fn told(&self, quiet: bool) -> Vec<String> {
        let name = |id| self.names.of(id);
        let mut lines = Vec::new();
        for said in &self.cluster.said {
            match said {
                Said::Sent(_) | Said::Stored(..) if quiet => {}
                Said::Sent(envelope) => {
                    let body = self.names.body(&envelope.message.body);
                    let (from, to) = (name(envelope.from), name(envelope.to));
                    lines.push(format!("{from} -> {to}: {body}"));
                }
                Said::Stored(id, records) => {
                    let stored: Vec<_> = records
                        .iter()
                        .filter_map(|r| self.names.record(r))
                        .collect();
                    if !stored.is_empty() {
                        lines.push(format!("{} stores {}", name(*id), stored.join("; ")));
                    }
                }
                Said::Told(id, event) => {
                    lines.push(format!("{} {}", name(*id), self.names.event(event)));
                }
            }
        }
        lines
    }

    /// What an author claims: checked always, and never rewritten.
    fn expect(&self, words: &[&str]) -> Done {
        let mut nodes = Vec::new();
        let mut rest = words;
        while let [first, tail @ ..] = rest
            && let Ok(id) = self.names.node(first)
        {
            nodes.push(id);
            rest = tail;
        }
        if nodes.is_empty() || rest.is_empty() {
            return Err("who is expected to do what?".into());
        }
        for id in nodes {
            let found = self.found(id, rest[0])?;
            let wanted = rest[1..].join(" ");
            if found != wanted {
                let name = self.names.of(id);
                return Err(format!(
                    "{name}: expected {}, found {found}",
                    rest.join(" ")
                ));
            }
        }
        Ok(())
    }

    fn found(&self, id: NodeId, what: &str) -> Result<String, String> {
        let decree = &self.cluster.servers[&id].decree;
        let nothing = || "nothing".to_owned();
        Ok(match what {
            "promised" => self
                .names
                .ballot(decree.promised().unwrap_or(Ballot::START)),
            "voted" => decree
                .vote()
                .map_or_else(nothing, |vote| self.names.vote(vote.ballot, &vote.value)),
            "learned" => decree.chosen().map_or_else(nothing, |value| {
                String::from_utf8_lossy(&value.payload).into_owned()
            }),
            "is" => {
                let phase = decree.phase().unwrap_or("no proposer");
                match decree.ballot() {
                    Some(ballot) => format!("{phase} {}", self.names.ballot(ballot)),
                    None => phase.to_owned(),
                }
            }
            other => return Err(format!("{other} cannot be expected")),
        })
    }
}
