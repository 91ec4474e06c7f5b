//! Multi-Paxos on the stage.

use std::collections::BTreeMap;

use bytes::Bytes;
use synod_core::{
    Committed, Decode, Entries, Entry, EntryKind, Envelope, Generation, Instant, LinkId, LogEvent,
    LogImage, LogIndex, LogLoad, LogLoaded, LogRecord, Machine, NodeId, ReadLevel, ReplicatedLog,
    Role, Round,
};
use synod_paxos::Ballot;
use synod_paxos::log::planted::Bug;
use synod_paxos::log::{Body, Config, Detail, Epoch, Event, Message, MultiPaxos};

use crate::hall::{Done, Hall, Play};
use crate::names::Names;

#[derive(Clone, Default)]
pub(crate) struct Log {
    voters: u64,
    bug: Option<Bug>,
    /// Every vote that was ever durable: for what, and whose.
    votes: BTreeMap<(LogIndex, Ballot), (Entry, Vec<NodeId>)>,
    /// What anybody has handed out.
    ledger: BTreeMap<LogIndex, Entry>,
    /// The last slot that each node has applied.
    applied: BTreeMap<NodeId, LogIndex>,
}

impl Log {
    pub(crate) fn new(voters: u64, bug: Option<Bug>) -> Self {
        Self {
            voters,
            bug,
            ..Self::default()
        }
    }

    /// What was voted for by a majority in one ballot.
    fn chosen(&self, slot: LogIndex) -> Vec<&Entry> {
        let votes = self.votes.range((slot, Ballot::START)..);
        let votes = votes.take_while(|((at, _), _)| *at == slot);
        let enough = |voters: &Vec<NodeId>| voters.len() as u64 > self.voters / 2;
        let mut chosen: Vec<&Entry> = Vec::new();
        for (_, (entry, _)) in votes.filter(|(_, (_, voters))| enough(voters)) {
            if !chosen.contains(&entry) {
                chosen.push(entry);
            }
        }
        chosen
    }

    fn hand(&mut self, id: NodeId, committed: &Committed) -> Done {
        let applied = self.applied.entry(id).or_default();
        if committed.entries.first() != applied.next() {
            return Err(format!("{} behind {applied}", committed.entries.first()));
        }
        *applied = committed.last();
        for (slot, entry) in committed.entries.iter() {
            if !self.chosen(slot).contains(&entry) {
                return Err(format!("{slot} is handed out and not chosen: {entry:?}"));
            }
            if self
                .ledger
                .insert(slot, entry.clone())
                .is_some_and(|known| known != *entry)
            {
                return Err(format!("another entry is handed out at {slot}: {entry:?}"));
            }
        }
        Ok(())
    }
}

fn text(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::Blank => "blank".into(),
        EntryKind::Command | EntryKind::Named => {
            String::from_utf8_lossy(&entry.payload).into_owned()
        }
        EntryKind::Config => "a configuration".into(),
    }
}

/// `135=x 136=blank`; of more than six only where they begin and end.
fn entries(run: &Entries) -> String {
    if run.len() > 6 {
        return format!("{}..{}", run.first().0, run.last().0);
    }
    let each = run
        .iter()
        .map(|(slot, entry)| format!("{}={}", slot.0, text(entry)));
    each.collect::<Vec<_>>().join(" ")
}

fn votes<'a>(names: &Names, runs: impl IntoIterator<Item = &'a Entries>) -> String {
    let run = |run: &Entries| format!("{} in {}", entries(run), names.ballot(run.stamp().into()));
    let runs: Vec<_> = runs.into_iter().map(run).collect();
    if runs.is_empty() {
        "no votes".into()
    } else {
        runs.join(", ")
    }
}

fn promised_in(state: &Bytes) -> Option<(Ballot, LogIndex)> {
    let mut rest = state.slice(1..);
    NodeId::decode(&mut rest).ok()?;
    Generation::decode(&mut rest).ok()?;
    Some((
        Ballot::decode(&mut rest).ok()?,
        LogIndex::decode(&mut rest).ok()?,
    ))
}

impl Play for Log {
    type Message = Message;
    type Record = LogRecord;
    type Machine = MultiPaxos;
    type Disk = LogImage;

    fn start(&self, id: NodeId, disk: &LogImage, now: Instant) -> MultiPaxos {
        let voters = (1..=self.voters).map(NodeId);
        let builder = Config::builder(id).voters(voters);
        let builder = match self.bug {
            Some(bug) => builder.danger_plant(bug),
            None => builder,
        };
        let mut disk = disk.clone();
        disk.restart();
        MultiPaxos::new(builder.build().unwrap(), disk.restored(usize::MAX), now).unwrap()
    }

    /// Its state machine is in memory, and starts anew.
    fn crashed(&mut self, id: NodeId) {
        self.applied.remove(&id);
    }

    fn check(machine: &MultiPaxos) {
        machine.check();
    }

    fn load(disk: &LogImage, load: &LogLoad) -> Option<LogLoaded> {
        disk.load(load)
    }

    fn store(&mut self, id: NodeId, disk: &mut LogImage, record: LogRecord) -> Done {
        if let LogRecord::Put(run) = &record {
            for (slot, entry) in run.iter() {
                let key = (slot, Ballot::from(run.stamp()));
                let (known, voters) = self
                    .votes
                    .entry(key)
                    .or_insert_with(|| (entry.clone(), Vec::new()));
                if known != entry {
                    return Err(format!("{key:?} is for {known:?} and {entry:?}"));
                }
                if !voters.contains(&id) {
                    voters.push(id);
                }
            }
        }
        disk.apply(record).map_err(|error| error.to_string())
    }

    fn is_background(message: &Message) -> bool {
        matches!(message.body, Body::Ask { .. } | Body::Beat { .. })
    }

    fn tell_message(names: &Names, message: &Message) -> String {
        let ballot = names.ballot(message.ballot);
        match &message.body {
            Body::Prepare { after } => format!("prepare {ballot} behind {}", after.0),
            Body::Promise(page) => format!("promise {ballot}, {}", votes(names, &page.runs)),
            Body::Nack => format!("refused in favour of {ballot}"),
            Body::Accept(accept) if accept.entries.is_empty() => {
                format!("heartbeat {ballot}, chosen {}", accept.chosen.0)
            }
            Body::Accept(accept) => {
                let (run, chosen) = (entries(&accept.entries), accept.chosen.0);
                format!("accept {run} in {ballot}, chosen {chosen}")
            }
            Body::Accepted { held, .. } => {
                let beyond = held.beyond().iter();
                let beyond = beyond.map(|(first, last)| format!(" and {}..{}", first.0, last.0));
                let beyond = beyond.collect::<String>();
                format!("accepted in {ballot} through {}{beyond}", held.through().0)
            }
            Body::Fetch { after, votes, .. } => {
                let what = if *votes { "votes" } else { "chosen" };
                format!("fetch {what} behind {}", after.0)
            }
            Body::Page(page) => format!("page of {}, {}", page.after.0, votes(names, &page.runs)),
            Body::Propose { commands, .. } => {
                let texts = commands
                    .iter()
                    .map(|it| String::from_utf8_lossy(it).into_owned());
                format!("propose {}", texts.collect::<Vec<_>>().join(" "))
            }
            Body::Proposed { outcome, .. } => format!("proposed {outcome:?}"),
            Body::Read { .. } => "read".into(),
            Body::ReadAt { index, .. } => format!("read-at {index:?}"),
            Body::TakeOver => "take-over".into(),
            Body::Ask { .. } => "ask".into(),
            Body::Beat { .. } => "beat".into(),
            Body::Piece(_) => "piece".into(),
            Body::Stranger { .. } => "stranger".into(),
            // No story of the log has these: fast rounds, reads without a leader, leases.
            Body::Offer(_)
            | Body::Voted(_)
            | Body::QuorumRead { .. }
            | Body::QuorumReadAt { .. }
            | Body::Fill { .. }
            | Body::Lease { .. }
            | Body::Granted { .. } => format!("{:?}", message.body),
        }
    }

    fn tell_record(names: &Names, record: &LogRecord) -> Option<String> {
        Some(match record {
            LogRecord::State(state) => {
                let (promised, chosen) = promised_in(state)?;
                format!("promise {}, chosen {}", names.ballot(promised), chosen.0)
            }
            LogRecord::Put(run) => format!("vote {}", votes(names, [run])),
            other => format!("{other:?}"),
        })
    }

    fn hear(hall: &mut Hall<Self>, id: NodeId, event: Event) -> Option<String> {
        Some(match event {
            LogEvent::Committed(committed) => {
                if let Err(why) = hall.play.hand(id, &committed) {
                    hall.fail(why);
                }
                let (now, last) = (hall.now, committed.last());
                hall.server(id).machine.applied(now, last);
                let client = committed.ticket.map_or("", |_| ", its clients learn it");
                format!("applies {}{client}", entries(&committed.entries))
            }
            LogEvent::Read { index, .. } => format!("answers a read at {}", index.0),
            LogEvent::Displaced(_) => "tells a client that it was displaced".into(),
            LogEvent::Unknown(_) => "tells a client that nobody knows".into(),
            LogEvent::Refused(_, why) => format!("refuses a client: {why:?}"),
            LogEvent::Role(change) => match (change.role, change.leader) {
                (Role::Leader, _) => format!("leads: {}", change.why),
                (Role::Candidate, _) => format!("stands: {}", change.why),
                (_, Some(leader)) => format!("follows {}: {}", hall.names.of(leader), change.why),
                (_, None) => format!("follows nobody: {}", change.why),
            },
            LogEvent::Detail(Detail::Recovered {
                ballot,
                through,
                blanks,
            }) => format!(
                "begins {} with slots through {}, {blanks} of them blanks",
                hall.names.ballot(ballot),
                through.0
            ),
            LogEvent::Detail(Detail::Fetching { after, from }) => {
                format!(
                    "lacks what is behind {}, which {} has",
                    after.0,
                    hall.names.of(from)
                )
            }
            LogEvent::Detail(_) => return None,
            LogEvent::Restore(_) => "starts from a snapshot".into(),
            LogEvent::Stopped(stop) => format!("stops: {stop}"),
        })
    }

    fn command(hall: &mut Hall<Self>, words: &[&str]) -> Option<Done> {
        Some(match words {
            ["propose", what, "at", node] => propose(hall, what, node),
            ["read", "at", node] => hall.up(node).and_then(|id| {
                let now = hall.now;
                let asked = hall.server(id).machine.read(now, ReadLevel::Linearizable);
                hall.drain(id);
                asked.map(|_| ()).map_err(|error| format!("{error:?}"))
            }),
            ["stand", node] => hall.up(node).and_then(|id| stand(hall, id)),
            _ => return None,
        })
    }

    fn found(hall: &Hall<Self>, id: NodeId, words: &[&str]) -> Result<(String, String), String> {
        let server = &hall.servers[&id];
        let status = server.machine.status();
        let rest = |from: usize| words[from.min(words.len())..].join(" ");
        Ok(match words {
            ["chosen", ..] => (status.committed.0.to_string(), rest(1)),
            ["applied", ..] => {
                let applied = hall.play.applied.get(&id).copied().unwrap_or_default();
                (applied.0.to_string(), rest(1))
            }
            ["voted", slot, ..] => {
                let slot: u64 = slot.parse().map_err(|_| format!("{slot} is no slot"))?;
                let vote = server.disk.get(LogIndex(slot)).map(|(stamp, entry)| {
                    format!("{} in {}", text(entry), hall.names.ballot(stamp.into()))
                });
                (vote.unwrap_or_else(|| "nothing".into()), rest(2))
            }
            ["promised", ..] => {
                let state = server.disk.restored(0).state;
                let promised = state.as_ref().and_then(promised_in);
                let ballot = promised.map_or(Ballot::START, |(ballot, _)| ballot);
                (hall.names.ballot(ballot), rest(1))
            }
            ["is", ..] => {
                let role = match status.role {
                    Role::Leader => "leading",
                    Role::Candidate => "standing",
                    Role::Follower => "following",
                    other => return Err(format!("it is {other:?}")),
                };
                let leader = status.leader.filter(|_| status.role == Role::Follower);
                let leader = leader.map(|id| format!(" {}", hall.names.of(id)));
                (role.to_owned() + &leader.unwrap_or_default(), rest(1))
            }
            other => return Err(format!("{other:?} cannot be expected")),
        })
    }

    fn law(hall: &Hall<Self>) -> Done {
        let slots: std::collections::BTreeSet<_> =
            hall.play.votes.keys().map(|(slot, _)| *slot).collect();
        for slot in slots {
            let chosen = hall.play.chosen(slot);
            if chosen.len() > 1 {
                return Err(format!("two values are chosen at {slot}: {chosen:?}"));
            }
        }
        Ok(())
    }
}

/// A command, or those of a row of numbers at once: `1..134`.
fn propose(hall: &mut Hall<Log>, what: &str, node: &str) -> Done {
    let id = hall.up(node)?;
    let row = what
        .split_once("..")
        .map(|(first, last)| (first.parse::<u64>(), last.parse()));
    let commands: Vec<String> = match row {
        Some((Ok(first), Ok(last))) => (first..=last).map(|n| format!("c{n}")).collect(),
        Some(_) | None => vec![what.to_owned()],
    };
    for command in commands {
        let now = hall.now;
        let proposed = hall.server(id).machine.propose(now, command.into());
        proposed.map_err(|error| format!("{:?}", error.refusal))?;
    }
    hall.drain(id);
    Ok(())
}

/// All others that are up say that nobody leads, for as many rounds of the election as it takes.
fn stand(hall: &mut Hall<Log>, id: NodeId) -> Done {
    let before = hall.servers[&id].machine.status().era;
    let peers = hall.ids().into_iter().filter(|peer| *peer != id);
    let peers: Vec<_> = peers.filter(|peer| hall.servers[peer].up).collect();
    for _ in 0..12 {
        let wake = hall.servers[&id].machine.deadline();
        hall.now = hall.now.max(wake.ok_or("it waits for nothing")?.at);
        // Which round it is nobody else knows: all but one of these are dropped. A leader hears
        // nothing, until it has given up.
        let leads = hall.servers[&id].machine.status().role == Role::Leader;
        let rounds = if leads { 0 } else { 64 };
        for (peer, round) in peers
            .iter()
            .flat_map(|peer| (0..rounds).map(|round| (*peer, round)))
        {
            let word = nobody_leads(hall, peer, id, Round(round));
            let now = hall.now;
            hall.server(id).machine.step(now, word);
            hall.drain(id);
        }
        hall.tick(id);
        if hall.servers[&id].machine.status().era > before {
            return Ok(());
        }
    }
    Err("it does not stand".into())
}

fn nobody_leads(hall: &Hall<Log>, from: NodeId, to: NodeId, round: Round) -> Envelope<Message> {
    let ballot = |round| Ballot {
        round,
        proposer: from,
    };
    let message = Message {
        generation: hall.servers[&from].machine.status().generation,
        ballot: Ballot::START,
        epoch: Epoch(0),
        body: Body::Beat {
            round,
            stands: ballot(0),
            // Of somebody else, whom nobody hears.
            follows: ballot(1 << 40),
            content: false,
            priority: 0,
        },
    };
    let link = LinkId(1);
    Envelope {
        from,
        to,
        link,
        message,
    }
}
