//! What must be true in every state, whatever the machines believe: counted from all votes that were
//! ever on a disk.

use std::collections::BTreeSet;

use synod_core::LogIndex;
use synod_paxos::log::Body;

use super::member::{Deed, Member, Sight, what};
use super::{Log, Past, VOTERS};
use crate::model::{Breach, Change, Input};
use crate::world::Action;

fn ensure(holds: bool, breach: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach(breach())) }
}

const fn is_quorum(voters: u8) -> bool {
    voters.count_ones() as usize > VOTERS / 2
}

impl Past {
    /// What is chosen in a slot: a quorum has voted for it in one ballot (Paxos Made Simple §2.2).
    fn chosen(&self, slot: u64) -> BTreeSet<u8> {
        let votes = self.votes.iter().filter(|((at, _), _)| *at == slot);
        let chosen = votes.filter(|(_, (_, voters))| is_quorum(*voters));
        chosen.map(|(_, (value, _))| *value).collect()
    }

    fn slots(&self) -> impl Iterator<Item = u64> + '_ {
        let slots: BTreeSet<u64> = self.votes.keys().map(|(slot, _)| *slot).collect();
        slots.into_iter()
    }

    fn spend(&mut self, action: &Action<Deed>) {
        let input = match action {
            Action::Do { input, .. } => input,
            Action::Torn { input, .. } => {
                self.crashes = self.crashes.saturating_sub(1);
                input
            }
            Action::Crash { .. } => {
                self.crashes = self.crashes.saturating_sub(1);
                return;
            }
        };
        match input {
            Input::Deed(Deed::Propose(_)) => self.commands -= 1,
            Input::Deed(Deed::Beat) => self.beats -= 1,
            Input::Deed(Deed::Read) => self.reads -= 1,
            Input::Deed(Deed::Slow) => self.slows -= 1,
            Input::Deed(Deed::Stand | Deed::Finish) | Input::Message(_) => {}
        }
    }

    /// Agreement; a ballot proposes one value for a slot; nothing is chosen that nobody proposed.
    fn vote(&mut self, place: usize, vote: (u64, synod_paxos::Ballot, u8)) -> Result<(), Breach> {
        let (slot, ballot, value) = vote;
        let known = self.votes.entry((slot, ballot)).or_insert((value, 0));
        let other = known.0;
        ensure(other == value, || {
            format!("{ballot} proposes {other} and {value} for slot {slot}")
        })?;
        known.1 |= 1 << place;
        let chosen = self.chosen(slot);
        ensure(chosen.len() <= 1, || {
            format!("two values are chosen in slot {slot}: {chosen:?}")
        })
    }

    /// Prefix equality: all hand out the same, and only what is chosen. One proposal becomes one entry.
    fn hand(&mut self, place: usize, first: u64, entries: &[u8]) -> Result<(), Breach> {
        let id = place + 1;
        for (slot, value) in (first..).zip(entries.iter().copied()) {
            let chosen = self.chosen(slot);
            ensure(chosen.contains(&value), || {
                format!("n{id} hands out {value} in slot {slot}, and chosen is {chosen:?}")
            })?;
            match self.ledger.get(slot as usize - 1) {
                Some(known) => ensure(*known == value, || {
                    format!("n{id} hands out {value} in slot {slot}, where {known} was")
                })?,
                None => {
                    let twice = value > 0 && self.ledger.contains(&value);
                    ensure(!twice, || format!("{value} again, in slot {slot}"))?;
                    self.ledger.push(value);
                }
            }
        }
        Ok(())
    }

    fn see(&mut self, place: usize, sight: &Sight) -> Result<(), Breach> {
        match sight {
            Sight::Voted(slot, ballot, value) => self.vote(place, (*slot, *ballot, *value)),
            Sight::Handed(first, entries) => self.hand(place, *first, entries),
            Sight::Read(index) => {
                let floor = u64::from(self.floors[place]);
                ensure(index + 1 >= floor, || {
                    format!("a read at {index} misses what was handed out before it was asked")
                })
            }
            Sight::Disowned(command) => {
                if !self.disowned.contains(command) {
                    self.disowned.push(*command);
                    self.disowned.sort_unstable();
                }
                Ok(())
            }
            Sight::Trouble(text) => Err(Breach(text.clone())),
        }
    }
}

/// Takes in a step that was just made.
pub(super) fn update(
    past: &mut Past,
    change: &Change<'_, Log>,
    commands: u8,
) -> Result<(), Breach> {
    let (place, before, after) = (change.place, change.before, change.after);
    past.spend(change.action);
    if change.action.is_crash() {
        past.floors[place] = 0;
    }
    let asked = Input::Deed(Deed::Read);
    if matches!(change.action, Action::Do { input, .. } if *input == asked) {
        past.floors[place] = 1 + past.ledger.len() as u8;
    }
    for sight in change.sights {
        past.see(place, sight)?;
    }
    if after.reading.is_none() {
        past.floors[place] = 0;
    }
    for message in change.news {
        let message = &change.scene.world.messages[*message as usize].message;
        if matches!(message.body, Body::Promise(_) | Body::Accepted { .. }) {
            past.said[place] = past.said[place].max(message.ballot.round);
        }
    }
    ensure(after.era >= past.said[place], || {
        let (id, said) = (place + 1, past.said[place]);
        format!("n{id} has promised round {said}, and is in {}", after.era)
    })?;
    let committed = after.committed >= before.committed || change.action.is_crash();
    ensure(committed, || {
        let (was, is) = (before.committed, after.committed);
        format!("n{} knew {was} slots to be chosen, and now {is}", place + 1)
    })?;
    if after.disk == before.disk && after.committed == before.committed && change.sights.is_empty()
    {
        return Ok(());
    }
    known(past, place, after)?;
    for slot in past.slots() {
        for value in past.chosen(slot) {
            ensure(value <= commands && !past.disowned.contains(&value), || {
                format!("{value} is chosen in slot {slot}, and was not proposed, or given up")
            })?;
            lasts(change, slot, value)?;
        }
    }
    Ok(())
}

/// What a node knows to be chosen is, and it holds that.
fn known(past: &Past, place: usize, member: &Member) -> Result<(), Breach> {
    for slot in 1..=member.committed {
        let chosen = past.chosen(slot);
        let held = member.disk.get(LogIndex(slot));
        let held = held.map(|(_, entry)| what(entry));
        let right = match held {
            Some(held) if member.writing.is_none() => chosen.contains(&held),
            Some(_) | None => !chosen.is_empty(),
        };
        ensure(right, || {
            let id = place + 1;
            format!("n{id} takes {held:?} for chosen in slot {slot}, which is {chosen:?}")
        })?;
    }
    Ok(())
}

/// Stability: no quorum of phase 1 can miss what is chosen. Of the votes on the disks of any two of
/// three, the one of the highest ballot is for it (Paxos Made Simple §2.2, P2c).
fn lasts(change: &Change<'_, Log>, slot: u64, value: u8) -> Result<(), Breach> {
    let votes: Vec<_> = change
        .scene
        .all()
        .map(|member| member.disk.get(LogIndex(slot)))
        .map(|held| held.map(|(stamp, entry)| (stamp, what(entry))))
        .collect();
    for absent in 0..VOTERS {
        let heard = votes.iter().enumerate().filter(|(k, _)| *k != absent);
        let highest = heard.filter_map(|(_, vote)| *vote).max();
        ensure(highest.is_some_and(|(_, found)| found == value), || {
            let id = absent + 1;
            format!("{value} is chosen in slot {slot}, and without n{id} all hear of {highest:?}")
        })?;
    }
    Ok(())
}
