//! What clients and the service say to each other over TCP: frames of `synod_core::frame`, each
//! with one request or response.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::frame::{frame_len, read_frame, write_frame};
use synod_core::{
    ClientRequest, ClientResponse, Decode, DecodeError, Encode, GroupId, LogIndex, NodeId, Status,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest request or response, in bytes.
pub(crate) const LIMIT: usize = 4 << 20;

/// There is one group.
const GROUP: GroupId = GroupId(0);

/// What a client asks of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A command or a query.
    Client(ClientRequest),
    /// How things stand.
    Status,
    /// Where a node is that is not in the address book.
    Introduce(NodeId, String),
    /// Adds a node that does not vote.
    AddLearner(NodeId),
    /// Removes a node that does not vote.
    RemoveLearner(NodeId),
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Response {
    Client(ClientResponse),
    Status(View),
    /// The change is committed, at this place of the log if it has one.
    Changed(Option<LogIndex>),
    /// Nothing has happened; perhaps that node knows better.
    Refused(Option<NodeId>, String),
    /// The node cannot tell what becomes of it.
    Unknown,
}

/// How things stand on a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct View {
    pub(crate) node: NodeId,
    pub(crate) role: String,
    pub(crate) era: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) committed: LogIndex,
    pub(crate) applied: LogIndex,
    pub(crate) durable: LogIndex,
    pub(crate) snapshot: LogIndex,
    pub(crate) voters: Vec<NodeId>,
    pub(crate) learners: Vec<NodeId>,
}

impl From<Status> for View {
    fn from(status: Status) -> Self {
        Self {
            node: status.node,
            role: status.role.to_string(),
            era: status.era,
            leader: status.leader,
            committed: status.committed,
            applied: status.applied,
            durable: status.durable,
            snapshot: status.snapshot,
            voters: status.voters,
            learners: status.learners,
        }
    }
}

impl Encode for View {
    fn encode(&self, out: &mut BytesMut) {
        self.node.encode(out);
        self.role.encode(out);
        self.era.encode(out);
        self.leader.encode(out);
        for index in [self.committed, self.applied, self.durable, self.snapshot] {
            index.encode(out);
        }
        self.voters.encode(out);
        self.learners.encode(out);
    }
}

impl Decode for View {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            node: Decode::decode(input)?,
            role: Decode::decode(input)?,
            era: Decode::decode(input)?,
            leader: Decode::decode(input)?,
            committed: Decode::decode(input)?,
            applied: Decode::decode(input)?,
            durable: Decode::decode(input)?,
            snapshot: Decode::decode(input)?,
            voters: Decode::decode(input)?,
            learners: Decode::decode(input)?,
        })
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Client(request) => {
                out.put_u8(0);
                request.encode(out);
            }
            Self::Status => out.put_u8(1),
            Self::Introduce(node, address) => {
                out.put_u8(2);
                node.encode(out);
                address.encode(out);
            }
            Self::AddLearner(node) => {
                out.put_u8(3);
                node.encode(out);
            }
            Self::RemoveLearner(node) => {
                out.put_u8(4);
                node.encode(out);
            }
        }
    }
}

impl Decode for Request {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            0 => Self::Client(Decode::decode(input)?),
            1 => Self::Status,
            2 => Self::Introduce(Decode::decode(input)?, Decode::decode(input)?),
            3 => Self::AddLearner(Decode::decode(input)?),
            4 => Self::RemoveLearner(Decode::decode(input)?),
            tag => {
                return Err(DecodeError::Tag {
                    what: "request",
                    tag,
                });
            }
        })
    }
}

impl Encode for Response {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Client(response) => {
                out.put_u8(0);
                response.encode(out);
            }
            Self::Status(view) => {
                out.put_u8(1);
                view.encode(out);
            }
            Self::Changed(index) => {
                out.put_u8(2);
                index.encode(out);
            }
            Self::Refused(leader, why) => {
                out.put_u8(3);
                leader.encode(out);
                why.encode(out);
            }
            Self::Unknown => out.put_u8(4),
        }
    }
}

impl Decode for Response {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            0 => Self::Client(Decode::decode(input)?),
            1 => Self::Status(Decode::decode(input)?),
            2 => Self::Changed(Decode::decode(input)?),
            3 => Self::Refused(Decode::decode(input)?, Decode::decode(input)?),
            4 => Self::Unknown,
            tag => {
                return Err(DecodeError::Tag {
                    what: "response",
                    tag,
                });
            }
        })
    }
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    from: R,
    input: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            input: BytesMut::new(),
        }
    }

    /// The next message; `None` at the end of the stream. Dropping the future loses nothing.
    pub(crate) async fn next<T: Decode>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(total) = frame_len(&self.input, LIMIT).map_err(malformed)?
                && self.input.len() >= total
            {
                let mut frame = self.input.split_to(total).freeze();
                let (_, body) = read_frame(&mut frame, LIMIT).map_err(malformed)?;
                return T::decode_all(body).map(Some).map_err(malformed);
            }
            if self.from.read_buf(&mut self.input).await? == 0 {
                return if self.input.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

fn malformed(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Writes `message` as one frame.
pub(crate) async fn write<T: Encode>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let mut out = BytesMut::new();
    write_frame(GROUP, &mut out, |out| message.encode(out));
    to.write_all(&out).await
}
