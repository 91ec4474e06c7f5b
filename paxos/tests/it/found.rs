//! What a second reading of the log has found, as stories on one node with peers, a disk and a clock
//! held by hand: each fails without its fix.

use std::collections::VecDeque;

use synod_core::{
    Batch, Entries, Entry, Envelope, Generation, Instant, Link, LinkId, LoadId, LogEvent, LogImage,
    LogIndex, LogLoad, LogRecord, Machine, NodeId, Output, ReplicatedLog, Role, Round, SnapshotId,
    SnapshotMeta, WriteId,
};
use synod_paxos::Ballot;
use synod_paxos::log::{
    Accept, Body, Config, ConfigBuilder, Event, Message, MultiPaxos, Page, Piece,
};

/// Node 1, and nodes 2 and 3 as the test plays them.
struct Rig {
    log: MultiPaxos,
    image: LogImage,
    now: Instant,
    /// Writes that wait for [`Rig::persist`]; without `hangs` they are durable at once.
    writes: VecDeque<(WriteId, Batch<LogRecord>)>,
    hangs: bool,
    loads: Vec<(LoadId, LogLoad)>,
    sent: Vec<(NodeId, Message)>,
    events: Vec<Event>,
}

fn n(id: u64) -> NodeId {
    NodeId(id)
}

fn at(index: u64) -> LogIndex {
    LogIndex(index)
}

fn ballot(round: u64, proposer: u64) -> Ballot {
    let proposer = n(proposer);
    Ballot { round, proposer }
}

/// `count` entries from `first` on, of `ballot`, that say so.
fn entries(first: u64, count: u64, ballot: Ballot) -> Entries {
    let command = |k| Entry::command(format!("{}@{ballot}", first + k).into_bytes().into());
    Entries::new(at(first), ballot.stamp(), (0..count).map(command))
}

fn config(seed: u64, more: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Config {
    let builder = Config::builder(n(1)).voters([n(1), n(2), n(3)]).seed(seed);
    more(builder).build().unwrap()
}

fn same(builder: ConfigBuilder) -> ConfigBuilder {
    builder
}

impl Rig {
    fn new() -> Self {
        Self::with(same)
    }

    fn with(more: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        Self::start(LogImage::new(), config(1, more), usize::MAX)
    }

    fn start(mut image: LogImage, config: Config, tail: usize) -> Self {
        image.restart();
        let now = Instant::from_millis(1_000);
        let log = MultiPaxos::new(config, image.restored(tail), now).unwrap();
        let mut rig = Self {
            log,
            image,
            now,
            writes: VecDeque::new(),
            hangs: false,
            loads: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
        };
        rig.link(2, 1);
        rig.link(3, 1);
        rig
    }

    /// Another life on the same disk, with so much of the log in memory.
    fn restart(self, tail: usize) -> Self {
        Self::start(self.image, config(2, same), tail)
    }

    fn link(&mut self, peer: u64, id: u64) {
        self.log.link(self.now, n(peer), Link::Up(LinkId(id)));
        self.drain();
    }

    fn drain(&mut self) {
        self.log.check();
        while let Some(output) = self.log.poll() {
            match output {
                Output::Send(envelope) => self.sent.push((envelope.to, envelope.message)),
                Output::Persist(write, records) => {
                    self.writes.push_back((write, records));
                    if !self.hangs {
                        self.persist();
                    }
                }
                Output::Load(load, what) => self.loads.push((load, what)),
                Output::Event(event) => self.events.push(event),
            }
            self.log.check();
        }
    }

    /// The next write is done.
    fn persist(&mut self) {
        let (write, records) = self.writes.pop_front().unwrap();
        for record in records {
            self.image.apply(record).unwrap();
        }
        self.log.persisted(self.now, write);
        self.drain();
    }

    /// Reads what the last load asks for, as it is on disk now.
    fn read(&self) -> (LoadId, Option<synod_core::LogLoaded>) {
        let (load, what) = self.loads.last().unwrap();
        (*load, self.image.load(what))
    }

    fn loaded(&mut self, (load, answer): (LoadId, Option<synod_core::LogLoaded>)) {
        self.log.loaded(self.now, load, answer);
        self.drain();
    }

    fn hear(&mut self, from: u64, ballot: Ballot, body: Body) {
        let message = Message {
            generation: Generation(from),
            ballot,
            epoch: synod_paxos::log::Epoch(0),
            body,
        };
        let (from, to, link) = (n(from), n(1), LinkId(1));
        self.log.step(
            self.now,
            Envelope {
                from,
                to,
                link,
                message,
            },
        );
        self.drain();
    }

    /// Nodes 2 or 3 lead, propose this, and know so much to be chosen.
    fn accept(&mut self, ballot: Ballot, entries: Entries, chosen: u64, pushed: u64, round: u64) {
        let accept = Accept {
            entries,
            chosen: at(chosen),
            pushed: at(pushed),
            round: Round(round),
            fast: None,
        };
        self.hear(ballot.proposer.0, ballot, Body::Accept(accept));
    }

    fn page(&mut self, from: Ballot, after: u64, runs: Vec<Entries>, chosen: u64) {
        let through = runs.last().map_or_else(|| at(after), Entries::last);
        let page = Page {
            after: at(after),
            through,
            runs,
            chosen: at(chosen),
            last: through.max(at(chosen)),
        };
        self.hear(from.proposer.0, from, Body::Page(page));
    }

    fn piece(&mut self, from: Ballot, index: u64, offset: u64, chunk: &str, size: u64) {
        let config = self.image_config();
        let meta = SnapshotMeta {
            id: SnapshotId {
                origin: Generation(from.proposer.0),
                index: at(index),
            },
            stamp: from.stamp(),
            config,
            size,
        };
        let chunk = chunk.to_owned().into();
        let piece = Piece {
            meta,
            offset,
            chunk,
        };
        self.hear(from.proposer.0, from, Body::Piece(Box::new(piece)));
    }

    /// The encoding of the configuration in force: what a leader of the same cluster would name.
    fn image_config(&self) -> bytes::Bytes {
        let mut other = MultiPaxos::new(
            Config::builder(n(1)).voters([n(1)]).build().unwrap(),
            LogImage::new().restored(0),
            self.now,
        )
        .unwrap();
        let mut image = LogImage::new();
        for _ in 0..3 {
            other.tick(other.deadline().map_or(self.now, |wake| wake.at));
            while let Some(output) = other.poll() {
                if let Output::Persist(write, records) = output {
                    for record in records {
                        image.apply(record).unwrap();
                    }
                    other.persisted(self.now, write);
                }
            }
        }
        other.propose(self.now, "x".into()).unwrap();
        while let Some(output) = other.poll() {
            if let Output::Persist(write, _) = output {
                other.persisted(self.now, write);
            }
        }
        let committed = other.status().committed;
        // Voters differ from the rig's, which no test here looks at.
        other.describe(committed).unwrap().config
    }

    fn fetch(&mut self, from: Ballot, after: u64, votes: bool) {
        let body = Body::Fetch {
            after: at(after),
            through: None,
            votes,
            staged: None,
        };
        self.hear(from.proposer.0, from, body);
    }

    /// What was sent to `to` since this was last asked.
    fn said(&mut self, to: u64) -> Vec<Body> {
        let (said, rest) = core::mem::take(&mut self.sent)
            .into_iter()
            .partition(|(peer, _)| *peer == n(to));
        self.sent = rest;
        let said: Vec<(NodeId, Message)> = said;
        said.into_iter().map(|(_, message)| message.body).collect()
    }

    fn pages(&mut self, to: u64) -> Vec<Page> {
        let said = self.said(to).into_iter();
        said.filter_map(|body| match body {
            Body::Page(page) | Body::Promise(page) => Some(page),
            _ => None,
        })
        .collect()
    }

    fn fetches(&mut self, to: u64) -> usize {
        let said = self.said(to).into_iter();
        said.filter(|body| matches!(body, Body::Fetch { .. }))
            .count()
    }

    /// Ends a round of the election in which nodes 2 and 3 have said what `beat` makes of the round.
    fn round(&mut self, beat: impl Fn(Round, u64) -> Body) {
        let asked = self.said(2).into_iter().chain(self.said(3));
        let asked = asked.filter_map(|body| match body {
            Body::Ask { round } => Some(round),
            _ => None,
        });
        if let Some(round) = asked.max() {
            for peer in [2, 3] {
                self.hear(peer, Ballot::START, beat(round, peer));
            }
        }
        while self.now < Instant::from_millis(1_000_000) {
            let wake = self.log.deadline().unwrap();
            self.now = self.now.max(wake.at);
            self.log.tick(self.now);
            self.drain();
            if wake.why.contains("round") {
                return;
            }
        }
    }

    /// Takes over, since nobody leads: node 1 has asked for promises.
    fn stand(&mut self) -> Ballot {
        for _ in 0..3 {
            self.round(idle);
            let said = core::mem::take(&mut self.sent);
            let prepare = said
                .iter()
                .find(|(_, message)| matches!(message.body, Body::Prepare { .. }))
                .map(|(_, message)| message.ballot);
            if let Some(ballot) = prepare {
                self.sent = said;
                return ballot;
            }
            self.sent = said;
        }
        panic!("it does not stand");
    }
}

/// The answer of one that knows no leader.
fn idle(round: Round, peer: u64) -> Body {
    Body::Beat {
        round,
        stands: ballot(0, peer),
        follows: Ballot::START,
        content: false,
        priority: 0,
    }
}

const OLD: u64 = 2;
const OTHER: u64 = 3;

/// Node 1 has voted for slots 1 and 2 in B2.2 and for 3 and 4 in B4.3, and has none of them in
/// memory. A candidate's question makes it read them; before the disk has answered...
fn voted() -> (Rig, Ballot, (LoadId, Option<synod_core::LogLoaded>)) {
    let (two, three, new) = (ballot(2, OLD), ballot(4, OTHER), ballot(6, OLD));
    let mut rig = Rig::new();
    rig.accept(two, entries(1, 2, two), 0, 1, 0);
    rig.accept(three, entries(3, 2, three), 0, 1, 0);
    let mut rig = rig.restart(0);
    rig.hear(OLD, new, Body::Prepare { after: at(0) });
    rig.fetch(new, 0, true);
    let answer = rig.read();
    rig.sent.clear();
    (rig, three, answer)
}

/// ...a page of the leader of B4.3 that was under way overwrites the votes in slots 1 and 2 with what
/// is chosen. What the disk says of those is not true any more; but a page that leaves them out and
/// says that it is about slots 1 to 4 would say that nothing was voted for there: the candidate could
/// fill chosen slots with blanks.
#[test]
fn a_page_of_votes_has_no_hole_where_one_was_overwritten() {
    let (mut rig, three, answer) = voted();
    rig.page(three, 0, vec![entries(1, 2, three)], 2);
    rig.loaded(answer);
    for page in rig.pages(OLD) {
        let held = |index| page.runs.iter().any(|run| run.contains(at(index)));
        let claimed = (1..=page.through.0).all(held);
        assert!(claimed, "{page:?}");
    }
}

/// ...a snapshot through slot 10 is installed. What the disk says are votes of node 1, and may be for
/// other values than were chosen; but a page that says that everything up to slot 10 is chosen would
/// make them chosen.
#[test]
fn votes_that_were_read_before_a_snapshot_are_not_called_chosen() {
    let (mut rig, three, answer) = voted();
    rig.piece(three, 10, 0, "state", 5);
    assert_eq!(rig.log.status().committed, at(10));
    rig.loaded(answer);
    for page in rig.pages(OLD) {
        let chosen = |run: &Entries| run.first() <= page.chosen;
        assert!(!page.runs.iter().any(chosen), "{page:?}");
    }
}

/// The votes of an old leader for slots 1 to 8 were never chosen; it installs a snapshot through slot
/// 4, and crashes between the record that makes it current and the one that drops what it covers.
/// What lies before slot 5 is still not what was chosen there.
#[test]
fn a_torn_installation_does_not_make_votes_chosen() {
    let (two, three) = (ballot(2, OLD), ballot(4, OTHER));
    let mut rig = Rig::new();
    rig.accept(two, entries(1, 8, two), 0, 1, 0);
    rig.hangs = true;
    rig.piece(three, 4, 0, "state", 5);
    let mut torn = rig.image.clone();
    while let Some((_, records)) = rig.writes.pop_front() {
        for record in records {
            let last = matches!(record, LogRecord::Activate { .. });
            torn.apply(record).unwrap();
            if last {
                rig.writes.clear();
                break;
            }
        }
    }
    assert_eq!(
        torn.compacted().0,
        at(0),
        "the snapshot is current, all the log there"
    );
    rig.image = torn;
    for tail in [0, usize::MAX] {
        let mut rig = Rig::start(rig.image.clone(), config(2, same), tail);
        rig.fetch(three, 0, false);
        if let Some((load, LogLoad::Entries { .. })) = rig.loads.last().cloned() {
            let answer = rig.image.load(&rig.loads.last().unwrap().1);
            rig.loaded((load, answer));
        }
        let pages = rig.pages(OTHER);
        assert!(pages.iter().all(|page| page.runs.is_empty()), "{pages:?}");
        // Its votes behind the snapshot are there as before.
        rig.hear(OTHER, three, Body::Prepare { after: at(4) });
        assert_eq!(rig.log.status().last, at(8));
    }
}

/// Node 1 stands, and nodes 2 and 3 have promised: each says that it holds votes up to slot `last`,
/// and nothing of slots up to `base`.
fn standing(base: u64, last: u64) -> (Rig, Ballot) {
    let mut rig = Rig::new();
    let own = rig.stand();
    for peer in [OLD, OTHER] {
        rig.hear(peer, own, promise(base, last));
    }
    (rig, own)
}

fn promise(chosen: u64, last: u64) -> Body {
    Body::Promise(Page {
        after: at(0),
        through: at(0),
        runs: Vec::new(),
        chosen: at(chosen),
        last: at(last),
    })
}

/// Each round of the election asks again, in case that something was lost; and messages can come
/// twice. If each answer made the candidate ask for more, whatever it brings, every page would soon
/// be under way many times over, the more often the longer phase 1 takes.
#[test]
fn an_answer_that_brings_nothing_new_asks_for_nothing() {
    let (mut rig, own) = standing(0, 9);
    assert_eq!((rig.fetches(OLD), rig.fetches(OTHER)), (1, 1));
    rig.hear(OLD, own, promise(0, 9));
    assert_eq!(rig.fetches(OLD), 0, "the promise came twice");
    let page = |first| {
        let run = entries(first, 3, ballot(0, OLD));
        Body::Page(Page {
            after: at(first - 1),
            through: run.last(),
            runs: vec![run],
            chosen: at(0),
            last: at(9),
        })
    };
    rig.hear(OLD, own, page(1));
    rig.hear(OLD, own, page(1));
    assert_eq!(rig.fetches(OLD), 1, "the page came twice");
    rig.hear(OLD, own, page(4));
    assert_eq!(rig.fetches(OLD), 1);
}

/// Two acceptors send the candidate their snapshots; while it takes the pieces of one, it does not
/// count those of the other. To ask for those again at once would keep that one's disk and the link
/// busy for nothing as long as the snapshot takes.
#[test]
fn a_piece_that_does_not_count_is_not_asked_for_at_once() {
    let (mut rig, _) = standing(10, 10);
    assert_eq!((rig.fetches(OLD), rig.fetches(OTHER)), (1, 1));
    rig.piece(ballot(2, OLD), 10, 0, "ab", 5);
    assert_eq!(rig.fetches(OLD), 1, "the next piece");
    rig.piece(ballot(4, OTHER), 10, 0, "xy", 5);
    assert_eq!(rig.fetches(OTHER), 0);
    rig.piece(ballot(2, OLD), 10, 2, "cde", 5);
    assert_eq!(rig.log.status().committed, at(10));
}

/// What a follower says to hold is not sent to it again: it must know it after a restart. Here it is
/// what the leader of B2.2 has chosen, in a page that arrives when B4.3 is promised already: so it
/// carries another mark than what is accepted in B4.3, and only the word that it is chosen makes it
/// something that this node holds.
#[test]
fn what_is_acknowledged_is_held_after_a_restart() {
    let (two, three) = (ballot(2, OLD), ballot(4, OTHER));
    let mut rig = Rig::new();
    let none = || Entries::empty(at(1), three.stamp());
    rig.accept(three, none(), 0, 1, 0);
    rig.page(two, 0, vec![entries(1, 4, two)], 4);
    rig.accept(three, none(), 0, 1, 0);
    let held = rig.said(OTHER).into_iter().filter_map(|body| match body {
        Body::Accepted { held, .. } => Some(held.through()),
        _ => None,
    });
    assert_eq!(held.max(), Some(at(4)));
    let mut rig = rig.restart(usize::MAX);
    rig.accept(three, none(), 4, 1, 1);
    let asks = rig.fetches(OTHER) > 0;
    assert!(asks || rig.log.status().committed == at(4), "it is stuck");
}

/// A follower that is far behind asks for no more than its disk can take: the leader's memory and the
/// link are faster, and a disk that hangs would let all of the log gather here.
#[test]
fn a_follower_asks_for_no_more_than_its_disk_takes() {
    let two = ballot(2, OLD);
    let mut rig = Rig::new();
    let heartbeat = |rig: &mut Rig, round| {
        let none = Entries::empty(at(1_001), two.stamp());
        rig.accept(two, none, 1_000, 1_001, round);
    };
    heartbeat(&mut rig, 0);
    rig.hangs = true;
    // Each question is answered with one slot.
    let answered = |rig: &mut Rig| {
        let mut count = 0;
        loop {
            let asked = [rig.said(OLD), rig.said(OTHER)].concat().into_iter();
            let asked = asked.filter_map(|body| match body {
                Body::Fetch { after, .. } => Some(after.0),
                _ => None,
            });
            let asked: Vec<u64> = asked.collect();
            if asked.is_empty() || count >= 100 {
                return count;
            }
            for after in asked {
                rig.page(two, after, vec![entries(after + 1, 1, two)], 1_000);
                count += 1;
            }
        }
    };
    assert!(answered(&mut rig) <= 9);
    for round in 1..20 {
        heartbeat(&mut rig, round);
    }
    assert_eq!(answered(&mut rig), 0, "the disk hangs still");
    rig.persist();
    assert!((1..=9).contains(&answered(&mut rig)), "and goes on");
    rig.hangs = false;
    rig.persist();
    assert!(answered(&mut rig) >= 100);
}

/// And so does a candidate.
#[test]
fn a_candidate_asks_for_no_more_than_its_disk_takes() {
    let (mut rig, own) = standing(1_000, 1_000);
    rig.fetches(OTHER);
    rig.hangs = true;
    let answered = |rig: &mut Rig| {
        let mut count = 0;
        while rig.fetches(OLD) > 0 && count < 100 {
            let next = rig.log.status().committed.0 + 1;
            let run = entries(next, 1, ballot(0, OLD));
            let page = Page {
                after: at(next - 1),
                through: at(next),
                runs: vec![run],
                chosen: at(1_000),
                last: at(1_000),
            };
            rig.hear(OLD, own, Body::Page(page));
            count += 1;
        }
        count
    };
    assert!(answered(&mut rig) <= 3);
    rig.persist();
    assert_eq!(answered(&mut rig), 1, "and goes on");
    rig.hangs = false;
    rig.persist();
    assert_eq!(answered(&mut rig), 100);
}

/// A node whose disk hangs tells others what is chosen all the same: else those who lack something
/// wait for that disk, and the answers to all their questions gather here.
#[test]
fn a_disk_that_hangs_does_not_hold_back_what_is_chosen() {
    let three = ballot(4, OTHER);
    let mut rig = Rig::new();
    rig.accept(three, entries(1, 4, three), 4, 1, 0);
    rig.hangs = true;
    rig.accept(three, entries(5, 1, three), 4, 1, 0);
    rig.fetch(ballot(2, OLD), 0, false);
    assert_eq!(rig.pages(OLD).len(), 1);
    // But votes wait.
    let new = ballot(6, OLD);
    for _ in 0..5 {
        rig.hear(OLD, new, Body::Prepare { after: at(4) });
    }
    assert_eq!(rig.pages(OLD).len(), 0);
    rig.persist();
    rig.persist();
    assert_eq!(rig.pages(OLD).len(), 1, "one answer to all the questions");
}

/// A candidate whose disk hangs hears all others, and they hear it: it must not keep them content with
/// a ballot that it can never lead.
#[test]
fn a_candidate_whose_disk_hangs_does_not_stay_content() {
    let mut rig = Rig::new();
    rig.hangs = true;
    let content = |rig: &mut Rig| {
        rig.hear(OTHER, Ballot::START, Body::Ask { round: Round(9) });
        let said = rig.said(OTHER).into_iter();
        let beats = said.filter_map(|body| match body {
            Body::Beat {
                content, stands, ..
            } => Some((content, stands)),
            _ => None,
        });
        beats.last().unwrap()
    };
    let follow = |round, peer| Body::Beat {
        round,
        stands: ballot(0, peer),
        follows: ballot(2, 1),
        content: true,
        priority: 0,
    };
    rig.round(idle);
    rig.round(idle);
    let (stands, since) = (content(&mut rig), rig.now);
    assert_eq!(
        stands,
        (true, ballot(2, 1)),
        "it stands, and waits for its disk"
    );
    while content(&mut rig).0 {
        rig.round(follow);
        let waited = rig.now.since(since).as_secs();
        assert!(waited < 5, "it is content for ever");
    }
    // Others do not take over by chance, and the disk works again: it goes on.
    rig.hangs = false;
    rig.persist();
    rig.round(follow);
    rig.round(follow);
    assert!(content(&mut rig).0);
}

/// Node 1 leads, then node 2 follows node 3, of which node 1 hears nothing: that somebody is content
/// elsewhere does not make it a leader still. It would keep proposals and reads for ever.
#[test]
fn a_leader_without_a_quorum_steps_down_though_it_hears_of_a_higher_ballot() {
    let (mut rig, own) = standing(0, 0);
    assert_eq!(rig.log.status().role, Role::Leader);
    let ticket = rig.log.propose(rig.now, "x".into()).unwrap();
    let above = ballot(own.round + 2, OTHER);
    for _ in 0..40 {
        rig.said(OTHER);
        let asked = rig.said(OLD).into_iter().filter_map(|body| match body {
            Body::Ask { round } => Some(round),
            _ => None,
        });
        if let Some(round) = asked.max() {
            let beat = Body::Beat {
                round,
                stands: ballot(0, OLD),
                follows: above,
                content: true,
                priority: 0,
            };
            rig.hear(OLD, above, beat);
        }
        rig.round(idle);
    }
    assert_ne!(rig.log.status().role, Role::Leader);
    let unknown = |event: &Event| matches!(event, LogEvent::Unknown(of) if *of == ticket);
    assert!(rig.events.iter().any(unknown), "{:?}", rig.events);
}
