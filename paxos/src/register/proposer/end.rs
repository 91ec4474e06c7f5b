//! What a job has come to.

use super::{Cache, Event, Finished, Job, Key, Node, Proposer, Purpose, Refusal, State, Telling};

impl Proposer {
    /// Tells what has come of a job, now that `settled` is chosen.
    pub(super) fn finish(
        &mut self,
        node: &mut Node,
        key: Key,
        job: Job,
        telling: Telling,
        settled: Option<(State, Cache)>,
    ) {
        if let Some((state, cache)) = settled {
            if key == Key::Configuration {
                self.finished.push_back(Finished::Configured(state));
            }
            self.caches.put(key.clone(), cache);
        }
        match (telling, job.ticket()) {
            (Telling::Done(made, current), Some(ticket)) => node.tell(Event::Done {
                ticket,
                made,
                current,
            }),
            (Telling::Refused(why), Some(ticket)) => node.tell(Event::Refused { ticket, why }),
            (Telling::Stepped, Some(ticket)) => {
                self.finished.push_back(Finished::Stepped(ticket));
            }
            (Telling::Rewritten, _) => self.finished.push_back(Finished::Rewritten(key.clone())),
            (Telling::Buried | Telling::Done(..) | Telling::Refused(_) | Telling::Stepped, _) => {}
        }
        self.close(node, key, &job);
    }

    /// Nobody can tell any more what has come of a job.
    pub(super) fn give_up(&mut self, node: &mut Node, key: Key, job: Job) {
        if let Some(ticket) = job.ticket() {
            node.tell(Event::Unknown { ticket });
        }
        self.close(node, key, &job);
    }

    /// A job has not happened.
    pub(super) fn refuse(&mut self, node: &mut Node, key: Key, job: Job, why: Refusal) {
        match (&job.purpose, job.ticket()) {
            (Purpose::Bury, _) => self.finished.push_back(Finished::NotBuried {
                key: key.clone(),
                again: true,
            }),
            (Purpose::Rewrite, _) => self.finished.push_back(Finished::NotRewritten(key.clone())),
            (_, Some(ticket)) => node.tell(Event::Refused { ticket, why }),
            (_, None) => {}
        }
        self.close(node, key, &job);
    }

    pub(super) fn close(&mut self, node: &mut Node, key: Key, job: &Job) {
        self.count -= usize::from(job.is_clients());
        self.advance(node, key);
    }
}
