//! What a node lacks, and what it gives to others that lack something: chosen slots, votes for a new
//! ballot, snapshots.
//!
//! Who lacks asks (`window.rs`), and asks again when nothing comes; who answers keeps nothing but the few
//! reads of its disk that are under way for each peer.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use synod_core::{
    Decode, Entries, Instant, Lane, LoadId, LogEvent, LogIndex, LogLoad, LogLoaded, LogRecord,
    NodeId, OldLog, Run, SnapshotId, SnapshotMeta,
};

use super::membership::History;
use super::message::{Body, Page, Piece};
use super::node::{Node, Note};
use super::planted::planted;
use super::slots::Slots;
use super::window::EACH;
use super::{Detail, Epoch, Membership};
use crate::Ballot;

/// What is being read for peers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Server {
    reading: Vec<Reading>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Reading {
    load: LoadId,
    to: NodeId,
    after: LogIndex,
    through: Option<LogIndex>,
    /// Votes are wanted, by who has this ballot.
    votes: Option<Ballot>,
    /// The configuration that they are of: with the next one, votes are dropped.
    epoch: Epoch,
}

impl Server {
    /// Sends a peer what there is behind `after`, or reads it first.
    pub(crate) fn serve(
        &mut self,
        node: &mut Node,
        to: NodeId,
        (after, through): (LogIndex, Option<LogIndex>),
        votes: bool,
        staged: Option<(SnapshotId, u64)>,
    ) {
        let mut of_peer = self.reading.iter().filter(|reading| reading.to == to);
        let most = if votes { 1 } else { EACH };
        if of_peer.clone().count() >= most || of_peer.any(|reading| reading.after == after) {
            // It asks again before it was answered.
            return node.drop_message();
        }
        let load = if after < node.slots.base() {
            if through.is_some() {
                // It wants no snapshot for a part of the log that lies behind what it lacks at first.
                let nothing = answer_page(node, after, after, Vec::new());
                return send_page(node, to, votes, nothing);
            }
            piece(node, staged)
        } else {
            match page(node, (after, through), votes) {
                Ok(page) => return send_page(node, to, votes, page),
                Err(load) => Some(load),
            }
        };
        if let Some(load) = load {
            let load = node.outbox.load(load);
            let votes = votes.then_some(node.promised);
            self.reading.push(Reading {
                load,
                to,
                after,
                through,
                votes,
                epoch: node.epoch(),
            });
        }
    }

    /// The link to a peer is another one: what is read for it came too late.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.reading.retain(|reading| reading.to != peer);
    }

    /// What was read; `false` if it was for nobody here.
    pub(crate) fn loaded(
        &mut self,
        node: &mut Node,
        load: LoadId,
        answer: &Option<LogLoaded>,
    ) -> bool {
        let Some(place) = self.reading.iter().position(|reading| reading.load == load) else {
            return false;
        };
        let reading = self.reading.swap_remove(place);
        let stale = |ballot| ballot != node.promised || reading.epoch != node.epoch();
        if reading.votes.is_some_and(stale) {
            return true;
        }
        match answer {
            Some(LogLoaded::Snapshot {
                meta,
                offset,
                chunk,
            }) => {
                let piece = Piece {
                    meta: meta.clone(),
                    offset: *offset,
                    chunk: chunk.clone(),
                };
                // Safe before any write: it is current on this disk.
                node.send_now(reading.to, Body::Piece(Box::new(piece)));
            }
            // A snapshot covers what was read by now, and everything up to its end counts as chosen: what
            // the disk had there may be votes for something else. It asks again.
            Some(LogLoaded::Entries { .. }) if reading.after < node.slots.base() => {}
            Some(LogLoaded::Entries { runs, .. }) => {
                let end = last_wanted(node, reading.through, reading.votes.is_some());
                // What was overwritten meanwhile is in memory: the page ends before it, and who wants
                // more asks again. To leave it out and go on behind it would say that nothing was
                // voted for there: a candidate would fill chosen slots with blanks, where the
                // leader of a lower ballot has just said what was chosen in them.
                let runs = runs.iter();
                let runs: Vec<Entries> = runs
                    .map(|run| run.after(reading.after).through(end))
                    .skip_while(Entries::is_empty)
                    .take_while(|run| !run.is_empty() && is_current(node, run))
                    .collect();
                let through = runs.last().map_or(reading.after, Entries::last);
                let page = answer_page(node, reading.after, through, runs);
                send_page(node, reading.to, reading.votes.is_some(), page);
            }
            // Compacted meanwhile: it asks again.
            None => {}
        }
        true
    }
}

/// Sends a page. Votes are reported once they are durable here.
///
/// What is chosen is safe to tell before any write: it was durable at a quorum, whatever becomes of
/// this disk. And if that hangs, those who lack something must neither wait for it nor, as they ask
/// again and again, have their answers gather here. (One who takes it for a part of phase 1 has this
/// node's promise, which was durable before it was sent.)
fn send_page(node: &mut Node, to: NodeId, votes: bool, page: Page) {
    if votes {
        node.send(to, Body::Page(page));
    } else {
        node.send_now(to, Body::Page(page));
    }
}

/// Whether these are still the votes in their slots.
fn is_current(node: &Node, run: &Entries) -> bool {
    let mut stored = node.slots.runs_in(run.first(), run.last());
    stored.all(|stored| stored.stamp == run.stamp())
}

/// The last slot that one may want.
fn last_wanted(node: &Node, through: Option<LogIndex>, votes: bool) -> LogIndex {
    let end = if votes {
        node.slots.sealed()
    } else {
        node.chosen
    };
    through.map_or(end, |through| through.min(end))
}

pub(crate) fn answer_page(
    node: &Node,
    after: LogIndex,
    through: LogIndex,
    runs: Vec<Entries>,
) -> Page {
    Page {
        after,
        through,
        runs,
        chosen: node.chosen,
        last: node.slots.sealed(),
    }
}

/// A page of what is behind `after`, from memory; or what has to be read.
pub(crate) fn page(
    node: &Node,
    (after, through): (LogIndex, Option<LogIndex>),
    votes: bool,
) -> Result<Page, LogLoad> {
    let end = last_wanted(node, through, votes);
    let (mut at, mut runs) = (after, Vec::new());
    let mut room = node.config.limits.accept_bytes;
    while at < end {
        let Some(next) = node.slots.next_held(at).filter(|next| *next <= end) else {
            at = end;
            break;
        };
        let Some(chunk) = node.slots.chunk_from(next) else {
            if runs.is_empty() {
                return Err(LogLoad::Entries {
                    after: next.previous(),
                    through: node.slots.stretch_end(next).min(end),
                    max_bytes: room,
                });
            }
            at = next.previous();
            break;
        };
        let part = chunk.through(end);
        if !runs.is_empty() && part.weight() > room {
            at = next.previous();
            break;
        }
        let part = part.within(next, room);
        room = room.saturating_sub(part.weight());
        at = part.last();
        runs.push(part);
    }
    Ok(answer_page(node, after, at.max(after), runs))
}

/// Chosen entries with the mark of a classic ballot.
fn classic(entries: Entries) -> Entries {
    let ballot = Ballot::from(entries.stamp());
    if !ballot.is_fast() {
        return entries;
    }
    let same = entries.as_slice().iter().cloned();
    Entries::new(entries.first(), ballot.as_classic().stamp(), same)
}

/// The same votes as if all had been cast in `ballot`: a bug that can be planted.
pub(crate) fn restamp(page: Page, ballot: Ballot) -> Page {
    let again = |run: &Entries| {
        let entries = run.as_slice().iter().cloned();
        Entries::new(run.first(), ballot.stamp(), entries)
    };
    Page {
        runs: page.runs.iter().map(again).collect(),
        ..page
    }
}

/// The next piece of the snapshot for one that has staged so much of one.
fn piece(node: &Node, staged: Option<(SnapshotId, u64)>) -> Option<LogLoad> {
    let snapshot = node.snapshot.as_ref()?;
    let staged = staged.filter(|(id, bytes)| *id == snapshot.id && *bytes <= snapshot.size);
    Some(LogLoad::Snapshot {
        id: snapshot.id,
        offset: staged.map_or(0, |(_, bytes)| bytes),
        max_bytes: node.config.limits.snapshot_chunk_bytes,
    })
}

impl Node {
    /// Asks `peer` for what is chosen behind `after`.
    pub(crate) fn fetch(&mut self, peer: NodeId, after: LogIndex, through: Option<LogIndex>) {
        self.send_fetch(peer, (after, through), false);
    }

    /// Asks `peer` for all that it holds behind `after`.
    pub(crate) fn fetch_votes(&mut self, peer: NodeId, after: LogIndex) {
        self.send_fetch(peer, (after, None), true);
    }

    fn send_fetch(
        &mut self,
        peer: NodeId,
        (after, through): (LogIndex, Option<LogIndex>),
        votes: bool,
    ) {
        let staged = self.staged;
        // Safe before any write: a question promises nothing. (That one who asks for votes has the
        // ballot durably is seen to before it prepares.)
        self.send_now(
            peer,
            Body::Fetch {
                after,
                through,
                votes,
                staged,
            },
        );
    }

    /// Takes over what a page says to be chosen.
    pub(crate) fn learn(&mut self, page: &Page) {
        if page.after > self.chosen {
            return;
        }
        let mut marked = false;
        'runs: for run in &page.runs {
            loop {
                let rest = run.after(self.chosen).through(page.chosen);
                if rest.is_empty() {
                    break;
                }
                // As far as the next configuration: a stop-sign comes into force before anything
                // behind it is written.
                let config = Slots::configs(&rest).map(|(index, _)| index).next();
                let last = config.unwrap_or_else(|| rest.last());
                let part = rest.through(last);
                if part.first() != self.chosen.next() {
                    // What is chosen has no gap: nonsense.
                    self.drop_message();
                    break 'runs;
                }
                // Chosen in the fast ballot of a leadership, it is the only value of the classic one. This
                // node has not voted for it in the fast one, and does not say so.
                let part = classic(part);
                marked |= Ballot::from(part.stamp()) != self.promised;
                self.put_chosen(&part);
                self.choose(last);
                if self.stopped || self.chosen < last {
                    break 'runs;
                }
            }
        }
        if marked && self.hinted < self.chosen {
            // What a leader was told to be held it does not send again, so a restart must know it to be
            // held: what is accepted in the promised ballot by its mark, the rest by this word. (A
            // page of an earlier leader may come when the present one sends these slots itself.)
            self.write_state();
        }
    }

    /// Puts what is chosen in its slots, but where this node has voted in the same ballot or a later
    /// one: that vote is for the same value. (What one knows to be chosen it holds with the mark of a
    /// ballot in which it was chosen, or of a later one: it has accepted it in the ballot whose leader
    /// says that it is chosen, or has it with the mark from one of whom this holds, or has kept a
    /// later vote here. No vote goes over what is known to be chosen, so that stays true, and a later
    /// ballot proposes nothing else.) So votes never go back.
    fn put_chosen(&mut self, entries: &Entries) {
        let (first, last) = (entries.first(), entries.last());
        let ballot = Ballot::from(entries.stamp());
        let mut own: Vec<Run> = Vec::new();
        for run in self.slots.runs_in(first, last) {
            let vote = Ballot::from(run.stamp);
            if vote.rank() >= ballot.rank() {
                own.push(run);
            } else if vote == ballot.as_fast() {
                // A vote of the same leadership's fast ballot may be for another value. Where it is not, it
                // stays, for those who count it, and because it may be known to be chosen: what is held
                // is durable as it is, and is handed out before another write of it would be. (Slot by
                // slot: with one of another value beside it, one was written anew and handed out.)
                self.same_of(run, entries, &mut own);
            }
        }
        let mut at = first;
        for run in own {
            if at < run.first {
                self.put(entries.after(at.previous()).through(run.first.previous()));
            }
            self.hold(run.first, run.last);
            at = run.last.next();
        }
        if at <= last {
            self.put(entries.after(at.previous()));
        }
    }

    /// The stretches of `run` in which this node has what is chosen there, as far as it is in memory.
    fn same_of(&self, run: Run, entries: &Entries, same: &mut Vec<Run>) {
        let mut at = run.first;
        while at <= run.last {
            let own = self.slots.chunk_from(at);
            if own.is_some_and(|chunk| chunk.get(at) == entries.get(at)) {
                same.push(Run {
                    first: at,
                    last: at,
                    ..run
                });
            }
            at = at.next();
        }
    }

    /// A piece of a snapshot; `true` if it was the last one that was missing. While pieces come from
    /// one peer, those of others do not count: two that have different snapshots would each make the
    /// other's begin anew, without end.
    pub(crate) fn on_piece(&mut self, from: NodeId, piece: Piece) -> bool {
        let Piece {
            meta,
            offset,
            chunk,
        } = piece;
        let busy = |(source, until): &(NodeId, Instant)| *source != from && self.now < *until;
        if self.staging.as_ref().is_some_and(busy) {
            self.drop_message();
            return false;
        }
        if meta.index() <= self.chosen {
            // All of that is here meanwhile.
            return false;
        }
        let staged = self.staged.filter(|(id, _)| *id == meta.id);
        let staged = staged.map_or(0, |(_, bytes)| bytes);
        let done = staged + chunk.len() as u64;
        if offset != staged || done > meta.size || (chunk.is_empty() && done < meta.size) {
            self.drop_message();
            return false;
        }
        let patience = self.config.timing.round.saturating_mul(4);
        self.staging = Some((from, self.now + patience));
        self.outbox.write(LogRecord::Stage {
            lane: Lane::Received,
            id: meta.id,
            offset,
            chunk,
        });
        self.staged = Some((meta.id, done));
        if done < meta.size {
            return false;
        }
        self.install(meta);
        true
    }

    /// The snapshot takes the place of what it covers. Votes behind it stay: they may be what a
    /// quorum has chosen.
    fn install(&mut self, meta: SnapshotMeta) {
        let membership = match Membership::decode_all(meta.config.clone()) {
            Ok(membership) => membership,
            Err(error) => {
                let evidence = format!("the configuration of snapshot {}: {error}", meta.id);
                return self.fail_stop("configurations in snapshots are readable", evidence);
            }
        };
        if membership.epoch() < self.epoch() {
            let (now, then) = (self.epoch(), membership.epoch());
            let evidence = format!("snapshot {} is of {then:?}, this node in {now:?}", meta.id);
            return self.fail_stop("voters change one epoch at a time", evidence);
        }
        // Votes behind a snapshot of a later configuration were cast before that was in force here:
        // nothing was chosen by them (`stop.rs`).
        let enters = membership.epoch() > self.epoch();
        let drops = enters || planted!(self, SnapshotDropsVotes);
        let log = if drops { OldLog::Replace } else { OldLog::Keep };
        self.outbox.write(LogRecord::Activate {
            meta: meta.clone(),
            log,
        });
        let (index, ballot) = (meta.index(), Ballot::from(meta.stamp));
        if drops {
            self.slots = Slots::new((index, ballot));
            self.held.clamp(self.chosen);
            self.clamp_durable(self.chosen);
            self.open_configs_behind(LogIndex(u64::MAX));
        } else {
            self.outbox.write(LogRecord::Compact {
                through: index,
                stamp: meta.stamp,
            });
            self.slots.compact(index, ballot);
        }
        self.open_configs_behind(index);
        self.history = History::new(index, membership);
        self.membership_changed();
        self.staged = None;
        self.staging = None;
        self.snapshot = Some(meta.clone());
        self.held.raise(index);
        self.unnoted = true;
        self.chosen = index;
        if drops {
            // What was open was so in another configuration.
            self.fast.begin(index);
        }
        self.due = true;
        self.hand_snapshot(&meta);
        self.settle_fast();
        self.outbox.note_after(Note::Installed(index));
        self.outbox
            .event_after(LogEvent::Detail(Detail::SnapshotInstalled { id: meta.id }));
    }
}
