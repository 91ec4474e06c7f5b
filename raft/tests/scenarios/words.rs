//! What machines say, in the words of the transcripts.

use bytes::Bytes;
use synod_core::{
    Decode, Entries, Entry, EntryKind, Envelope, Generation, LogIndex, LogRecord, NodeId, Stamp,
};
use synod_raft::{Body, Message, Outcome, Position, Round, Term};

/// Names of nodes: the first is node 1.
#[derive(Clone, Default)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl Names {
    pub(crate) fn of(&self, id: NodeId) -> String {
        let place = usize::try_from(id.0).unwrap().wrapping_sub(1);
        self.0.get(place).cloned().unwrap_or_else(|| id.to_string())
    }

    pub(crate) fn list(&self, ids: &[NodeId]) -> String {
        let names: Vec<String> = ids.iter().map(|id| self.of(*id)).collect();
        if names.is_empty() {
            "nobody".into()
        } else {
            names.join(" ")
        }
    }

    /// A message that leaves or arrives.
    pub(crate) fn message(&self, envelope: &Envelope<Message>) -> String {
        let Envelope {
            from, to, message, ..
        } = envelope;
        format!(
            "{} -> {}, term {}: {}",
            self.of(*from),
            self.of(*to),
            message.term.0,
            body(message)
        )
    }

    /// What a write holds; `told` is the term and vote that were told last, and nothing else of the
    /// state is told.
    pub(crate) fn records<'a>(
        &self,
        records: impl IntoIterator<Item = &'a LogRecord>,
        told: &mut (Term, Option<NodeId>),
    ) -> Vec<String> {
        let mut parts = Vec::new();
        for record in records {
            match record {
                LogRecord::State(bytes) => {
                    let state = term_and_vote(bytes);
                    if state != *told {
                        *told = state;
                        let vote = state
                            .1
                            .map(|vote| format!(" and its vote for {}", self.of(vote)));
                        parts.push(format!("term {}{}", state.0.0, vote.unwrap_or_default()));
                    }
                }
                LogRecord::Put(run) => parts.push(entries(run)),
                LogRecord::Truncate { from } => parts.push(format!("nothing from {} on", from.0)),
                LogRecord::Stage { offset, chunk, .. } => parts.push(format!(
                    "bytes {offset}..{} of a snapshot",
                    offset + chunk.len() as u64
                )),
                LogRecord::Activate { meta, .. } => parts.push(format!(
                    "the snapshot through {}@{} instead of its log",
                    meta.index().0,
                    meta.stamp.number
                )),
                LogRecord::Compact { through, .. } => {
                    parts.push(format!("nothing through {}", through.0));
                }
            }
        }
        parts
    }
}

/// The first fields of the stored state, whose bytes `raft/tests/it/golden.rs` pins.
pub(crate) fn term_and_vote(bytes: &Bytes) -> (Term, Option<NodeId>) {
    let mut input = bytes.clone();
    assert_eq!(
        u8::decode(&mut input).unwrap(),
        1,
        "the version of the state"
    );
    NodeId::decode(&mut input).unwrap();
    Generation::decode(&mut input).unwrap();
    let term = Term::decode(&mut input).unwrap();
    (term, Decode::decode(&mut input).unwrap())
}

/// What kind of message it is: the first word of its text.
pub(crate) fn kind(message: &Message) -> String {
    let text = body(message);
    text.split([' ', ',']).next().unwrap().to_owned()
}

fn body(message: &Message) -> String {
    let yes = |granted: bool| if granted { "yes" } else { "no" };
    let pre = |pre: bool| if pre { "pre-" } else { "" };
    let of_round = |round: Round| match round {
        Round(0) => String::new(),
        Round(number) => format!(", round {number}"),
    };
    match &message.body {
        Body::Vote { pre: is_pre, last } => {
            let term = message.term.0 + u64::from(*is_pre);
            format!(
                "{}vote for term {term}? log ends at {}",
                pre(*is_pre),
                position(*last)
            )
        }
        Body::Voted {
            pre: is_pre,
            candidacy,
            granted,
        } => format!(
            "{}voted {} for term {}",
            pre(*is_pre),
            yes(*granted),
            candidacy.0
        ),
        Body::Append(append) => {
            let what = if append.entries.is_empty() {
                "heartbeat".into()
            } else {
                format!("append {}", entries(&append.entries))
            };
            let before = Position {
                term: append.before,
                index: append.entries.first().previous(),
            };
            let (commit, round) = (append.commit.0, of_round(append.round));
            format!("{what} after {}, commit {commit}{round}", position(before))
        }
        Body::Appended { matched, round } => {
            format!("has {}{}", matched.0, of_round(*round))
        }
        Body::Conflict { asked, hint, round } => format!(
            "conflict at {}, try after {}{}",
            asked.0,
            position(*hint),
            of_round(*round)
        ),
        Body::Snapshot(piece) => format!(
            "snapshot through {}@{}, bytes {}..{} of {}{}",
            piece.meta.index().0,
            piece.meta.stamp.number,
            piece.offset,
            piece.offset + piece.chunk.len() as u64,
            piece.meta.size,
            of_round(piece.round)
        ),
        Body::SnapshotGot { id, offset, round } => format!(
            "got {offset} bytes of the snapshot through {}{}",
            id.index.0,
            of_round(*round)
        ),
        Body::Propose { commands, .. } => {
            let commands: Vec<_> = commands.iter().map(text).collect();
            format!("propose {}", commands.join(" "))
        }
        Body::Proposed { outcome, .. } => match outcome {
            Outcome::Accepted(index) => format!("proposed, it is at {}", index.0),
            Outcome::Refused(denial) => format!("proposed, refused: {denial:?}"),
            Outcome::Unknown => "proposed, unknown".into(),
        },
        Body::Read { .. } => "read".into(),
        Body::ReadAt { index, .. } => match index {
            Ok(index) => format!("read-at {}", index.0),
            Err(denial) => format!("read-at nothing: {denial:?}"),
        },
        Body::Stranger { .. } => "stranger".into(),
    }
}

/// An index and a term: `3@2` is the third entry, of term 2.
pub(crate) fn position(at: Position) -> String {
    format!("{}@{}", at.index.0, at.term.0)
}

pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an entry holds: nothing if it only opens a term.
fn payload(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::Blank => String::new(),
        EntryKind::Config => ":config".into(),
        EntryKind::Command | EntryKind::Named => format!(":{}", text(&entry.payload)),
    }
}

pub(crate) fn entries(run: &Entries) -> String {
    let term = run.stamp().number;
    let one = |(index, entry): (LogIndex, &Entry)| format!("{}@{term}{}", index.0, payload(entry));
    run.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A row of a log as the paper draws it: the term of each entry, and what it holds.
pub(crate) fn row<'a>(
    compacted: (LogIndex, Stamp),
    log: impl Iterator<Item = (LogIndex, Stamp, &'a Entry)>,
) -> String {
    let mut cells = Vec::new();
    if compacted.0 > LogIndex::START {
        cells.push(format!("[{}@{}]", compacted.0.0, compacted.1.number));
    }
    cells.extend(log.map(|(_, stamp, entry)| format!("{}{}", stamp.number, payload(entry))));
    if cells.is_empty() {
        "nothing".into()
    } else {
        cells.join(" ")
    }
}
