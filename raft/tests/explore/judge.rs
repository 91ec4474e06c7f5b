//! What must hold in every state: the five properties of Raft (figure 3) and what they rest on.
//!
//! All of it is judged from disks, status and what was handed out, never from inside the machine.

use core::fmt;

use synod_core::{LogImage, LogIndex, ReplicatedLog, Role};

use crate::member::{Mark, Member, Setup, Sight, mark};
use crate::world::{State, World};

/// A rule that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) rule: &'static str,
    pub(crate) evidence: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.evidence)
    }
}

fn ensure(
    holds: bool,
    rule: &'static str,
    evidence: impl FnOnce() -> String,
) -> Result<(), Breach> {
    if holds {
        return Ok(());
    }
    let evidence = evidence();
    Err(Breach { rule, evidence })
}

/// A log as the properties speak of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Log {
    /// The last entry that is compacted, and its term.
    base: (u64, u64),
    entries: Vec<Mark>,
}

impl Log {
    fn of(image: &LogImage) -> Self {
        let (index, stamp) = image.compacted();
        Self {
            base: (index.0, stamp.number),
            entries: image
                .iter()
                .map(|(_, stamp, entry)| mark(stamp, entry))
                .collect(),
        }
    }

    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    fn get(&self, index: u64) -> Option<Mark> {
        let place = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(place as usize).copied()
    }

    /// What votes compare: the last term, then the length (Raft §5.4.1).
    fn end(&self) -> (u64, u64) {
        let term = self.entries.last().map_or(self.base.1, |(term, _)| *term);
        (term, self.last())
    }

    fn holds(&self, index: u64, term: u64) -> bool {
        index < self.base.0
            || (index, term) == self.base
            || self.get(index).is_some_and(|(own, _)| own == term)
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.base.0 > 0 {
            write!(f, "..{}@{} ", self.base.0, self.base.1)?;
        }
        for (place, (term, what)) in self.entries.iter().enumerate() {
            let comma = if place == 0 { "" } else { " " };
            write!(f, "{comma}{term}")?;
            if *what > 0 {
                write!(f, "/{}", what - 1)?;
            }
        }
        Ok(())
    }
}

/// One node, seen from outside.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) term: u64,
    pub(crate) leads: bool,
    role: Role,
    committed: u64,
    /// The terms of the entries that are committed, by the machine's own log, from the first that
    /// is not compacted on. It may be ahead of its disk by more than the write under way.
    terms: Vec<u64>,
    /// A read waits.
    pub(crate) reads: bool,
    /// How many records the write under way has.
    pub(crate) records: Option<u32>,
    /// No later life is in an earlier term.
    pub(crate) durable_term: u64,
    durable: Log,
    /// As it will be if the write under way gets to the disk.
    shadow: Log,
}

impl View {
    pub(crate) fn of(member: &Member, setup: Setup) -> Self {
        let status = member.raft.status();
        Self {
            term: status.era,
            leads: status.role == Role::Leader,
            role: status.role,
            committed: status.committed.0,
            terms: (status.compacted.0 + 1..=status.committed.0)
                .map_while(|index| member.raft.describe(LogIndex(index)))
                .map(|meta| meta.stamp.number)
                .collect(),
            reads: member.reading.is_some(),
            records: member.writing.as_ref().map(|(_, r)| r.len() as u32),
            durable_term: member.durable_term(setup),
            durable: Log::of(&member.disk),
            shadow: Log::of(&member.shadow()),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            term,
            role,
            committed,
            shadow,
            ..
        } = self;
        write!(f, "{role} T{term} [{shadow}] commit {committed}")?;
        if let Some(records) = self.records {
            write!(f, ", {records} records under way")?;
        }
        Ok(())
    }
}

/// What has happened and no state shows any more.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct History {
    /// What was ever committed: the entry, and the term of the node that was seen to know it first.
    ledger: Vec<(Mark, u64)>,
    /// Who led which term.
    leaders: Vec<(u64, usize)>,
    /// Commands of which a node has said that they did not and will not happen.
    disowned: Vec<u8>,
}

impl History {
    /// How much is committed.
    pub(crate) fn len(&self) -> usize {
        self.ledger.len()
    }

    fn committed(&self, index: u64) -> Option<Mark> {
        let place = index.checked_sub(1)?;
        self.ledger.get(place as usize).map(|(mark, _)| *mark)
    }

    /// Takes in a state that was just reached, and judges it.
    pub(crate) fn update<'a>(
        &mut self,
        world: &World,
        state: &State,
        sights: impl Iterator<Item = (usize, &'a Sight)>,
    ) -> Result<(), Breach> {
        let views = [0, 1, 2].map(|node| world.view(state, node));
        let views = &views[..world.count()];
        for (node, view) in views.iter().enumerate() {
            self.commit(node, view)?;
            let led = self.leaders.iter().filter(|(_, leader)| *leader == node);
            let led = led.map(|(term, _)| *term).max().unwrap_or(0);
            ensure(
                view.term >= led.max(view.shadow.end().0),
                "terms survive a crash (Raft figure 2)",
                || format!("n{} is in T{} and led T{led}", node + 1, view.term),
            )?;
        }
        for (node, sight) in sights {
            self.see(node, sight, state)?;
        }
        for (node, view) in views.iter().enumerate().filter(|(_, view)| view.leads) {
            self.lead(node, view)?;
        }
        for (one, a) in views.iter().enumerate() {
            for (other, b) in views[..one].iter().enumerate() {
                matching((one, &a.shadow), (other, &b.shadow))?;
            }
        }
        self.durable(views)
    }

    /// State Machine Safety: what a node knows to be committed is what all others know.
    fn commit(&mut self, node: usize, view: &View) -> Result<(), Breach> {
        let first = view.committed + 1 - view.terms.len() as u64;
        for (index, term) in (first..).zip(view.terms.iter().copied()) {
            let Some(own) = view.shadow.get(index).filter(|own| own.0 == term) else {
                let known = self.committed(index);
                ensure(
                    known.is_none_or(|known| known.0 == term),
                    "all nodes commit the same entry at an index (Raft figure 3)",
                    || format!("n{} has T{term} at {index}, it was {known:?}", node + 1),
                )?;
                continue;
            };
            match self.committed(index) {
                Some(known) => ensure(
                    own == known,
                    "all nodes commit the same entry at an index (Raft figure 3)",
                    || format!("n{} has {own:?} at {index}, it was {known:?}", node + 1),
                )?,
                None => {
                    ensure(
                        self.ledger.len() as u64 + 1 == index,
                        "what is committed follows what was committed",
                        || format!("{index} behind {}", self.ledger.len()),
                    )?;
                    let twice = own.1 > 0 && self.ledger.iter().any(|((_, w), _)| *w == own.1);
                    ensure(!twice, "one proposal becomes one entry", || {
                        format!("command {} again at {index}", own.1 - 1)
                    })?;
                    self.ledger.push((own, view.term));
                    self.never()?;
                }
            }
        }
        Ok(())
    }

    /// What was given up for good is not committed.
    fn never(&self) -> Result<(), Breach> {
        let broken = self.disowned.iter().find(|command| {
            let what = u64::from(**command) + 1;
            self.ledger.iter().any(|((_, w), _)| *w == what)
        });
        ensure(
            broken.is_none(),
            "what was displaced or refused does not happen",
            || format!("command {broken:?} is committed"),
        )
    }

    fn see(&mut self, node: usize, sight: &Sight, state: &State) -> Result<(), Breach> {
        let node_name = node + 1;
        match sight {
            Sight::Breach(rule, text) => ensure(false, rule, || format!("n{node_name}: {text}")),
            Sight::Handed(first, marks) => {
                let known = (*first..).map(|index| self.committed(index));
                let same = known.zip(marks).all(|(known, own)| known == Some(*own));
                ensure(same, "state machine safety (Raft figure 3)", || {
                    format!("n{node_name} hands out {marks:?} from {first} on")
                })
            }
            Sight::Restored(index, contents) => {
                let known: Option<Vec<_>> = (1..=*index)
                    .map(|index| self.committed(index).map(|(_, what)| what as u8))
                    .collect();
                ensure(
                    known.as_deref() == Some(&contents[..]),
                    "a snapshot holds what is committed up to its place",
                    || format!("n{node_name} restores {contents:?} at {index}"),
                )
            }
            Sight::Read(index) => ensure(
                *index + 1 >= u64::from(state.floors[node]),
                "a read sees what was committed before it was asked for",
                || {
                    let floor = state.floors[node] - 1;
                    format!("n{node_name} reads at {index}, committed was {floor}")
                },
            ),
            Sight::Disowned(command) => {
                if let Err(place) = self.disowned.binary_search(command) {
                    self.disowned.insert(place, *command);
                }
                self.never()
            }
            Sight::Dropped(index, term) => ensure(
                self.committed(*index)
                    .is_none_or(|(known, _)| known != *term),
                "what is committed stays (Raft §5.4.3)",
                || format!("n{node_name} drops {index}@{term}"),
            ),
        }
    }

    /// Election Safety, Leader Completeness.
    fn lead(&mut self, node: usize, view: &View) -> Result<(), Breach> {
        let term = view.term;
        match self.leaders.binary_search_by_key(&term, |(term, _)| *term) {
            Ok(place) => {
                let other = self.leaders[place].1;
                ensure(other == node, "election safety (Raft figure 3)", || {
                    format!("n{} and n{} both lead T{term}", other + 1, node + 1)
                })?;
            }
            Err(place) => self.leaders.insert(place, (term, node)),
        }
        let earlier = self.ledger.iter().enumerate().rev();
        let mut earlier = earlier.filter(|(_, (_, era))| *era < term);
        let Some((place, ((mark, _), _))) = earlier.next() else {
            return Ok(());
        };
        ensure(
            view.shadow.holds(place as u64 + 1, *mark),
            "leader completeness (Raft figure 3)",
            || format!("n{} leads T{term} without {}@{mark}", node + 1, place + 1),
        )
    }

    /// What is committed is on so many disks that no election can pass it by (Raft §5.4).
    fn durable(&self, views: &[&View]) -> Result<(), Breach> {
        let Some(((term, _), _)) = self.ledger.last() else {
            return Ok(());
        };
        let index = self.ledger.len() as u64;
        for (node, view) in views.iter().enumerate() {
            if view.durable.holds(index, *term) {
                continue;
            }
            let own = view.durable.end();
            let votes = views.iter().filter(|other| own >= other.durable.end());
            ensure(
                votes.count() <= views.len() / 2,
                "what is committed is durable where no election passes it by (Raft §5.4)",
                || {
                    let n = node + 1;
                    format!("if all crashed now, n{n} could be elected without {index}@{term}")
                },
            )?;
        }
        Ok(())
    }
}

/// Log Matching: two logs that agree on a place agree on all before it.
fn matching((one, a): (usize, &Log), (other, b): (usize, &Log)) -> Result<(), Breach> {
    let common = a.base.0.max(b.base.0) + 1..=a.last().min(b.last());
    let mut agreed = false;
    for index in common.rev() {
        let (Some(left), Some(right)) = (a.get(index), b.get(index)) else {
            break;
        };
        agreed |= left.0 == right.0;
        ensure(
            !agreed || left == right,
            "log matching (Raft figure 3)",
            || format!("n{} has [{a}], n{} has [{b}]: {index}", one + 1, other + 1),
        )?;
    }
    Ok(())
}
