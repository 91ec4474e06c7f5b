//! From a request to its result: attempts, sessions and answers.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pending::{Job, Pending, Phase};
use super::{
    Client, ClientAnswer, ClientCall, ClientError, ClientOutput, ClientRequest, ClientResponse,
    RequestId, Session,
};
use crate::{ClientId, Decode, Instant, LogIndex, NodeId, SessionResponse, SessionToken, mix};

impl Client {
    /// Sends what may be sent.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.session.is_none() {
            self.open_session(now);
        }
        while let Some(id) = self.next_command() {
            self.send(now, id);
        }
        let on_their_way = self.active.values().filter(|pending| pending.is_read());
        let room = (self.config.in_flight as usize).saturating_sub(on_their_way.count());
        for _ in 0..room {
            let Some((id, read)) = self.reads.pop_first() else {
                break;
            };
            self.active.insert(id, read);
            self.send(now, id);
        }
    }

    /// One session at a time is opened, and only while a command wants one.
    fn open_session(&mut self, now: Instant) {
        match self.opening {
            None if !self.commands.is_empty() => {
                self.requests += 1;
                let id = RequestId(self.requests);
                // The same until it is open: a retry finds the session that an attempt has opened.
                let nonce = mix(self.config.seed, self.opened);
                let open = Pending::new(id, Job::Open { nonce }, Instant::NEVER);
                self.active.insert(id, open);
                self.opening = Some(id);
                self.send(now, id);
            }
            Some(id) if self.commands.is_empty() => {
                self.active.remove(&id);
                self.opening = None;
            }
            _ => {}
        }
    }

    /// Gives the next command its number. How far numbers run ahead of the oldest one that is not
    /// resolved is limited: the service keeps the responses of all of them.
    fn next_command(&mut self) -> Option<RequestId> {
        let session = self.session.as_mut()?;
        if session.next - session.below() >= u64::from(self.config.in_flight) {
            return None;
        }
        let (id, mut pending) = self.commands.pop_first()?;
        if let Job::Command { place, .. } = &mut pending.job {
            *place = Some((session.client, session.next));
            session.open.insert(session.next);
            session.next += 1;
        }
        self.active.insert(id, pending);
        Some(id)
    }

    /// Makes another attempt.
    pub(super) fn send(&mut self, now: Instant, id: RequestId) {
        let to = self.target(id);
        let Some(pending) = self.active.get_mut(&id) else {
            return;
        };
        let call = match &pending.job {
            Job::Open { nonce } => ClientCall::Open { nonce: *nonce },
            Job::Read { query, level } => ClientCall::Read {
                query: query.clone(),
                level: *level,
            },
            Job::Command { command, place } => {
                let session = self.session.as_ref();
                match (session, *place) {
                    (Some(session), Some((client, seq))) if session.client == client => {
                        ClientCall::Command {
                            client,
                            seq,
                            below: session.below(),
                            command: command.clone(),
                        }
                    }
                    _ => return self.without_session(id),
                }
            }
        };
        pending.attempts += 1;
        let until = now + self.config.attempt_timeout;
        pending.phase = Phase::Sent { to, until };
        let attempt = pending.attempts;
        let request = ClientRequest { id, attempt, call };
        self.outputs.push_back(ClientOutput::Send { to, request });
    }

    /// Whom to ask: the leader, but for reads that any node can answer. Those go to one node that
    /// the seed picks, so that clients spread, and to another one with each attempt.
    fn target(&self, id: RequestId) -> NodeId {
        let nodes = &self.config.nodes;
        match self.active.get(&id) {
            Some(pending) if pending.is_for_any() => {
                let home =
                    mix(self.config.seed, u64::MAX).wrapping_add(u64::from(pending.attempts));
                nodes[(home % nodes.len() as u64) as usize]
            }
            _ => self.someone(),
        }
    }

    /// A command whose session is gone cannot be asked for again under its number. If none of its
    /// attempts can have had an effect, it gets a new number in the next session.
    fn without_session(&mut self, id: RequestId) {
        let Some(mut pending) = self.active.remove(&id) else {
            return;
        };
        if pending.doubtful {
            self.deadlines.remove(&(pending.deadline, id));
            let error = ClientError::Unknown;
            self.outputs.push_back(ClientOutput::Failed { id, error });
            return;
        }
        if let Job::Command { place, .. } = &mut pending.job {
            *place = None;
        }
        pending.phase = Phase::Queued;
        self.commands.insert(id, pending);
    }

    /// The present attempt will get no answer; it may have had an effect.
    pub(super) fn lose(&mut self, now: Instant, id: RequestId) {
        if let Some(pending) = self.active.get_mut(&id) {
            pending.doubtful = true;
        }
        self.hop(now, id);
    }

    /// Asks another node, at once unless each was asked.
    pub(super) fn hop(&mut self, now: Instant, id: RequestId) {
        let nodes = self.config.nodes.len();
        let may_hop = self.active.get_mut(&id).is_some_and(|p| p.may_hop(nodes));
        if may_hop {
            self.send(now, id);
        } else {
            self.pause(now, id);
        }
    }

    fn pause(&mut self, now: Instant, id: RequestId) {
        if let Some(pending) = self.active.get_mut(&id) {
            pending.pause(now, &self.config);
        }
    }

    /// The deadline of a request has passed.
    pub(super) fn give_up(&mut self, id: RequestId) {
        let waiting = [&self.active, &self.commands, &self.reads];
        let in_doubt = waiting.iter().find_map(|queue| queue.get(&id));
        let error = if in_doubt.is_some_and(Pending::in_doubt) {
            ClientError::Unknown
        } else {
            ClientError::TimedOut
        };
        self.fail(id, error);
    }

    fn fail(&mut self, id: RequestId, error: ClientError) {
        if self.resolve(id) {
            self.outputs.push_back(ClientOutput::Failed { id, error });
        }
    }

    fn finish(&mut self, id: RequestId, index: LogIndex, response: Bytes) {
        self.token = self.token.max(SessionToken(index));
        if self.resolve(id) {
            self.outputs.push_back(ClientOutput::Done {
                id,
                response,
                index,
            });
        }
    }

    /// Forgets a request; whether it was there.
    fn resolve(&mut self, id: RequestId) -> bool {
        let queued = || self.commands.remove(&id).or_else(|| self.reads.remove(&id));
        let Some(pending) = self.active.remove(&id).or_else(queued) else {
            return false;
        };
        self.deadlines.remove(&(pending.deadline, id));
        if let Job::Command {
            place: Some((client, seq)),
            ..
        } = pending.job
            && let Some(session) = &mut self.session
            && session.client == client
        {
            session.open.remove(&seq);
        }
        true
    }

    pub(super) fn take_answer(&mut self, now: Instant, from: NodeId, response: ClientResponse) {
        let ClientResponse {
            id,
            attempt,
            leader,
            answer,
        } = response;
        let Some(pending) = self.active.get(&id) else {
            return;
        };
        let is_present = match pending.phase {
            Phase::Sent { to, .. } => to == from && attempt == pending.attempts,
            Phase::Queued | Phase::Paused { .. } => false,
        };
        match answer {
            // Done is done, whichever attempt did it.
            ClientAnswer::Applied { index, response } => {
                let for_all = leader.unwrap_or(from);
                self.applied(now, id, index, response, is_present);
                self.follow(for_all);
            }
            ClientAnswer::Read { index, response } if pending.is_read() => {
                self.finish(id, index, response);
                leader.into_iter().for_each(|leader| self.follow(leader));
            }
            // Of what did not happen, only the present attempt tells anything new.
            _ if !is_present => {}
            ClientAnswer::NotLeader => {
                self.turn_from(from);
                let other = leader.filter(|leader| *leader != from);
                other.into_iter().for_each(|leader| self.follow(leader));
                self.hop(now, id);
            }
            ClientAnswer::Busy => {
                leader.into_iter().for_each(|leader| self.follow(leader));
                self.pause(now, id);
            }
            ClientAnswer::Unknown => {
                self.active.entry(id).and_modify(|p| p.doubtful = true);
                self.turn_from(from);
                leader.into_iter().for_each(|leader| self.follow(leader));
                self.pause(now, id);
            }
            ClientAnswer::Refused(reason) => self.refused(id, reason),
            ClientAnswer::Read { .. } => {}
        }
    }

    fn follow(&mut self, leader: NodeId) {
        if self.config.nodes.contains(&leader) {
            self.leader = Some(leader);
        }
    }

    fn applied(
        &mut self,
        now: Instant,
        id: RequestId,
        index: LogIndex,
        response: Bytes,
        is_present: bool,
    ) {
        let job = self.active.get(&id).map(|pending| &pending.job);
        let (Some(job), Ok(response)) = (job, SessionResponse::decode_all(response)) else {
            return;
        };
        match (job, response) {
            (Job::Open { .. }, SessionResponse::Opened(client)) => self.opened(client),
            (Job::Command { .. }, SessionResponse::Done(response)) => {
                self.finish(id, index, response);
            }
            (Job::Command { .. }, SessionResponse::Stale) => {
                self.fail(id, ClientError::ResponseLost);
            }
            (
                Job::Command {
                    place: Some((client, _)),
                    ..
                },
                SessionResponse::Expired,
            ) if is_present => {
                let client = *client;
                self.expired(id, client);
            }
            (Job::Command { .. }, SessionResponse::Ahead) if is_present => self.pause(now, id),
            _ => {}
        }
    }

    fn opened(&mut self, client: ClientId) {
        if let Some(id) = self.opening.take() {
            self.active.remove(&id);
        }
        self.opened += 1;
        self.session = Some(Session {
            client,
            next: 0,
            open: alloc::collections::BTreeSet::new(),
        });
    }

    /// The session is gone for good. Attempts on their way still get their own answers; what makes
    /// a pause learns it now.
    fn expired(&mut self, id: RequestId, client: ClientId) {
        if self.session.as_ref().is_some_and(|s| s.client == client) {
            self.session = None;
        }
        self.without_session(id);
        let paused = self.active.values().filter(|pending| {
            let of_session = matches!(
                pending.job,
                Job::Command { place: Some((whose, _)), .. } if whose == client
            );
            of_session && matches!(pending.phase, Phase::Paused { .. })
        });
        let paused: Vec<RequestId> = paused.map(|pending| pending.id).collect();
        paused.into_iter().for_each(|id| self.without_session(id));
    }

    /// A request was refused for good. If it is a session that was, so is all that waits for it.
    fn refused(&mut self, id: RequestId, reason: String) {
        if self.opening == Some(id) {
            self.opening = None;
            self.active.remove(&id);
            while let Some((&id, _)) = self.commands.first_key_value() {
                self.fail(id, ClientError::Refused(reason.clone()));
            }
            return;
        }
        let doubtful = self.active.get(&id).is_some_and(|p| p.doubtful);
        let is_read = self.active.get(&id).is_some_and(Pending::is_read);
        let error = if doubtful && !is_read {
            ClientError::Unknown
        } else {
            ClientError::Refused(reason)
        };
        self.fail(id, error);
    }
}
