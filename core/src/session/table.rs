//! Who has a session, and what has been done in it.

use alloc::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::{ClientId, SessionCommand, SessionLimits, SessionResponse};
use crate::codec::{decode_count, encode_len};
use crate::{Decode, DecodeError, Encode, LogIndex};

/// What a kept response costs besides its bytes.
const OVERHEAD: u64 = 64;

/// The sessions of a replicated state machine (Raft dissertation §6.3).
///
/// [`Sessions`](super::Sessions) holds one for applications whose state is rebuilt from snapshot
/// and log. An application that is durable by itself holds one of its own and stores it in the same
/// transaction as what it applied: [`admit`](Self::admit), apply, [`done`](Self::done), commit.
///
/// ```
/// use synod_core::{Admission, LogIndex, SessionCommand, SessionLimits, SessionResponse, SessionTable};
///
/// let mut table = SessionTable::new(SessionLimits::default());
/// let open = SessionCommand::Open { nonce: 7, time: 0 };
/// let Admission::Answer(SessionResponse::Opened(client)) = table.admit(LogIndex(1), open) else {
///     panic!("a session is opened");
/// };
/// let put = SessionCommand::Command { client, seq: 0, below: 0, time: 1, command: "put".into() };
/// assert!(matches!(table.admit(LogIndex(2), put.clone()), Admission::Apply { .. }));
/// table.done(client, 0, "ok".into());
/// let again = table.admit(LogIndex(3), put);
/// assert_eq!(again, Admission::Answer(SessionResponse::Done("ok".into())));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SessionTable {
    limits: SessionLimits,
    /// The latest time that any command carried, in ms.
    clock: u64,
    sessions: BTreeMap<ClientId, Session>,
    /// By the last place where each was used: the first is the least recently used. As the clock
    /// does not go back, it is also the first to expire.
    by_use: BTreeMap<LogIndex, ClientId>,
    by_nonce: BTreeMap<u64, ClientId>,
    cached_bytes: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Session {
    nonce: u64,
    /// Where it was last used.
    used: LogIndex,
    /// What the clock was then, in ms.
    used_at: u64,
    below: u64,
    /// What was applied at or above `below`; `None` where the response was too much to keep.
    done: BTreeMap<u64, Option<Bytes>>,
}

/// What is to be done with a command.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// Apply it, then call [`SessionTable::done`].
    Apply {
        /// Whose.
        client: ClientId,
        /// Which.
        seq: u64,
        /// What.
        command: Bytes,
    },
    /// Apply it; it belongs to no session.
    ApplyPlain(Bytes),
    /// Do not apply anything; this is the answer.
    Answer(SessionResponse),
}

impl SessionTable {
    /// A table without sessions. `limits` must be the same on every replica; they are changed
    /// through the log, by [`SessionCommand::Limits`].
    #[must_use]
    pub const fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            clock: 0,
            sessions: BTreeMap::new(),
            by_use: BTreeMap::new(),
            by_nonce: BTreeMap::new(),
            cached_bytes: 0,
        }
    }

    /// Decides what the command at `index` does. To be called once for every committed command,
    /// in order.
    pub fn admit(&mut self, index: LogIndex, command: SessionCommand) -> Admission {
        Admission::Answer(match command {
            SessionCommand::Plain(command) => return Admission::ApplyPlain(command),
            SessionCommand::Open { nonce, time } => {
                self.advance(time);
                self.open(index, nonce)
            }
            SessionCommand::Command {
                client,
                seq,
                below,
                time,
                command,
            } => {
                self.advance(time);
                match self.check(index, client, seq, below) {
                    Some(answer) => answer,
                    None => {
                        return Admission::Apply {
                            client,
                            seq,
                            command,
                        };
                    }
                }
            }
            SessionCommand::Close { client, time } => {
                self.advance(time);
                if self.sessions.contains_key(&client) {
                    self.evict(client);
                    SessionResponse::Closed
                } else {
                    SessionResponse::Expired
                }
            }
            SessionCommand::Limits(limits) => {
                self.limits = limits;
                self.expire();
                self.make_room(limits.sessions);
                self.shed(None);
                SessionResponse::Limited
            }
        })
    }

    /// Keeps the response to what [`admit`](Self::admit) said to apply.
    pub fn done(&mut self, client: ClientId, seq: u64, response: Bytes) {
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        self.cached_bytes += cost(Some(&response));
        session.done.insert(seq, Some(response));
        self.shed(Some(client));
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> SessionLimits {
        self.limits
    }

    /// What the kept responses cost, in bytes.
    #[must_use]
    pub const fn cached_bytes(&self) -> u64 {
        self.cached_bytes
    }

    fn open(&mut self, index: LogIndex, nonce: u64) -> SessionResponse {
        if let Some(&client) = self.by_nonce.get(&nonce) {
            self.touch(index, client);
            return SessionResponse::Opened(client);
        }
        self.make_room(self.limits.sessions.saturating_sub(1));
        let client = ClientId(index);
        let session = Session {
            nonce,
            used: index,
            used_at: self.clock,
            below: 0,
            done: BTreeMap::new(),
        };
        self.insert(client, session);
        SessionResponse::Opened(client)
    }

    fn insert(&mut self, client: ClientId, session: Session) {
        self.by_nonce.insert(session.nonce, client);
        self.by_use.insert(session.used, client);
        self.cached_bytes += session.cost();
        self.sessions.insert(client, session);
    }

    /// The answer to a command, unless it is to be applied.
    fn check(
        &mut self,
        index: LogIndex,
        client: ClientId,
        seq: u64,
        below: u64,
    ) -> Option<SessionResponse> {
        self.touch(index, client);
        let window = u64::from(self.limits.window);
        let Some(session) = self.sessions.get_mut(&client) else {
            return Some(SessionResponse::Expired);
        };
        if below > session.below {
            let kept = session.done.split_off(&below);
            let dropped = core::mem::replace(&mut session.done, kept);
            session.below = below;
            let costs = dropped.values().map(|response| cost(response.as_ref()));
            self.cached_bytes -= costs.sum::<u64>();
        }
        match session.done.get(&seq) {
            Some(Some(response)) => Some(SessionResponse::Done(response.clone())),
            Some(None) => Some(SessionResponse::Stale),
            // Below what is kept it has been applied, or the client has given it up: a copy that
            // comes this late is not applied either way.
            None if seq < session.below => Some(SessionResponse::Stale),
            None if seq - session.below >= window => Some(SessionResponse::Ahead),
            None => None,
        }
    }

    /// The clock never goes back: proposers' clocks differ, and what has expired stays so.
    fn advance(&mut self, time: u64) {
        self.clock = self.clock.max(time);
        self.expire();
    }

    fn expire(&mut self) {
        while let Some((_, &client)) = self.by_use.first_key_value()
            && let Some(session) = self.sessions.get(&client)
            && self.clock - session.used_at > self.limits.ttl_ms
        {
            self.evict(client);
        }
    }

    /// Evicts the least recently used sessions above `most`.
    fn make_room(&mut self, most: u32) {
        while self.sessions.len() > most as usize
            && let Some((_, &client)) = self.by_use.first_key_value()
        {
            self.evict(client);
        }
    }

    /// Keeps to the limit on kept responses: the least recently used sessions go first, and if
    /// `current` alone is too much, its responses.
    fn shed(&mut self, current: Option<ClientId>) {
        while self.cached_bytes > self.limits.cached_bytes
            && let Some((_, &client)) = self.by_use.first_key_value()
        {
            if Some(client) != current {
                self.evict(client);
            } else if let Some(session) = self.sessions.get_mut(&client) {
                self.cached_bytes -= session.cost();
                session
                    .done
                    .values_mut()
                    .for_each(|response| *response = None);
                self.cached_bytes += session.cost();
                break;
            }
        }
    }

    fn touch(&mut self, index: LogIndex, client: ClientId) {
        if let Some(session) = self.sessions.get_mut(&client) {
            self.by_use.remove(&session.used);
            self.by_use.insert(index, client);
            session.used = index;
            session.used_at = self.clock;
        }
    }

    fn evict(&mut self, client: ClientId) {
        if let Some(session) = self.sessions.remove(&client) {
            self.by_use.remove(&session.used);
            self.by_nonce.remove(&session.nonce);
            self.cached_bytes -= session.cost();
        }
    }

    /// Forgets who has a session, as a broken snapshot would.
    #[cfg(feature = "planted")]
    pub(super) fn forget_sessions(&mut self) {
        *self = Self {
            clock: self.clock,
            ..Self::new(self.limits)
        };
    }

    /// Forgets what was done, as a broken snapshot would.
    #[cfg(feature = "planted")]
    pub(super) fn forget_responses(&mut self) {
        self.cached_bytes = 0;
        self.sessions
            .values_mut()
            .for_each(|session| session.done.clear());
    }
}

impl Session {
    fn cost(&self) -> u64 {
        let costs = self.done.values().map(|response| cost(response.as_ref()));
        costs.sum()
    }
}

/// What a kept response counts for; one that was shed counts for nothing, the window bounds those.
fn cost(response: Option<&Bytes>) -> u64 {
    response.map_or(0, |response| response.len() as u64 + OVERHEAD)
}

/// The sessions in the order of their last use.
impl Encode for SessionTable {
    fn encode(&self, out: &mut BytesMut) {
        self.limits.encode(out);
        self.clock.encode(out);
        encode_len(self.by_use.len(), out);
        for client in self.by_use.values() {
            client.encode(out);
            self.sessions[client].encode(out);
        }
    }
}

impl Decode for SessionTable {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let mut table = Self::new(SessionLimits::decode(input)?);
        table.clock = u64::decode(input)?;
        let invalid = |why| {
            Err(DecodeError::Invalid {
                what: "session table",
                why,
            })
        };
        let mut used_before = (LogIndex::START, 0);
        for _ in 0..decode_count(input, "session table")? {
            let client = ClientId::decode(input)?;
            let session = Session::decode(input)?;
            if session.used <= used_before.0 || session.used_at < used_before.1 {
                return invalid("is not in the order of use");
            }
            used_before = (session.used, session.used_at);
            if client.0 > session.used || session.used_at > table.clock {
                return invalid("has a session from the future");
            }
            if table.sessions.contains_key(&client) || table.by_nonce.contains_key(&session.nonce) {
                return invalid("has a session twice");
            }
            table.insert(client, session);
        }
        Ok(table)
    }
}

impl Encode for Session {
    fn encode(&self, out: &mut BytesMut) {
        self.nonce.encode(out);
        self.used.encode(out);
        self.used_at.encode(out);
        self.below.encode(out);
        encode_len(self.done.len(), out);
        for (seq, response) in &self.done {
            seq.encode(out);
            response.encode(out);
        }
    }
}

impl Decode for Session {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let mut session = Self {
            nonce: Decode::decode(input)?,
            used: Decode::decode(input)?,
            used_at: Decode::decode(input)?,
            below: Decode::decode(input)?,
            done: BTreeMap::new(),
        };
        for _ in 0..decode_count(input, "session")? {
            let (seq, response) = <(u64, Option<Bytes>)>::decode(input)?;
            let last = session.done.last_key_value().map(|(last, _)| *last);
            if seq < session.below || last.is_some_and(|last| last >= seq) {
                return Err(DecodeError::Invalid {
                    what: "session",
                    why: "is not in the order of its numbers",
                });
            }
            // A copy of its own: a slice would keep the whole snapshot in memory.
            let response = response.map(|response| Bytes::copy_from_slice(&response));
            session.done.insert(seq, response);
        }
        Ok(session)
    }
}
