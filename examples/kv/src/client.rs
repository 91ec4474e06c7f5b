//! A client of the service: `synod_core::Client` decides, this carries it out over TCP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Client, ClientConfig, ClientError, ClientOutput, ClientRequest, Decode as _, Encode as _,
    Instant, NodeId, ReadLevel, RequestId,
};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time;

use crate::args::Addresses;
use crate::serve::fresh_seed;
use crate::store::{Answer, Change, Query, Summary};
use crate::wire::{FrameReader, Request, Response, View, write};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_millis(500);

/// A connection to one node.
#[derive(Debug)]
struct Link {
    node: NodeId,
    responses: FrameReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Link {
    async fn to(node: NodeId, address: &str) -> std::io::Result<Self> {
        let stream = time::timeout(CONNECT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let responses = FrameReader::new(from);
        Ok(Self {
            node,
            responses,
            to,
        })
    }
}

/// Asks one thing at a time, and each command to happen once.
#[derive(Debug)]
pub struct KvClient {
    machine: Client,
    cluster: Arc<Addresses>,
    start: time::Instant,
    /// One is enough: what was asked elsewhere has been given up.
    link: Option<Link>,
}

impl KvClient {
    /// A client of these nodes, with a session of its own.
    ///
    /// # Errors
    ///
    /// If there is no node.
    pub fn new(cluster: Arc<Addresses>) -> Result<Self, String> {
        let nodes = cluster.keys().copied().collect();
        let config = ClientConfig {
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(100),
            ..ClientConfig::new(nodes, fresh_seed())
        };
        Ok(Self {
            machine: Client::new(config).map_err(|error| error.to_string())?,
            cluster,
            start: time::Instant::now(),
            link: None,
        })
    }

    /// Makes a change happen, once.
    pub(crate) async fn change(
        &mut self,
        key: Bytes,
        change: Change,
        within: Duration,
    ) -> Result<Answer, ClientError> {
        let now = self.now();
        let command = (key, change).to_bytes();
        let submitted = self.machine.submit(now, command, now + within);
        let id = submitted.map_err(|full| ClientError::Refused(full.to_string()))?;
        let response = self.finish(id).await?;
        Answer::decode_all(response).map_err(|error| ClientError::Refused(error.to_string()))
    }

    /// The value of a key, if it has one.
    pub(crate) async fn get(
        &mut self,
        key: Bytes,
        level: ReadLevel,
        within: Duration,
    ) -> Result<Option<Bytes>, ClientError> {
        let response = self.query(Query::Get(key), level, within).await?;
        Option::decode_all(response).map_err(|error| ClientError::Refused(error.to_string()))
    }

    /// How much there is.
    pub(crate) async fn summary(
        &mut self,
        level: ReadLevel,
        within: Duration,
    ) -> Result<Summary, ClientError> {
        let response = self.query(Query::Summary, level, within).await?;
        Summary::decode_all(response).map_err(|error| ClientError::Refused(error.to_string()))
    }

    async fn query(
        &mut self,
        query: Query,
        level: ReadLevel,
        within: Duration,
    ) -> Result<Bytes, ClientError> {
        let now = self.now();
        let asked = self
            .machine
            .read(now, query.to_bytes(), level, now + within);
        let id = asked.map_err(|full| ClientError::Refused(full.to_string()))?;
        self.finish(id).await
    }

    fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// Does what the machine says until `id` is resolved.
    async fn finish(&mut self, id: RequestId) -> Result<Bytes, ClientError> {
        loop {
            while let Some(output) = self.machine.poll() {
                match output {
                    ClientOutput::Send { to, request } => self.send(to, request).await,
                    ClientOutput::Done {
                        id: done, response, ..
                    } if done == id => return Ok(response),
                    ClientOutput::Failed { id: failed, error } if failed == id => {
                        return Err(error);
                    }
                    // Something that an earlier caller has not waited for.
                    ClientOutput::Done { .. } | ClientOutput::Failed { .. } => {}
                }
            }
            self.wait().await;
        }
    }

    async fn send(&mut self, to: NodeId, request: ClientRequest) {
        if self.link.as_ref().is_none_or(|link| link.node != to) {
            self.link = Link::to(to, &self.cluster[&to]).await.ok();
        }
        let Some(link) = &mut self.link else {
            return self.machine.undelivered(self.now(), to, &request);
        };
        if write(&mut link.to, &Request::Client(request))
            .await
            .is_err()
        {
            self.lose();
        }
    }

    /// Waits for an answer, or until the machine wants something.
    async fn wait(&mut self) {
        let until = self.machine.deadline().map(|wake| wake.at);
        let until = self.start + until.map_or(CONNECT, |at| at.since(Instant::START));
        let Some(link) = &mut self.link else {
            time::sleep_until(until).await;
            return self.machine.tick(self.now());
        };
        let from = link.node;
        tokio::select! {
            response = link.responses.next::<Response>() => match response {
                Ok(Some(Response::Client(response))) => {
                    self.machine.answer(self.now(), from, response);
                }
                _ => self.lose(),
            },
            () = time::sleep_until(until) => self.machine.tick(self.now()),
        }
    }

    /// The connection is of no use any more.
    fn lose(&mut self) {
        if let Some(link) = self.link.take() {
            self.machine.unreachable(self.now(), link.node);
        }
    }
}

/// Asks one node something that is about the node itself.
pub(crate) struct Admin(Link);

impl Admin {
    /// Connects to a node.
    pub(crate) async fn connect(node: NodeId, address: &str) -> std::io::Result<Self> {
        Link::to(node, address).await.map(Self)
    }

    /// Asks, and waits for the answer at most for `within`.
    pub(crate) async fn ask(
        &mut self,
        request: &Request,
        within: Duration,
    ) -> std::io::Result<Response> {
        let answered = async {
            write(&mut self.0.to, request).await?;
            let response = self.0.responses.next().await?;
            response.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
        };
        time::timeout(within, answered).await?
    }

    /// How things stand there.
    pub(crate) async fn view(&mut self, within: Duration) -> std::io::Result<View> {
        match self.ask(&Request::Status, within).await? {
            Response::Status(view) => Ok(view),
            other => Err(std::io::Error::other(format!("{other:?}"))),
        }
    }
}
