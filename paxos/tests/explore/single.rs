//! A single decree.

mod clean;
mod judge;
mod member;
mod planted;
mod setups;

use synod_core::{Envelope, NodeId};
use synod_paxos::single::{Body, Config, Message, Value, ValueId};

use crate::model::{Breach, Change, Given, Input, Model, Outcome, Scene};
use crate::world::Action;
use judge::Votes;
use member::{Member, Told};
use setups::Setup;

struct Single {
    setup: Setup,
    ids: Vec<NodeId>,
    configs: Vec<Config>,
}

impl Single {
    fn new(setup: Setup) -> Self {
        let ids = setup.ids();
        let configs = ids.iter().map(|id| setup.config(*id)).collect();
        Self {
            setup,
            ids,
            configs,
        }
    }

    /// Does something with what a member is told.
    fn told<T>(&self, place: usize, given: &Given<'_, Self>, then: impl Fn(Told<'_>) -> T) -> T {
        match given {
            Given::Message(envelope) => then(Told::Message(envelope)),
            Given::Deed(Deed::Propose(value)) => {
                let client = self.ids[place].0;
                then(Told::Propose(&Value::new(
                    client,
                    u64::from(*value),
                    "".into(),
                )))
            }
            Given::Deed(Deed::Tick) => then(Told::Tick),
        }
    }

    fn outcome(&self, (member, sent): (Member, Vec<Envelope<Message>>)) -> Option<Outcome<Self>> {
        let ballot = member.decree.ballot();
        if ballot.is_some_and(|ballot| ballot.round > self.setup.rounds) {
            return None;
        }
        if self.setup.bug.is_none() {
            member.decree.check();
        }
        Some(Outcome {
            member,
            sent,
            sights: Vec::new(),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Deed {
    Propose(u8),
    Tick,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Past {
    /// Who has been asked to propose since it started, a bit each.
    proposed: u8,
    crashes: u8,
}

impl Model for Single {
    type Member = Member;
    type Message = Message;
    type Deed = Deed;
    type Sight = ();
    type Past = Past;

    fn ids(&self) -> Vec<NodeId> {
        self.ids.clone()
    }

    fn found(&self, place: usize) -> Outcome<Self> {
        let (member, sent) = Member::found(&self.configs[place], &self.ids);
        Outcome {
            member,
            sent,
            sights: Vec::new(),
        }
    }

    fn past(&self) -> Past {
        Past {
            proposed: 0,
            crashes: self.setup.crashes,
        }
    }

    fn spontaneous(&self) -> Vec<Envelope<Message>> {
        self.setup.spontaneous()
    }

    fn scripts(&self) -> (String, String) {
        (self.setup.opening(), self.setup.script.to_owned())
    }

    fn alike(&self) -> usize {
        self.setup.acceptors_apart()
    }

    fn deeds(&self, scene: &Scene<'_, Self>, place: usize, out: &mut Vec<Deed>) {
        let (id, past) = (self.ids[place].0, scene.past);
        if self.setup.values.contains(&id) && past.proposed & (1 << place) == 0 {
            out.push(Deed::Propose(self.setup.crashes - past.crashes));
        }
        if self.setup.awake.is_empty() || self.setup.awake.contains(&id) {
            out.push(Deed::Tick);
        }
    }

    fn tears(&self, past: &Past) -> u8 {
        if past.crashes > 0 { 3 } else { 0 }
    }

    /// What a proposal or a timer writes is one record, and nothing is sent before it is durable.
    fn is_torn(&self, input: &Input<Deed>) -> bool {
        matches!(input, Input::Message(_))
    }

    fn is_lost(&self, message: &Message) -> bool {
        self.setup.blind && matches!(message.body, Body::Accepted { .. })
    }

    fn counts(&self, action: &Action<Deed>) -> bool {
        let input = match action {
            Action::Do { input, .. } => input,
            Action::Torn { .. } | Action::Crash { .. } => return false,
        };
        matches!(input, Input::Deed(Deed::Propose(_)))
    }

    fn give(&self, place: usize, member: &Member, given: Given<'_, Self>) -> Option<Outcome<Self>> {
        self.outcome(self.told(place, &given, |told| member.tell(told)))
    }

    fn crash(
        &self,
        place: usize,
        member: &Member,
        given: Option<Given<'_, Self>>,
        kept: usize,
    ) -> Option<Outcome<Self>> {
        let crash = |told: Told<'_>| member.crash(told, kept, &self.configs[place], &self.ids);
        let crashed = match &given {
            Some(given) => self.told(place, given, crash),
            None => crash(Told::Nothing),
        };
        self.outcome(crashed?)
    }

    fn update(&self, past: &mut Past, change: &Change<'_, Self>) -> Result<(), Breach> {
        let (was, is) = (change.before.decree.chosen(), change.after.decree.chosen());
        let crashed = change.action.is_crash();
        if crashed {
            past.crashes -= 1;
            past.proposed &= !(1 << change.place);
        } else if self.counts(change.action) {
            past.proposed |= 1 << change.place;
        }
        if was.is_some() && is != was && !crashed {
            return Err(Breach(format!("what was learned changes: {was:?}, {is:?}")));
        }
        if change.news.is_empty() && is == was {
            return Ok(());
        }
        let phases = self.configs[0].quorums();
        let chosen = Votes::of(change.scene.messages()).check(phases)?;
        let learned = is.map(|value| value.id);
        if let Some(learned) = learned
            && !chosen.contains(&learned)
        {
            let breach = format!("{learned} is learned, and chosen is {chosen:?}");
            return Err(Breach(breach));
        }
        let proposed = |id: &ValueId| self.setup.values.contains(&id.client);
        if !chosen.iter().all(proposed) {
            return Err(Breach(format!("chosen and never proposed: {chosen:?}")));
        }
        Ok(())
    }

    fn has_learned(&self, member: &Member) -> bool {
        member.decree.chosen().is_some()
    }

    fn is_called(&self, message: &Message, what: &str, ballot: &str) -> bool {
        let body = format!("{:?}", message.body).to_lowercase();
        let named = ballot == "-" || body.contains(&format!("ballot: b{ballot}"));
        named && body.starts_with(&format!("{what} "))
    }

    fn deed(&self, word: &str, _: &Past) -> Deed {
        match word {
            "ticks" => Deed::Tick,
            "proposes" => Deed::Propose(0),
            other => panic!("{other} is not known"),
        }
    }

    fn tell_message(&self, message: &Message) -> String {
        format!("{:?}", message.body)
    }

    fn tell_deed(&self, deed: Deed) -> String {
        match deed {
            Deed::Propose(value) => format!("is asked to propose {value}"),
            Deed::Tick => "sees its timers fire".into(),
        }
    }
}
