//! Clients that ask as many do: with pauses, time-outs, new sessions, and habits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synod_core::Rng;
use synod_kv::{Addresses, KvClient, Shared, generate};
use synod_sim::linear::{KvAction, KvOp, KvRet};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How many go wherever they find a leader.
const ROAMING: u64 = 6;

/// The longest pause between two operations, in microseconds: so that the history of a key stays
/// short enough to be judged in no time.
const PAUSE: u64 = 12_000;

/// The length of a large value, in bytes.
const LARGE: usize = 32 << 10;

/// What a client is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    Roams,
    /// Reads from one node, whatever that is doing: who leaves at once never hears a stale answer.
    Stays,
    /// Writes so much that disks fill.
    Hoards,
}

/// Starts them; they end once they are told to stop.
pub(crate) fn start(shared: &Arc<Shared>, seed: u64, hoards: bool) -> JoinSet<Result<(), String>> {
    let mut tasks = JoinSet::new();
    let mut id = 0;
    let mut spawn = |habit, nodes: Arc<Addresses>| {
        id += 1;
        let rng = Rng::new(synod_core::mix(seed, id));
        tasks.spawn(client(id, Arc::clone(shared), nodes, habit, rng));
    };
    for _ in 0..ROAMING {
        spawn(Habit::Roams, Arc::clone(&shared.cluster));
    }
    for node in shared.cluster.keys() {
        spawn(Habit::Stays, shared.only(*node));
    }
    if hoards {
        spawn(Habit::Hoards, Arc::clone(&shared.cluster));
    }
    tasks
}

async fn client(
    id: u64,
    shared: Arc<Shared>,
    nodes: Arc<Addresses>,
    habit: Habit,
    mut rng: Rng,
) -> Result<(), String> {
    let mut client = KvClient::new(Arc::clone(&nodes))?;
    let (mut last, mut count) = (None, 0_u64);
    while !shared.stop.load(Ordering::Relaxed) {
        count += 1;
        let mut op = match habit {
            Habit::Roams | Habit::Stays => generate(id, &shared, last.take()),
            Habit::Hoards => {
                let value = format!("{id}.{count};").repeat(LARGE / 4);
                let value = KvAction::Put(value[..LARGE].to_owned().into());
                KvOp::new(format!("demo:large:{}", count % 20), value)
            }
        };
        if habit == Habit::Stays {
            op.action = KvAction::Get;
        }
        let key = op.key.clone();
        match shared.perform(&mut client, id, op).await {
            Ok(KvRet::Value(value)) => last = Some((key, value)),
            Ok(_) => {}
            // Sometimes the session goes on, sometimes there is a new one.
            Err(_) if rng.below(3) == 0 => client = KvClient::new(Arc::clone(&nodes))?,
            Err(_) => {}
        }
        sleep(Duration::from_micros(rng.below(PAUSE))).await;
    }
    Ok(())
}
