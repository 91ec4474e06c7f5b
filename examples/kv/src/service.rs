//! A node's door for clients: requests in, answers out, many at a time on one connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use synod_core::{
    Change, ClientAnswer, ClientCall, ClientRequest, ClientResponse, Encode as _, NodeId, Refusal,
};
use synod_node::{Handle, ProposeError, ReadError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::wire::{FrameReader, Request, Response, write};

/// Requests under way on one connection; beyond that it is not read.
const UNDER_WAY: usize = 256;

/// What every connection needs.
pub(crate) struct Service {
    pub(crate) handle: Handle,
    pub(crate) leader: watch::Receiver<Option<NodeId>>,
    /// Enters a node into the address book.
    pub(crate) introduce: Box<dyn Fn(NodeId, String) -> Result<(), String> + Send + Sync>,
}

/// Serves whoever comes.
pub(crate) async fn accept(listener: TcpListener, service: Arc<Service>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&service)))),
            // Out of file descriptors, for example: that passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves one connection until either end breaks it or it brings nonsense.
async fn serve(stream: TcpStream, service: Arc<Service>) {
    let _slower_at_worst = stream.set_nodelay(true);
    let (from, mut to) = stream.into_split();
    let mut requests = FrameReader::new(from);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            request = requests.next::<Request>(), if under_way.len() < UNDER_WAY => {
                let Ok(Some(request)) = request else { return };
                let service = Arc::clone(&service);
                under_way.push(async move { service.answer(request).await });
            }
            Some(response) = under_way.next() => {
                if write(&mut to, &response).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Service {
    async fn answer(&self, request: Request) -> Response {
        match request {
            Request::Client(request) => Response::Client(self.client(request).await),
            Request::Status => match self.handle.status().await {
                Ok(status) => Response::Status(status.into()),
                Err(stopped) => Response::Refused(None, stopped.to_string()),
            },
            Request::Introduce(node, address) => match (self.introduce)(node, address) {
                Ok(()) => Response::Changed(None),
                Err(why) => Response::Refused(None, why),
            },
            Request::AddLearner(node) => self.change(Change::AddLearner(node)).await,
            Request::RemoveLearner(node) => self.change(Change::RemoveLearner(node)).await,
        }
    }

    async fn change(&self, change: Change) -> Response {
        match self.handle.reconfigure(change).await {
            Ok(index) => Response::Changed(Some(index)),
            Err(ProposeError::Unknown) => Response::Unknown,
            Err(ProposeError::Rejected(rejected)) => {
                Response::Refused(rejected.leader, rejected.refusal.to_string())
            }
            Err(other) => Response::Refused(*self.leader.borrow(), other.to_string()),
        }
    }

    async fn client(&self, request: ClientRequest) -> ClientResponse {
        let ClientRequest { id, attempt, call } = request;
        let answer = match call {
            ClientCall::Read { query, level } => match self.handle.read(query, level).await {
                Ok(answered) => ClientAnswer::Read {
                    index: answered.index,
                    response: answered.response,
                },
                Err(error) => read_failed(error),
            },
            write => self.write(write).await,
        };
        ClientResponse {
            id,
            attempt,
            leader: *self.leader.borrow(),
            answer,
        }
    }

    async fn write(&self, call: ClientCall) -> ClientAnswer {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
        let Some(command) = call.into_command(millis) else {
            return ClientAnswer::Refused("a read is no command".into());
        };
        match self.handle.propose(command.to_bytes()).await {
            Ok(applied) => ClientAnswer::Applied {
                index: applied.index,
                response: applied.response,
            },
            Err(ProposeError::Rejected(rejected)) => rejected.refusal.into(),
            Err(ProposeError::Refused(refusal)) => refusal.into(),
            Err(ProposeError::Displaced | ProposeError::Stopped) => ClientAnswer::NotLeader,
            Err(_) => ClientAnswer::Unknown,
        }
    }
}

fn read_failed(error: ReadError) -> ClientAnswer {
    match error {
        ReadError::Rejected(rejected) => rejected.refusal.into(),
        ReadError::Refused(refusal) => refusal.into(),
        ReadError::Stopped => Refusal::Stopped.into(),
        _ => ClientAnswer::Unknown,
    }
}
