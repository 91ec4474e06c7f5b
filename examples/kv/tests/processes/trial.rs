//! A trial: a cluster, clients, faults; then peace, and the judge.

use core::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use synod_core::{NodeId, mix};
use synod_kv::{KvClient, Shared, Tally, agreement, count, judge, read_all, watch};
use synod_sim::linear::{KvAction, KvOp, Verdict};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{self, Cluster, Layout};
use crate::faults::Faults;
use crate::plan::{self, Kind};
use crate::proxy::Proxies;
use crate::{load, machine};

/// How often things are looked at.
const TICK: Duration = Duration::from_millis(5);

/// How long a client tries. Longer than it takes to elect somebody else, shorter than most would
/// want: some outcomes remain unknown.
const PATIENCE: Duration = Duration::from_millis(1500);

/// By then a cluster without faults must have a leader, answer, agree, and believe in no damaged
/// bytes. Nearly always it takes much less; but a damaged length may make of all that follows one
/// frame, and that is noticed when no frame has ended for 15 s, with a timer of 5 s.
const PEACE: Duration = Duration::from_secs(30);

/// Longer than everything in a trial but its load.
const REST: Duration = Duration::from_secs(120);

/// So many writes must be acknowledged, or the trial was idle. A quiet machine has hundreds a second.
const WRITES: u64 = 200;

/// On a machine that is busy with other things the load goes on until it has shown something, but
/// at most for so many times as long.
const LONGER: u32 = 4;

/// The client that asks first after the faults.
const FIRST: u64 = 999;

/// Set once, when somebody wants all of this to end.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What is drawn, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
}

/// What a trial consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) nodes: u64,
    pub(crate) kinds: &'static [Kind],
    /// How much of a fault, in percent, passes before the next begins.
    pub(crate) share: u64,
    /// Without so many of each, the trial has shown nothing.
    pub(crate) least: &'static [(&'static str, u64)],
    pub(crate) place: Place,
}

impl Spec {
    pub(crate) fn is_traced(&self) -> bool {
        self.kinds.iter().any(|kind| kind.is_traced())
    }
}

/// Where the nodes run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// On the loopback interface.
    Loopback,
    /// There, with a proxy between each two.
    Proxies,
    /// In network namespaces.
    Namespaces,
    /// On small file systems.
    Disks,
}

/// What the judge found, and what it was about.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) summary: String,
    /// What is wrong with the history; `None` is as it should be.
    pub(crate) wrong: Option<String>,
}

/// Runs a trial to its end. The summary, or what went wrong and where to look.
pub(crate) fn run(spec: &Spec, settings: Settings, env: &[(&str, &str)]) -> Result<Judged, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let prefix = format!("{}-", spec.name);
    let dir = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .map_err(|error| error.to_string())?;
    let longest = REST + Duration::from_secs(settings.seconds) * LONGER;
    let outcome = runtime.block_on(async {
        tokio::select! {
            done = timeout(longest, trial(spec, settings, dir.path(), env)) => {
                done.unwrap_or_else(|_| Err(format!("not done within {longest:?}")))
            }
            () = interrupted() => Err("interrupted".into()),
        }
    });
    if spec.place == Place::Disks {
        // Or the directory could not be removed.
        (1..=spec.nodes)
            .for_each(|node| machine::unmount(&cluster::disk(dir.path(), NodeId(node))));
    }
    let is_over = INTERRUPTED.load(Ordering::Relaxed) || !env.is_empty();
    if is_over || matches!(&outcome, Ok(judged) if judged.wrong.is_none()) {
        return outcome;
    }
    let why = match outcome {
        Ok(judged) => format!("{}\n{}", judged.summary, judged.wrong.unwrap_or_default()),
        Err(why) => why,
    };
    Err(format!(
        "{why}\nkept: {}\nthe same schedule again: SYNOD_SEED={} SYNOD_SECONDS={} \
         cargo test -p synod-kv --test processes -- {}",
        dir.keep().display(),
        settings.seed,
        settings.seconds,
        spec.name
    ))
}

async fn interrupted() {
    while !INTERRUPTED.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(50)).await;
    }
}

/// The seed of a trial: its own, so that one can be run without the others.
fn seed_of(spec: &Spec, settings: Settings) -> u64 {
    let name = spec.name.bytes();
    name.fold(settings.seed, |seed, byte| mix(seed, u64::from(byte)))
}

async fn lay_out(spec: &Spec, seed: u64, dir: &Path, seconds: u64) -> Result<Cluster, String> {
    let mut layout = Layout::loopback(dir, spec.nodes)?;
    let mut proxies = None;
    match spec.place {
        Place::Loopback => {}
        Place::Proxies => {
            let made = Proxies::new(&layout.peers, seed).await;
            proxies = Some(made.map_err(|error| format!("no proxies: {error}"))?);
        }
        Place::Namespaces => crate::network::lay_out(&mut layout),
        Place::Disks => {
            layout.has_disks = true;
            for node in layout.nodes() {
                machine::mount(&cluster::disk(dir, node), 32 + 4 * seconds)?;
            }
        }
    }
    Ok(Cluster::new(layout, proxies))
}

async fn trial(
    spec: &Spec,
    settings: Settings,
    dir: &Path,
    env: &[(&str, &str)],
) -> Result<Judged, String> {
    let seed = seed_of(spec, settings);
    let mut cluster = lay_out(spec, seed, dir, settings.seconds).await?;
    let env = env
        .iter()
        .map(|(name, value)| (String::from(*name), String::from(*value)));
    cluster.layout.env = env.collect();
    let clients = Arc::clone(&cluster.layout.clients);
    let shared = Arc::new(Shared::new(clients, mix(seed, 1), PATIENCE));
    let seconds = Duration::from_secs(settings.seconds);
    let plan = plan::draw(mix(seed, 2), spec.kinds, seconds * LONGER, spec.share);
    let lines: Vec<String> = plan.iter().map(ToString::to_string).collect();
    write(dir, "plan.txt", &lines.join("\n"))?;

    let mut watchers = JoinSet::new();
    for node in cluster.layout.nodes() {
        cluster.start(node, &[])?;
        watchers.spawn(watch(Arc::clone(&shared), node));
    }
    led(&mut cluster, &shared).await?;
    let mut faults = Faults::new(&shared);
    let hoards = spec.place == Place::Disks;
    let mut tasks = load::start(&shared, mix(seed, 3), hoards);
    let began = shared.recorder.elapsed();
    let mut coming = plan.iter();
    let mut next = coming.next();
    let outcome = loop {
        let now = shared.recorder.elapsed() - began;
        if let Err(why) = faults.end(now, &mut cluster, &shared) {
            break Err(why);
        }
        if now >= seconds {
            faults.conclude(&cluster);
        }
        let is_slow = || too_little(spec, &shared, &faults).is_some();
        if now >= seconds * LONGER || now >= seconds && !is_slow() {
            break faults.heal(&mut cluster, &shared);
        }
        if let Some(step) = next.filter(|step| step.from <= now) {
            if let Err(why) = faults.begin(step, &mut cluster, &shared) {
                break Err(why);
            }
            next = coming.next();
        }
        sleep(TICK).await;
    };
    let healed = shared.recorder.elapsed();
    let outcome = match outcome {
        Ok(()) => peace(&mut cluster, &shared, &mut tasks).await,
        Err(why) => Err(why),
    };
    faults.conclude(&cluster);
    write(dir, "faults.txt", &faults.done.join("\n"))?;
    let judged = match outcome {
        Ok(found) => verdict(spec, settings, &shared, &faults, (began, healed), found).await,
        Err(why) => Err(why),
    };
    if !matches!(&judged, Ok(judged) if judged.wrong.is_none()) {
        keep_history(dir, &shared)?;
    }
    cluster.stop()?;
    judged
}

/// What is there in the end.
struct Found {
    recovered: Duration,
    contents: std::collections::BTreeMap<bytes::Bytes, bytes::Bytes>,
    /// Commands applied by every node; `None` if they differ.
    applied: Option<u64>,
}

/// The cluster has no faults any more: it must answer, and agree.
async fn peace(
    cluster: &mut Cluster,
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<Result<(), String>>,
) -> Result<Found, String> {
    let since = Instant::now();
    let mut count = 0;
    loop {
        alive(cluster)?;
        count += 1;
        // Each with a session of its own, and each is part of the history.
        let mut client = KvClient::new(Arc::clone(&shared.cluster))?;
        let write = KvAction::Append(format!("{FIRST}.{count};").into());
        let write = KvOp::new(format!("demo:list:{FIRST}:0"), write);
        match shared.perform(&mut client, FIRST + count, write).await {
            Ok(_) => break,
            Err(error) if since.elapsed() > PEACE => {
                return Err(format!("no answer {PEACE:?} after the last fault: {error}"));
            }
            Err(_) => {}
        }
    }
    let recovered = since.elapsed();
    shared.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    let contents = loop {
        alive(cluster)?;
        match read_all(shared).await {
            Ok(contents) => break contents,
            Err(why) if since.elapsed() > PEACE => return Err(why),
            Err(_) => {}
        }
    };
    let applied = loop {
        alive(cluster)?;
        match agreement(shared).await {
            Ok(Some(applied)) => break Some(applied),
            Ok(None) if since.elapsed() > PEACE => break None,
            Err(why) if since.elapsed() > PEACE => return Err(why),
            Ok(None) | Err(_) => {}
        }
    };
    // Nobody believes in bytes that nobody has sent.
    while cluster.damaged() > 0 {
        alive(cluster)?;
        if since.elapsed() > PEACE {
            return Err("a connection with damaged bytes goes on".into());
        }
        sleep(TICK).await;
    }
    Ok(Found {
        recovered,
        contents,
        applied,
    })
}

fn alive(cluster: &mut Cluster) -> Result<(), String> {
    match cluster.ended().first() {
        Some((node, status)) => Err(format!("node {} has ended by itself: {status}", node.0)),
        None => Ok(()),
    }
}

/// Waits for a leader.
async fn led(cluster: &mut Cluster, shared: &Shared) -> Result<NodeId, String> {
    let until = Instant::now() + PEACE;
    loop {
        alive(cluster)?;
        if let Some((leader, _)) = shared.views.leads() {
            return Ok(leader);
        }
        if Instant::now() > until {
            return Err(format!("no leader within {PEACE:?}"));
        }
        sleep(TICK).await;
    }
}

async fn verdict(
    spec: &Spec,
    settings: Settings,
    shared: &Shared,
    faults: &Faults,
    (began, healed): (Duration, Duration),
    found: Found,
) -> Result<Judged, String> {
    let history = shared.recorder.history();
    let Tally {
        acknowledged,
        answered,
        unknown,
        refused,
    } = shared.recorder.tally();
    let asked = history.len() as u64;
    let mut wrong = Vec::new();
    match found.applied {
        None => wrong.push("the nodes do not agree".into()),
        Some(applied) => {
            let counted = count(&history, (acknowledged, unknown), &found.contents, applied);
            if (counted.lost, counted.duplicated) != (0, 0) {
                wrong.push(format!("not exactly once: {counted:?}, {applied} applied"));
            }
        }
    }
    wrong.extend(faults.quiet.broken_by(&history));
    match judge(history).await {
        Some((Verdict::Linearizable(_), _)) => {}
        Some((Verdict::NotLinearizable(_), evidence)) => {
            wrong.push(format!("not linearizable:\n{evidence}"));
        }
        Some((Verdict::Unknown { keys, .. }, _)) => {
            wrong.push(format!("whether it is linearizable is unknown: {keys:?}"));
        }
        None => return Err("the judge has failed".into()),
    }
    wrong.extend(refused.map(|why| format!("a request was refused: {why}")));
    let pause = shared
        .recorder
        .longest_pause(began, healed + found.recovered);
    let mut summary = String::new();
    let answers = answered * 1000 / u64::try_from(healed.as_millis().max(1)).unwrap();
    let _always_fits = write!(
        summary,
        "{}: seed {}, {} s, {} nodes\n  {asked} operations, {answered} answered ({answers}/s), \
         {acknowledged} writes acknowledged, {unknown} unknown, {} failed or without an answer\n  \
         faults: {:?}\n  longest time without an acknowledged write: \
         {} ms; the first one {} ms after the last fault\n  {}",
        spec.name,
        settings.seed,
        settings.seconds,
        spec.nodes,
        asked - answered - unknown,
        faults.counts,
        pause.map_or_else(|| "all of it".into(), |pause| pause.as_millis().to_string()),
        found.recovered.as_millis(),
        if wrong.is_empty() {
            "nothing lost, exactly once, linearizable, all nodes agree"
        } else {
            "WRONG"
        },
    );
    if wrong.is_empty()
        && let Some(little) = too_little(spec, shared, faults)
    {
        return Err(format!("{summary}\ntoo little to show anything: {little}"));
    }
    let wrong = (!wrong.is_empty()).then(|| wrong.join("\n"));
    Ok(Judged { summary, wrong })
}

/// What a trial lacks to show anything.
fn too_little(spec: &Spec, shared: &Shared, faults: &Faults) -> Option<String> {
    let acknowledged = shared.recorder.tally().acknowledged;
    if acknowledged < WRITES {
        return Some(format!(
            "{acknowledged} writes were acknowledged, not {WRITES}"
        ));
    }
    faults.missing(spec.least)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = dir.join(name);
    fs::write(&path, format!("{text}\n")).map_err(|error| format!("{}: {error}", path.display()))
}

fn keep_history(dir: &Path, shared: &Shared) -> Result<(), String> {
    let mut text = String::new();
    for (id, record) in shared.recorder.history().iter() {
        let (from, to) = (record.invoked_at(), record.completed_at());
        let written = writeln!(
            text,
            "{id} {} {from} to {to:?}: {:?} -> {:?}",
            record.client(),
            record.op(),
            record.outcome()
        );
        written.map_err(|error| error.to_string())?;
    }
    write(dir, "history.txt", &text)
}
