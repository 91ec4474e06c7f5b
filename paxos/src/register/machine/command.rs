//! What the application may ask.

use super::{
    Box, CasPaxos, Command, Instant, Job, Key, Purpose, Rejected, Rejection, Rescan, Ticket,
};
use crate::register::{Change, Decision, Step};
use bytes::Bytes;

/// What has become of a command: a ticket, or no need of one.
type Taken = Result<Option<Ticket>, Rejection>;

impl CasPaxos {
    pub(super) fn on_command(&mut self, command: Command) -> Result<Option<Ticket>, Rejected> {
        let taken = if self.node.stopped {
            Err(Rejection::Stopped)
        } else if self.node.configuration().is_none() {
            Err(Rejection::NoConfiguration)
        } else {
            match &command {
                Command::Change { key, change } => self.on_change(key, change),
                Command::Decide {
                    ticket,
                    ballot,
                    decision,
                } => self.on_decide(*ticket, *ballot, decision),
                Command::Configure(step) => self.on_configure(step),
                Command::Collect => {
                    self.collect(|_| true);
                    Ok(None)
                }
            }
        };
        taken.map_err(|why| Rejected {
            command: Box::new(command),
            why,
        })
    }

    fn on_change(&mut self, key: &Bytes, change: &Change) -> Taken {
        let limits = &self.node.config.limits;
        is_short("the key", key.len(), limits.key_bytes)?;
        is_short("the value", change.len(), limits.value_bytes)?;
        is_few("changes are under way", self.proposer.count, limits.changes)?;
        let key = Key::Data(key.clone());
        let waiting = self.proposer.waiting(&key);
        let of_one = "changes of this register are under way";
        is_few(of_one, waiting, limits.changes_per_key)?;
        let ticket = self.node.next_ticket();
        let change = change.clone();
        let purpose = Purpose::Client { ticket, change };
        let job = Job::new(purpose, Some(self.until()));
        self.proposer.submit(&mut self.node, key, job);
        Ok(Some(ticket))
    }

    fn on_decide(&mut self, ticket: Ticket, ballot: crate::Ballot, decision: &Decision) -> Taken {
        if let Decision::Write(value) = decision {
            let limit = self.node.config.limits.value_bytes;
            is_short("the value", value.len(), limit)?;
        }
        match self.proposer.is_asking(ticket, ballot) {
            Some(key) => {
                self.proposer.decide(&mut self.node, key, decision.clone());
                Ok(None)
            }
            None => Err(Rejection::Late { ticket, ballot }),
        }
    }

    fn on_configure(&mut self, step: &Step) -> Taken {
        let Some(configuration) = self.node.configuration() else {
            return Err(Rejection::NoConfiguration);
        };
        let next = Box::new(configuration.step(step)?);
        let waiting = self.proposer.waiting(&Key::Configuration);
        let under_way = waiting + usize::from(self.rescan.is_some());
        is_few("steps are under way", under_way, 1)?;
        let ticket = self.node.next_ticket();
        match step {
            Step::Phases(_) => {
                let job = Job::new(Purpose::Configure { ticket, next }, Some(self.until()));
                self.proposer
                    .submit(&mut self.node, Key::Configuration, job);
            }
            Step::Settle => {
                let rescan = Rescan::begin(&mut self.node, &mut self.proposer, ticket);
                self.rescan = Some(rescan);
            }
        }
        Ok(Some(ticket))
    }

    fn until(&self) -> Instant {
        self.node.now + self.node.config.timing.change
    }
}

const fn is_short(what: &'static str, len: usize, limit: usize) -> Result<(), Rejection> {
    if len > limit {
        return Err(Rejection::TooLong { what, len, limit });
    }
    Ok(())
}

const fn is_few(what: &'static str, count: usize, limit: usize) -> Result<(), Rejection> {
    if count >= limit {
        return Err(Rejection::Busy { what, count, limit });
    }
    Ok(())
}
