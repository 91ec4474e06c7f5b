//! What must be true in every state: clients are told what one copy of the register would tell them,
//! and contents form a chain, counted from all votes that were ever on a disk.

use synod_core::NodeId;
use synod_paxos::Ballot;
use synod_paxos::register::{Before, Body, State};

use super::linear::{Asked, is_linearizable};
use super::member::{Deed, Op, Ret, Sight, key};
use super::{ACCEPTORS, Past, Register};
use crate::model::{Breach, Change, Input};
use crate::world::Action;

fn ensure(holds: bool, breach: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach(breach())) }
}

impl Past {
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
            Input::Deed(Deed::Ask(op)) => {
                let answered = |ask: &Asked| matches!(ask.ret, Some(ret) if ret != Ret::Unknown);
                let before = self.asked.iter().enumerate();
                let before = before.filter(|(_, ask)| ask.as_ref().is_some_and(answered));
                let after = before.fold(0, |after, (op, _)| after | 1 << op);
                self.asked[usize::from(*op)] = Some(Asked { after, ret: None });
            }
            Input::Deed(Deed::Expire) => self.expiries -= 1,
            Input::Deed(Deed::Tick) | Input::Message(_) => {}
        }
    }

    /// A ballot carries one proposal.
    fn propose(&mut self, ballot: Ballot, state: &State) -> Result<(), Breach> {
        let known = self
            .proposals
            .entry(ballot)
            .or_insert_with(|| state.clone());
        ensure(known == state, || {
            format!("{ballot} proposes {known:?} and {state:?}")
        })
    }

    fn see(&mut self, place: usize, sight: &Sight, ops: &[(u64, Op)]) -> Result<(), Breach> {
        match sight {
            Sight::Voted(ballot, state) => {
                self.propose(*ballot, state)?;
                *self.votes.entry(*ballot).or_insert(0) |= 1 << place;
                self.is_chain()
            }
            Sight::Told(op, ret) => {
                if let Some(ask) = &mut self.asked[usize::from(*op)] {
                    ask.ret = Some(*ret);
                }
                ensure(is_linearizable(ops, &self.asked), || {
                    format!("no order explains {:?}", self.asked)
                })
            }
            Sight::Trouble(text) => Err(Breach(text.clone())),
        }
    }

    /// Ballots in which a quorum has voted.
    fn chosen(&self) -> impl DoubleEndedIterator<Item = Ballot> + '_ {
        let votes = self.votes.iter();
        let chosen = votes.filter(|(_, voters)| voters.count_ones() as usize > ACCEPTORS / 2);
        chosen.map(|(ballot, _)| *ballot)
    }

    /// Whether `later` was made from `earlier`, or is it (CASPaxos §2.2, "descendants"). A register
    /// that was purged begins anew, behind what was there.
    fn descends(&self, later: &State, earlier: &State) -> bool {
        let mut at = later;
        loop {
            if at.version == earlier.version {
                return true;
            }
            match at.before {
                Before::Nothing(floor) => return floor >= earlier.version,
                Before::Version(version) => match self.proposals.get(&version) {
                    Some(before) => at = before,
                    None => return false,
                },
            }
        }
    }

    /// Of what is chosen, the later descends from the earlier.
    fn is_chain(&self) -> Result<(), Breach> {
        let mut last: Option<&State> = None;
        for ballot in self.chosen() {
            let Some(state) = self.proposals.get(&ballot) else {
                continue;
            };
            if let Some(earlier) = last {
                ensure(self.descends(state, earlier), || {
                    format!("{state:?} is chosen, and {earlier:?} was before")
                })?;
            }
            last = Some(state);
        }
        Ok(())
    }
}

/// Takes in a step that was just made.
pub(super) fn update(
    past: &mut Past,
    change: &Change<'_, Register>,
    ops: &[(u64, Op)],
) -> Result<(), Breach> {
    past.spend(change.action);
    let place = change.place;
    for message in change.news {
        match &change.scene.world.messages[*message as usize].message.body {
            Body::Accept(accept) => past.propose(accept.ballot, &accept.state)?,
            Body::Promised { ballot, .. } | Body::Accepted { ballot, .. } => {
                past.said[place] = past.said[place].max(*ballot);
            }
            Body::Prepare { .. }
            | Body::Refused { .. }
            | Body::Purge { .. }
            | Body::Purged { .. }
            | Body::List { .. }
            | Body::Keys { .. }
            | Body::Behind
            | Body::Configuration(_)
            | Body::Stranger { .. } => {}
        }
    }
    for sight in change.sights {
        past.see(place, sight, ops)?;
    }
    let disk = &change.after.disk;
    let register = disk.registers.get(&key());
    let promised = register.map_or(disk.floor, |register| register.promised);
    ensure(promised >= past.said[place], || {
        let (id, said) = (NodeId(place as u64 + 1), past.said[place]);
        format!("{id} has promised {said}, and holds {promised} on its disk")
    })?;
    lasts(past, change)
}

/// No quorum of phase 1 can miss what is chosen: of the votes on the disks of any two of three, the one
/// of the highest ballot descends from it.
fn lasts(past: &Past, change: &Change<'_, Register>) -> Result<(), Breach> {
    let Some(ballot) = past.chosen().next_back() else {
        return Ok(());
    };
    let chosen = &past.proposals[&ballot];
    let disks: Vec<_> = change.scene.all().map(|member| &member.disk).collect();
    for absent in 0..ACCEPTORS {
        let heard = disks.iter().enumerate().filter(|(k, _)| *k != absent);
        let (mut floor, mut highest) = (Ballot::START, None);
        for (_, disk) in heard {
            match disk.registers.get(&key()).and_then(|it| it.vote.as_ref()) {
                Some(vote) => highest = highest.max(Some((vote.ballot, &vote.state.version))),
                None => floor = floor.max(disk.floor),
            }
        }
        let kept = match highest {
            Some((voted, version)) => past
                .proposals
                .get(&voted)
                .is_some_and(|state| past.descends(state, chosen) && state.version == *version),
            None => floor >= ballot,
        };
        ensure(kept, || {
            let id = absent + 1;
            format!("{chosen:?} is chosen in {ballot}, and without n{id} all hear of {highest:?}")
        })?;
    }
    Ok(())
}
