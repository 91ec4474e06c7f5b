//! The proof, from the outside: what is there in the end, and what clients were told on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synod_core::{ClientError, NodeId, ReadLevel};
use synod_sim::history::History;
use synod_sim::linear::once::check_once;
use synod_sim::linear::{Checker, KvAction, KvMap, KvOp, KvRet, Verdict};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::input::RESERVED;
use super::load::Shared;
use crate::client::KvClient;
use crate::store::Summary;

/// How many read at once in the end.
const READERS: usize = 8;

/// Steps per key before the checker gives up: about a second.
const STEPS: u64 = 2_000_000;

/// How often replicas are compared until they agree.
const TICK: Duration = Duration::from_millis(10);

/// Reads every key that anybody has used, and records that as well.
///
/// # Errors
///
/// Why a key cannot be read.
pub async fn read_all(shared: &Arc<Shared>) -> Result<BTreeMap<Bytes, Bytes>, String> {
    let keys: BTreeSet<Bytes> = {
        let inner = shared.recorder.lock();
        inner
            .history
            .iter()
            .map(|(_, record)| record.op().key.clone())
            .collect()
    };
    let keys: Vec<Bytes> = keys.into_iter().collect();
    let mut readers = JoinSet::new();
    for (n, part) in keys.chunks(keys.len().div_ceil(READERS).max(1)).enumerate() {
        readers.spawn(read_part(
            1000 + n as u64,
            Arc::clone(shared),
            part.to_vec(),
        ));
    }
    let mut found = BTreeMap::new();
    while let Some(part) = readers.join_next().await {
        found.extend(part.map_err(|error| error.to_string())??);
    }
    Ok(found)
}

async fn read_part(
    id: u64,
    shared: Arc<Shared>,
    keys: Vec<Bytes>,
) -> Result<Vec<(Bytes, Bytes)>, String> {
    let mut client = KvClient::new(Arc::clone(&shared.cluster))?;
    let mut found = Vec::new();
    for key in keys {
        let get = KvOp::new(key.clone(), KvAction::Get);
        match shared.perform(&mut client, id, get).await {
            Ok(KvRet::Value(Some(value))) => found.push((key, value)),
            Ok(_) => {}
            Err(error) => return Err(format!("cannot read what is there: {error}")),
        }
    }
    Ok(found)
}

/// What each replica by itself says that it holds.
async fn summaries(shared: &Shared) -> Result<BTreeMap<NodeId, Summary>, ClientError> {
    let mut all = BTreeMap::new();
    for node in shared.cluster.keys() {
        let client = KvClient::new(shared.only(*node)).map_err(ClientError::Refused);
        let summary = client?.summary(ReadLevel::Stale, shared.patience).await?;
        all.insert(*node, summary);
    }
    Ok(all)
}

/// How many writes every node says that it has applied, once all say the same; `None` if they
/// differ for too long.
///
/// # Errors
///
/// Why a node does not answer.
pub async fn agreement(shared: &Shared) -> Result<Option<u64>, String> {
    let until = Instant::now() + shared.patience;
    loop {
        let all = summaries(shared).await;
        let all = all.map_err(|error| format!("a node does not tell what it holds: {error}"))?;
        let mut all = all.into_values();
        if let Some(first) = all.next()
            && all.all(|other| other == first)
        {
            return Ok(Some(first.commands));
        }
        if Instant::now() > until {
            return Ok(None);
        }
        sleep(TICK).await;
    }
}

/// Whether each acknowledged write is there exactly once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Of those: not there.
    pub lost: u64,
    /// There more than once, or never asked for.
    pub duplicated: u64,
}

/// Compares the tokens in the lists with those that were appended, and the number of commands that
/// the store says it has applied with the number of writes that clients know of. The first sees
/// each append by itself; the second counts writes that leave no trace because a later one has
/// replaced them (whether their *effects* were in order is what linearizability is about).
#[must_use]
pub fn count(
    history: &History<KvOp, KvRet>,
    (acknowledged, unknown): (u64, u64),
    found: &BTreeMap<Bytes, Bytes>,
    commands: u64,
) -> Counted {
    let list = format!("{RESERVED}list:");
    let lists = found
        .iter()
        .filter(|(key, _)| key.starts_with(list.as_bytes()));
    let tokens = lists.flat_map(|(_, value)| value.split_inclusive(|byte| *byte == b';'));
    let token = |op: &KvOp| match &op.action {
        KvAction::Append(token) if op.key.starts_with(list.as_bytes()) => Some(token.clone()),
        _ => None,
    };
    let effects = check_once(history, token, tokens.map(Bytes::copy_from_slice));
    let lost = effects.lost.len() as u64;
    let surplus = [
        &effects.duplicated,
        &effects.resurrected,
        &effects.strangers,
    ];
    let surplus: u64 = surplus.iter().map(|tokens| tokens.len() as u64).sum();
    Counted {
        acknowledged,
        lost: lost.max(acknowledged.saturating_sub(commands)),
        duplicated: surplus.max(commands.saturating_sub(acknowledged + unknown)),
    }
}

/// Whether what the clients saw is linearizable. On a thread of its own: it computes for a while.
pub async fn judge(history: History<KvOp, KvRet>) -> Option<(Verdict<Bytes>, String)> {
    let (judged, verdict) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let verdict = Checker::new(KvMap).step_limit(STEPS).check(&history);
        let evidence = verdict
            .violation()
            .map(|found| found.render(&history).to_string());
        let _nobody_waits = judged.send((verdict, evidence.unwrap_or_default()));
    });
    verdict.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use synod_sim::history::{ClientId, Instant};

    /// Appends of `acknowledged` tokens, then one of unknown outcome.
    fn history(acknowledged: &[&'static str], unknown: &'static str) -> History<KvOp, KvRet> {
        let mut history = History::new();
        let append =
            |token: &'static str| KvOp::new("demo:list:0:0", KvAction::Append(token.into()));
        for token in acknowledged {
            let id = history.invoke(ClientId(1), append(token), Instant::ZERO);
            history.complete(id, KvRet::Length(0), Instant::ZERO);
        }
        let id = history.invoke(ClientId(1), append(unknown), Instant::ZERO);
        history.unknown(id);
        history
    }

    fn counted(list: &'static str, commands: u64) -> (u64, u64) {
        let found = BTreeMap::from([("demo:list:0:0".into(), list.into())]);
        let counted = count(&history(&["a;", "b;"], "c;"), (2, 1), &found, commands);
        (counted.lost, counted.duplicated)
    }

    #[tokio::test]
    async fn a_stale_read_is_found() {
        let at = Instant::from_nanos;
        let mut history = History::new();
        let put = KvOp::new("k", KvAction::Put("1".into()));
        let put = history.invoke(ClientId(1), put, at(0));
        history.complete(put, KvRet::Done, at(1));
        let get = history.invoke(ClientId(2), KvOp::new("k", KvAction::Get), at(2));
        history.complete(get, KvRet::Value(None), at(3));
        let (verdict, evidence) = judge(history).await.expect("a verdict");
        assert!(verdict.violation().is_some());
        assert!(evidence.contains("Value(None)"), "{evidence}");
    }

    #[test]
    fn what_is_lost_or_there_twice_is_counted() {
        assert_eq!(counted("a;b;", 2), (0, 0));
        assert_eq!(
            counted("a;b;c;", 3),
            (0, 0),
            "what is unknown may have happened"
        );
        assert_eq!(counted("a;", 2), (1, 0));
        assert_eq!(counted("a;b;b;", 3), (0, 1));
        assert_eq!(counted("a;b;x;", 3), (0, 1), "nobody has asked for x");
        assert_eq!(counted("a;b;", 1), (1, 0), "a write that left no trace");
        assert_eq!(counted("a;b;", 4), (0, 1));
    }
}
