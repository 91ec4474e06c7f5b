//! Who is there: agreeing with the other end before the first frame.
//!
//! The dialler says hello, the other end answers with its own hello or with a refusal. Then the
//! node with the greater id, whichever end that is, confirms the connection; from that moment it is
//! the link. Both nodes may have dialled at once, or one may not have noticed yet that the old
//! connection is dead: because one of the two decides, and numbers its decisions, both agree.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::future::Future;

use bytes::BytesMut;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use synod_core::{Decode, DecodeError, Encode, NodeId};

use super::connection::Connection;
use super::hello::{self, Groups, PROTOCOL};
use super::lock::lock;
use super::shared::{LinkGuard, Shared};
use super::{
    BoxStream, Greeting, HandshakeError, Hello, Identity, Incoming, Refusal, Secured,
    TransportEvent,
};

/// Why there is no link.
pub(crate) enum Unlinked {
    Failed(HandshakeError),
    RefusedBy(Refusal),
    /// We have refused; the stream still carries the reason to the other end.
    Refused(NodeId, Refusal, BoxStream),
}

impl<T: Into<HandshakeError>> From<T> for Unlinked {
    fn from(why: T) -> Self {
        Self::Failed(why.into())
    }
}

type Linked<M> = Result<Connection<M>, Unlinked>;

/// Opens a connection to `peer`.
pub(crate) async fn dial<M>(shared: &Arc<Shared<M>>, peer: NodeId, address: &str) -> Linked<M> {
    in_time(shared, async {
        let stream = shared.network.connect(peer, address).await;
        let stream = stream.map_err(|e| HandshakeError::Connect(e.to_string()))?;
        let secured = shared.security.connect(peer, stream).await;
        let Secured {
            mut stream,
            identity,
        } = secured.map_err(|e| HandshakeError::Security(e.to_string()))?;

        say(&mut stream, Greeting::Hello(shared.hello(peer))).await?;
        let hello = hear_hello(&mut stream).await?;
        if let Err(why) = shared.judge(&hello, Some(peer), &*identity) {
            return Err(refuse(stream, peer, why).await);
        }
        settle(shared, stream, &hello, true).await
    })
    .await
    .inspect(|connection| connection.report_up(address.into(), true))
}

/// Answers a connection that somebody has opened.
pub(crate) async fn answer<M>(shared: &Arc<Shared<M>>, incoming: Incoming) -> Linked<M> {
    let Incoming { stream, remote } = incoming;
    in_time(shared, async {
        let secured = shared.security.accept(stream).await;
        let Secured {
            mut stream,
            identity,
        } = secured.map_err(|e| HandshakeError::Security(e.to_string()))?;

        let hello = hear_hello(&mut stream).await?;
        if let Err(why) = shared.judge(&hello, None, &*identity) {
            return Err(refuse(stream, hello.from, why).await);
        }
        say(&mut stream, Greeting::Hello(shared.hello(hello.from))).await?;
        settle(shared, stream, &hello, false).await
    })
    .await
    .inspect(|connection| connection.report_up(remote, false))
}

async fn in_time<M>(shared: &Shared<M>, job: impl Future<Output = Linked<M>>) -> Linked<M> {
    let limit = shared.config.timing.handshake;
    match shared.within(limit, job).await {
        Some(done) => done,
        None => Err(HandshakeError::Timeout(limit).into()),
    }
}

/// Agrees that this connection is the link, after both hellos were found good.
async fn settle<M>(
    shared: &Arc<Shared<M>>,
    mut stream: BoxStream,
    hello: &Hello,
    dialled: bool,
) -> Linked<M> {
    if !shared.keeps(hello.from) {
        let number = match hear(&mut stream).await? {
            Greeting::Confirm(number) => number,
            Greeting::Refuse(why) => return Err(Unlinked::RefusedBy(why)),
            Greeting::Hello(_) => return Err(HandshakeError::OutOfTurn.into()),
        };
        return match shared.install(hello, Some(number)) {
            Ok(guard) => Ok(Connection::new(guard, stream)),
            Err(why) => Err(refuse(stream, hello.from, why).await),
        };
    }
    let guard = match confirmed(shared, hello, dialled) {
        Ok(guard) => guard,
        Err(why) => return Err(refuse(stream, hello.from, why).await),
    };
    say(&mut stream, Greeting::Confirm(guard.link.id.0)).await?;
    Ok(Connection::new(guard, stream))
}

/// The keeper's decision.
fn confirmed<M>(
    shared: &Arc<Shared<M>>,
    hello: &Hello,
    dialled: bool,
) -> Result<LinkGuard<M>, Refusal> {
    // While we were dialling, the same life of the peer has got a link by dialling us: keep that.
    // But when the peer has dialled us, it had no link when it did, whatever we believe of ours.
    let linked = lock(&shared.table)
        .link(hello.from)
        .is_some_and(|link| link.boot == hello.boot);
    if dialled && linked {
        return Err(Refusal::Superseded);
    }
    shared.install(hello, None)
}

impl<M> Shared<M> {
    fn hello(&self, to: NodeId) -> Hello {
        Hello {
            oldest: PROTOCOL,
            newest: PROTOCOL,
            cluster: self.config.cluster,
            groups: Groups::One(self.config.group),
            from: self.config.node,
            to,
            boot: self.boot,
            max_frame: u32::try_from(self.config.limits.frame)
                .expect("a checked config keeps frames far below 4 GiB"),
        }
    }

    /// Whether this is the node, of the kind and with the rights, that we want to talk with.
    fn judge(
        &self,
        hello: &Hello,
        dialled: Option<NodeId>,
        identity: &dyn Identity,
    ) -> Result<(), Refusal> {
        let config = &self.config;
        if hello.oldest > PROTOCOL || hello.newest < PROTOCOL {
            return Err(Refusal::Version {
                ours: (PROTOCOL, PROTOCOL),
                theirs: (hello.oldest, hello.newest),
            });
        }
        if hello.cluster != config.cluster {
            return Err(Refusal::Cluster {
                ours: config.cluster,
                theirs: hello.cluster,
            });
        }
        let ours = Groups::One(config.group);
        if hello.groups != ours {
            return Err(Refusal::Groups {
                ours,
                theirs: hello.groups,
            });
        }
        if hello.from == config.node {
            return Err(Refusal::OwnId(hello.from));
        }
        if hello.to != config.node {
            return Err(Refusal::Recipient {
                ours: config.node,
                wanted: hello.to,
            });
        }
        match dialled {
            Some(dialled) if dialled != hello.from => {
                return Err(Refusal::Unexpected {
                    dialled,
                    theirs: hello.from,
                });
            }
            _ => {}
        }
        if !identity.certifies(hello.from) {
            return Err(Refusal::Certificate(hello.from));
        }
        lock(&self.table).admits(hello.from)
    }

    /// Tells of a connection that did not become a link, and lets the other end read why.
    pub(crate) async fn report_unlinked(
        &self,
        peer: Option<NodeId>,
        remote: String,
        unlinked: Unlinked,
    ) {
        match unlinked {
            Unlinked::Failed(why) => {
                self.stats.failed.add(1);
                let event = TransportEvent::Failed { peer, remote, why };
                self.config.report(&event);
            }
            Unlinked::RefusedBy(why) => {
                self.stats.refused_by.add(1);
                let event = TransportEvent::RefusedBy { peer, remote, why };
                self.config.report(&event);
            }
            Unlinked::Refused(peer, why, stream) => {
                self.stats.refused.add(1);
                let event = TransportEvent::Refused { peer, remote, why };
                self.config.report(&event);
                self.part(stream).await;
            }
        }
    }

    /// Closes `stream` so that what was written last can be read: a socket that is dropped with
    /// unread input resets the connection, and takes that away.
    pub(crate) async fn part(&self, mut stream: BoxStream) {
        let goodbye = async {
            if stream.close().await.is_ok() {
                let mut rest = [0; 512];
                while matches!(stream.read(&mut rest).await, Ok(1..)) {}
            }
        };
        self.within(self.config.timing.linger, goodbye).await;
    }
}

async fn refuse(mut stream: BoxStream, peer: NodeId, why: Refusal) -> Unlinked {
    // If it cannot be said, the other end sees the connection close; we know the reason anyway.
    let _ = say(&mut stream, Greeting::Refuse(why.clone())).await;
    Unlinked::Refused(peer, why, stream)
}

async fn say(stream: &mut BoxStream, greeting: Greeting) -> Result<(), HandshakeError> {
    let mut bytes = BytesMut::new();
    greeting.encode(&mut bytes);
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

async fn hear_hello(stream: &mut BoxStream) -> Result<Hello, Unlinked> {
    match hear(stream).await? {
        Greeting::Hello(hello) => Ok(hello),
        Greeting::Refuse(why) => Err(Unlinked::RefusedBy(why)),
        Greeting::Confirm(_) => Err(HandshakeError::OutOfTurn.into()),
    }
}

/// Reads one greeting, and no byte beyond it.
async fn hear(stream: &mut BoxStream) -> Result<Greeting, HandshakeError> {
    let mut header = [0; hello::HEADER];
    stream.read_exact(&mut header).await?;
    let len = hello::body_len(&header)?;
    let mut whole = BytesMut::zeroed(hello::HEADER + len);
    whole[..hello::HEADER].copy_from_slice(&header);
    stream.read_exact(&mut whole[hello::HEADER..]).await?;
    let greeting: Result<_, DecodeError> = Greeting::decode(&mut whole.freeze());
    Ok(greeting?)
}
