//! A client of a replicated service, as a machine: finds the leader, retries, and makes each
//! command happen at most once.

mod config;
mod flow;
mod pending;
mod wire;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;

use bytes::Bytes;

use crate::{ClientId, Instant, LogIndex, NodeId, ReadLevel, SessionToken, Wake};
pub use config::{ClientConfig, ClientConfigError};
use pending::{Job, Pending, Phase};
pub use wire::{ClientAnswer, ClientCall, ClientRequest, ClientResponse, RequestId};

/// A client of a service whose state machine is wrapped in [`Sessions`](crate::Sessions).
///
/// Like every machine here it does no I/O and tells no time: requests of the application, answers
/// and the time go in, requests to nodes and results come out of [`poll`](Self::poll).
///
/// - Each command has a session and a number, so that a retry is applied once, whichever node it
///   reaches; the client opens the session itself, and another one after it has expired.
/// - Each request resolves exactly once: as done; as failed for certain; or, for a command that may
///   have left and got no answer before its deadline, as [`ClientError::Unknown`].
/// - Several requests may be on their way; they are not ordered among each other. Who needs one
///   command to happen after another waits for the first.
/// - A read at [`ReadLevel::Session`] sees everything that this client was told before.
///
/// ```
/// use bytes::Bytes;
/// use core::time::Duration;
/// use synod_core::{Client, ClientCall, ClientConfig, ClientOutput, Instant, NodeId};
///
/// let mut client = Client::new(ClientConfig::new(vec![NodeId(1), NodeId(2)], 7))?;
/// let now = Instant::START;
/// client.submit(now, Bytes::from("put"), now + Duration::from_secs(5)).expect("room for one");
/// let Some(ClientOutput::Send { to, request }) = client.poll() else { panic!("asks a node") };
/// assert_eq!(to, NodeId(1));
/// assert!(matches!(request.call, ClientCall::Open { .. }), "a session comes first");
///
/// client.unreachable(now, NodeId(1));
/// assert!(matches!(client.poll(), Some(ClientOutput::Send { to: NodeId(2), .. })));
/// # Ok::<(), synod_core::ClientConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Client {
    config: ClientConfig,
    leader: Option<NodeId>,
    /// Whom to ask while no leader is known.
    cursor: usize,
    session: Option<Session>,
    /// How many sessions were opened: each needs a nonce of its own.
    opened: u64,
    opening: Option<RequestId>,
    requests: u64,
    /// What was sent at least once, or makes a pause.
    active: BTreeMap<RequestId, Pending>,
    /// Commands that wait for a session, or for their turn in it.
    commands: BTreeMap<RequestId, Pending>,
    /// Reads that wait for their turn.
    reads: BTreeMap<RequestId, Pending>,
    deadlines: BTreeSet<(Instant, RequestId)>,
    token: SessionToken,
    outputs: VecDeque<ClientOutput>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Session {
    client: ClientId,
    next: u64,
    /// The numbers that are not resolved.
    open: BTreeSet<u64>,
}

impl Session {
    /// No answer below this is waited for.
    fn below(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

/// One thing for the surroundings of a client to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClientOutput {
    /// Send this; call [`Client::answer`] with what comes back, [`Client::unreachable`] when the
    /// connection breaks, or [`Client::undelivered`] if it never left.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        request: ClientRequest,
    },
    /// This request is done.
    Done {
        /// Which.
        id: RequestId,
        /// What the state machine answered.
        response: Bytes,
        /// The place in the log of a command; the place that a read has seen.
        index: LogIndex,
    },
    /// This request has failed.
    Failed {
        /// Which.
        id: RequestId,
        /// How, and what that says about its effect.
        error: ClientError,
    },
}

/// How a request failed. All but [`Unknown`](Self::Unknown) say for certain what happened.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The deadline has passed. It has had no effect and will have none: no attempt has left, or
    /// each that did was turned away; or it is a read.
    #[error("no answer before the deadline; it did not happen")]
    TimedOut,
    /// A command may or may not have happened: an attempt has left and its answer has not come,
    /// before the deadline or before its session expired. It happens at most once, and may still
    /// do.
    #[error("it may or may not have happened")]
    Unknown,
    /// A command has happened, once, but its response was not kept for the retry.
    #[error("it happened, but its response is lost")]
    ResponseLost,
    /// It did not happen and will not, and asking again would not help.
    #[error("refused: {0}")]
    Refused(String),
}

/// There is no room for another request. Nothing has happened.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{limit} requests wait already")]
pub struct ClientFull {
    /// The command or query, handed back.
    pub payload: Bytes,
    /// The limit.
    pub limit: usize,
}

impl Client {
    /// A client without a session: it opens one when the first command comes.
    ///
    /// # Errors
    ///
    /// [`ClientConfigError`].
    pub fn new(config: ClientConfig) -> Result<Self, ClientConfigError> {
        config.check()?;
        Ok(Self {
            config,
            leader: None,
            cursor: 0,
            session: None,
            opened: 0,
            opening: None,
            requests: 0,
            active: BTreeMap::new(),
            commands: BTreeMap::new(),
            reads: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            token: SessionToken::default(),
            outputs: VecDeque::new(),
        })
    }

    /// Asks for a command to happen, once, before `deadline`.
    ///
    /// # Errors
    ///
    /// [`ClientFull`]: nothing has happened.
    pub fn submit(
        &mut self,
        now: Instant,
        command: Bytes,
        deadline: Instant,
    ) -> Result<RequestId, ClientFull> {
        self.has_room(&command)?;
        let place = None;
        let id = self.enqueue(Job::Command { command, place }, deadline);
        self.go_on(now);
        Ok(id)
    }

    /// Asks for the answer to a query before `deadline`. At [`ReadLevel::Session`] it sees what the
    /// given token has seen and everything that this client was told before.
    ///
    /// # Errors
    ///
    /// [`ClientFull`]: nothing has happened.
    pub fn read(
        &mut self,
        now: Instant,
        query: Bytes,
        level: ReadLevel,
        deadline: Instant,
    ) -> Result<RequestId, ClientFull> {
        self.has_room(&query)?;
        let level = match level {
            ReadLevel::Session(token) => ReadLevel::Session(token.max(self.token)),
            other => other,
        };
        let id = self.enqueue(Job::Read { query, level }, deadline);
        self.go_on(now);
        Ok(id)
    }

    /// Learns what a node has answered. Answers to what is resolved, and nonsense, do nothing.
    pub fn answer(&mut self, now: Instant, from: NodeId, response: ClientResponse) {
        self.take_answer(now, from, response);
        self.go_on(now);
    }

    /// Learns that the connection to a node is broken or cannot be made: what was sent to it may
    /// have arrived, but its answer will not come.
    pub fn unreachable(&mut self, now: Instant, node: NodeId) {
        let lost = self.sent(|to, _| to == node);
        self.turn_from(node);
        for id in lost {
            self.lose(now, id);
        }
        self.go_on(now);
    }

    /// Learns that this attempt has never left: its output was not sent at all.
    pub fn undelivered(&mut self, now: Instant, to: NodeId, request: &ClientRequest) {
        let never_left = self.sent(|node, pending| {
            node == to && pending.id == request.id && pending.attempts == request.attempt
        });
        self.turn_from(to);
        for id in never_left {
            self.hop(now, id);
        }
        self.go_on(now);
    }

    /// Does what is due. Spurious calls do nothing.
    pub fn tick(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.give_up(id);
        }
        let due = self.active.values();
        let due = due.filter(|pending| pending.due().is_some_and(|due| due <= now));
        let due: alloc::vec::Vec<_> = due.map(|pending| (pending.id, pending.phase)).collect();
        for (id, phase) in due {
            match phase {
                Phase::Sent { to, .. } => {
                    self.turn_from(to);
                    self.lose(now, id);
                }
                Phase::Queued | Phase::Paused { .. } => self.send(now, id),
            }
        }
        self.go_on(now);
    }

    /// When [`tick`](Self::tick) wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Wake> {
        let deadline = self.deadlines.first().map(|(at, _)| Wake {
            at: *at,
            why: "a request's deadline",
        });
        let due = self.active.values().filter_map(Pending::due).min();
        let due = due.map(|at| Wake {
            at,
            why: "another attempt",
        });
        Wake::earlier(due, deadline)
    }

    /// The next thing to do, or `None` until the next input.
    pub fn poll(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// Ends the session, if there is one and no command waits: the service need not keep it until
    /// it expires. Whether that was so; a later command opens another session.
    pub fn close(&mut self) -> bool {
        let idle = self.commands.is_empty() && self.active.values().all(Pending::is_read);
        if !idle {
            return false;
        }
        let Some(session) = self.session.take() else {
            return false;
        };
        self.requests += 1;
        let client = session.client;
        let request = ClientRequest {
            id: RequestId(self.requests),
            attempt: 1,
            call: ClientCall::Close { client },
        };
        let to = self.someone();
        self.outputs.push_back(ClientOutput::Send { to, request });
        true
    }

    /// What this client has seen: hand it to another client, and its reads at
    /// [`ReadLevel::Session`] see that too.
    #[must_use]
    pub const fn token(&self) -> SessionToken {
        self.token
    }

    /// The leader, as far as this client knows.
    #[must_use]
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The session that commands are sent in, if one is open.
    #[must_use]
    pub fn session(&self) -> Option<ClientId> {
        self.session.as_ref().map(|session| session.client)
    }

    /// How many requests are not resolved.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let internal = usize::from(self.opening.is_some());
        self.active.len() - internal + self.commands.len() + self.reads.len()
    }

    fn has_room(&self, payload: &Bytes) -> Result<(), ClientFull> {
        if self.outstanding() < self.config.capacity {
            return Ok(());
        }
        Err(ClientFull {
            payload: payload.clone(),
            limit: self.config.capacity,
        })
    }

    fn enqueue(&mut self, job: Job, deadline: Instant) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        let pending = Pending::new(id, job, deadline);
        if deadline < Instant::NEVER {
            self.deadlines.insert((deadline, id));
        }
        let queue = if pending.is_read() {
            &mut self.reads
        } else {
            &mut self.commands
        };
        queue.insert(id, pending);
        id
    }

    /// The requests whose present attempt is on its way and fits.
    fn sent(&self, fits: impl Fn(NodeId, &Pending) -> bool) -> alloc::vec::Vec<RequestId> {
        let sent = self.active.values().filter(|pending| match pending.phase {
            Phase::Sent { to, .. } => fits(to, pending),
            Phase::Queued | Phase::Paused { .. } => false,
        });
        sent.map(|pending| pending.id).collect()
    }

    /// A node that did not help is not the leader, and not the next to ask.
    fn turn_from(&mut self, node: NodeId) {
        if self.leader == Some(node) {
            self.leader = None;
        }
        if self.config.nodes[self.cursor] == node {
            self.cursor = (self.cursor + 1) % self.config.nodes.len();
        }
    }

    /// The leader, or who may know it.
    fn someone(&self) -> NodeId {
        self.leader.unwrap_or(self.config.nodes[self.cursor])
    }
}
