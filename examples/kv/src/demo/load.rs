//! Concurrent clients: commands from the input first, generated ones besides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use synod_core::{ClientError, NodeId, ReadLevel, mix};
use synod_sim::linear::{KvAction, KvOp, KvRet};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::input::{RESERVED, Source};
use super::record::Recorder;
use super::views::Views;
use crate::args::Addresses;
use crate::client::KvClient;
use crate::store::{Answer, Change};

/// How long a client of the demonstration tries before it gives up on a request.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Generated operations on one set of keys, then come others: a key's history stays short enough
/// to be judged quickly, and contended enough to be worth it.
const OPS_PER_SET: u64 = 1500;

/// Keys of a kind in a set.
const KEYS_PER_SET: u64 = 5;

/// What the parts of the demonstration share.
#[derive(Debug)]
pub struct Shared {
    /// Where clients are served.
    pub cluster: Arc<Addresses>,
    /// What clients asked and were told.
    pub recorder: Recorder,
    /// What each node says about itself.
    pub views: Views,
    /// Whether clients are to end.
    pub stop: AtomicBool,
    /// How long a client tries before it gives up on a request.
    pub(crate) patience: Duration,
    /// Commands of the input that were handed to clients, and of those, how many are done.
    pub(crate) input_taken: AtomicU64,
    pub(crate) input_done: AtomicU64,
    /// Whether the input has come to its end.
    pub(crate) input_ended: AtomicBool,
    seed: u64,
    generated: AtomicU64,
}

impl Shared {
    /// What a load on this cluster shares, which is drawn from `seed`.
    #[must_use]
    pub fn new(cluster: Arc<Addresses>, seed: u64, patience: Duration) -> Self {
        Self {
            cluster,
            patience,
            recorder: Recorder::new(),
            views: Views::default(),
            stop: AtomicBool::new(false),
            input_taken: AtomicU64::new(0),
            input_done: AtomicU64::new(0),
            input_ended: AtomicBool::new(false),
            seed,
            generated: AtomicU64::new(0),
        }
    }

    /// What became of the input.
    pub(crate) fn input(&self) -> String {
        let done = self.input_done.load(Ordering::Relaxed);
        let all = self.input_ended.load(Ordering::Relaxed)
            && done == self.input_taken.load(Ordering::Relaxed);
        let rest = if all {
            ""
        } else {
            "; time was up before the rest of them"
        };
        format!("{done} commands came from the input{rest}")
    }

    /// Where the client of one node finds it.
    #[must_use]
    pub fn only(&self, node: NodeId) -> Arc<Addresses> {
        let address = self.cluster.get(&node).cloned();
        Arc::new(address.into_iter().map(|address| (node, address)).collect())
    }

    /// Carries out one operation and records it.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub async fn perform(
        &self,
        client: &mut KvClient,
        id: u64,
        op: KvOp,
    ) -> Result<KvRet, ClientError> {
        let place = self.recorder.invoke(id, op.clone());
        let answer = perform(client, op, self.patience).await;
        self.recorder.resolve(place, answer.clone());
        answer
    }
}

async fn perform(
    client: &mut KvClient,
    op: KvOp,
    patience: Duration,
) -> Result<KvRet, ClientError> {
    let change = match op.action {
        KvAction::Get => {
            let value = client
                .get(op.key, ReadLevel::Linearizable, patience)
                .await?;
            return Ok(KvRet::Value(value));
        }
        KvAction::Put(value) => Change::Put(value),
        KvAction::Append(tail) => Change::Append(tail),
        KvAction::Delete => Change::Delete,
        KvAction::Cas {
            expected,
            new: Some(new),
        } => Change::Cas(expected, new),
        other => return Err(ClientError::Refused(format!("{other:?} is not offered"))),
    };
    let deleted = change == Change::Delete;
    match client.change(op.key, change, patience).await? {
        Answer::Done => Ok(KvRet::Done),
        Answer::Length(length) => {
            let length = usize::try_from(length);
            length
                .map(KvRet::Length)
                .map_err(|error| ClientError::Refused(error.to_string()))
        }
        Answer::Was(was) if deleted => Ok(KvRet::Deleted(was)),
        Answer::Was(was) => Ok(KvRet::Swapped(was)),
        Answer::Malformed => Err(ClientError::Refused("the store does not understand".into())),
    }
}

/// The clients, as tasks. They end once they are told to stop.
pub(crate) fn start(
    shared: &Arc<Shared>,
    clients: u64,
    source: Source,
) -> JoinSet<Result<(), String>> {
    let mut tasks = JoinSet::new();
    let mut lanes = Vec::new();
    for id in 1..=clients {
        let (lane, commands) = mpsc::channel(64);
        lanes.push(lane);
        tasks.spawn(client(id, Arc::clone(shared), commands));
    }
    let commands = source.read();
    let shared = Arc::clone(shared);
    tasks.spawn(async move {
        tokio::select! {
            fed = feed(&shared, commands, lanes) => fed,
            () = stopped(&shared) => Ok(()),
        }
    });
    tasks
}

async fn stopped(shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Commands on one key go to one client, so that they happen in the order of the input.
async fn feed(
    shared: &Shared,
    mut commands: mpsc::Receiver<Result<KvOp, String>>,
    lanes: Vec<mpsc::Sender<KvOp>>,
) -> Result<(), String> {
    while let Some(command) = commands.recv().await {
        let command = command?;
        let hash = command
            .key
            .iter()
            .fold(0, |hash, byte| mix(hash, u64::from(*byte)));
        let lane = usize::try_from(hash % lanes.len() as u64).unwrap_or(0);
        if lanes[lane].send(command).await.is_err() {
            return Ok(());
        }
        shared.input_taken.fetch_add(1, Ordering::Relaxed);
    }
    shared.input_ended.store(true, Ordering::Relaxed);
    Ok(())
}

async fn client(
    id: u64,
    shared: Arc<Shared>,
    mut commands: mpsc::Receiver<KvOp>,
) -> Result<(), String> {
    let mut client = KvClient::new(Arc::clone(&shared.cluster))?;
    let mut last = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let from_input = commands.try_recv().ok();
        let is_input = from_input.is_some();
        let op = from_input.unwrap_or_else(|| generate(id, &shared, last.take()));
        let key = op.key.clone();
        let answer = shared.perform(&mut client, id, op).await;
        if is_input {
            shared.input_done.fetch_add(1, Ordering::Relaxed);
        } else if let Ok(KvRet::Value(value)) = answer {
            last = Some((key, value));
        }
    }
    Ok(())
}

/// Lists that unique tokens are appended to, and registers that are put, swapped and deleted; both
/// are read. `last` is what this client has read just before.
#[must_use]
pub fn generate(id: u64, shared: &Shared, last: Option<(Bytes, Option<Bytes>)>) -> KvOp {
    let n = shared.generated.fetch_add(1, Ordering::Relaxed);
    let draw = mix(shared.seed, n);
    let set = n / OPS_PER_SET;
    let key = draw % KEYS_PER_SET;
    let list = || Bytes::from(format!("{RESERVED}list:{set}:{key}"));
    let register = || Bytes::from(format!("{RESERVED}register:{set}:{key}"));
    let value = Bytes::from(format!("{id}.{n}"));
    match draw / KEYS_PER_SET % 100 {
        0..40 => KvOp::new(list(), KvAction::Append(format!("{id}.{n};").into())),
        40..60 => KvOp::new(list(), KvAction::Get),
        60..75 => KvOp::new(register(), KvAction::Get),
        75..78 => KvOp::new(register(), KvAction::Delete),
        _ => match last {
            Some((key, expected)) if key.starts_with(b"demo:register:") => {
                let new = Some(value);
                KvOp::new(key, KvAction::Cas { expected, new })
            }
            _ => KvOp::new(register(), KvAction::Put(value)),
        },
    }
}
