//! The service as real processes, under real faults: killed, paused, behind bad networks, on bad
//! disks, while clients record what they see and the checker of `synod-sim` judges it.
//!
//! `cargo test -p synod-kv --test processes`; README.md says what each trial does and needs.
//! `SYNOD_SEED` repeats a schedule, `SYNOD_SECONDS` makes the load of each trial longer.
//!
//! `plan` (what happens when), `faults` (carries it out), `proxy`, `network`, `machine` (by which
//! means), `cluster` (the processes), `load` (the clients), `trial` (from start to verdict), `syncs`
//! (what failed syncs mean for it), `teeth` (would it notice?).
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests fail loudly, and a test has std"
)]

mod cluster;
mod faults;
mod load;
mod machine;
mod network;
mod plan;
mod proxy;
mod syncs;
mod teeth;
mod trial;

use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use synod_core::mix;

use plan::Kind;
use proxy::Shot;
use teeth::{TEETH, Tooth};
use trial::{INTERRUPTED, Place, Settings, Spec};

/// How long the load of a trial lasts, in seconds, unless `SYNOD_SECONDS` says otherwise.
const SECONDS: u64 = 7;

const LINKS: &[Kind] = &[
    Kind::Cut,
    Kind::IsolateLeader,
    Kind::KillIsolated,
    Kind::Silence,
    Kind::DeafLeader,
    Kind::MuteLeader,
    Kind::Delay,
    Kind::Trickle,
];

const BYTES: &[Kind] = &[
    Kind::Shoot(Shot::ALL[0]),
    Kind::Shoot(Shot::ALL[1]),
    Kind::Shoot(Shot::ALL[2]),
    Kind::Shoot(Shot::ALL[3]),
    Kind::Shoot(Shot::ALL[4]),
];

const ALL: &[Kind] = &[
    Kind::Kill,
    Kind::KillLeader,
    Kind::KillAll,
    Kind::Pause,
    Kind::PauseLeader,
    Kind::Cut,
    Kind::IsolateLeader,
    Kind::KillIsolated,
    Kind::Silence,
    Kind::DeafLeader,
    Kind::MuteLeader,
    Kind::Delay,
    Kind::Trickle,
    Kind::Shoot(Shot::Flip),
    Kind::Shoot(Shot::Duplicate),
    Kind::Shoot(Shot::Close),
];

/// Whatever is acknowledged rests on the one disk that there is.
const FAILED_SYNC: Spec = Spec {
    name: "a_failed_sync_is_never_acknowledged",
    nodes: 1,
    kinds: &[Kind::FailOnlySync],
    share: 160,
    least: &[("FailOnlySync", 2)],
    place: Place::Loopback,
};

/// Every trial of the usual form. Each kind of fault must have happened as often as a load of
/// [`SECONDS`] makes sure.
const TRIALS: &[Spec] = &[
    Spec {
        name: "killed_nodes_lose_nothing_acknowledged",
        nodes: 3,
        kinds: &[Kind::Kill, Kind::KillLeader, Kind::KillAll],
        share: 70,
        least: &[("Kill", 1), ("KillLeader", 1), ("KillAll", 1)],
        place: Place::Loopback,
    },
    Spec {
        name: "a_paused_leader_serves_nothing_stale",
        nodes: 3,
        kinds: &[Kind::PauseLeader, Kind::Pause],
        share: 80,
        least: &[("PauseLeader", 1), ("Pause", 1)],
        place: Place::Loopback,
    },
    Spec {
        name: "broken_links_cost_nothing_but_time",
        nodes: 3,
        kinds: LINKS,
        share: 60,
        least: &[
            ("connections cut", 2),
            ("chunks held back", 2),
            ("chunks delayed", 2),
            ("pieces trickled", 2),
        ],
        place: Place::Proxies,
    },
    Spec {
        name: "damaged_bytes_break_a_connection_and_nothing_else",
        nodes: 3,
        kinds: BYTES,
        share: 100,
        least: &[
            ("Flip", 2),
            ("Duplicate", 2),
            ("Repeat", 2),
            ("Hole", 2),
            ("Close", 2),
            ("damage noticed", 4),
        ],
        place: Place::Proxies,
    },
    Spec {
        name: "everything_at_once",
        nodes: 5,
        kinds: ALL,
        share: 25,
        least: &[("faults", 10)],
        place: Place::Proxies,
    },
    Spec {
        name: "a_full_disk_ends_a_node_and_loses_nothing",
        nodes: 3,
        kinds: &[Kind::FillDisk],
        share: 110,
        least: &[("FillDisk", 1)],
        place: Place::Disks,
    },
    Spec {
        name: "a_kill_at_any_sync_loses_nothing",
        nodes: 3,
        kinds: &[Kind::KillAtSync],
        share: 110,
        least: &[("KillAtSync", 1)],
        place: Place::Loopback,
    },
    Spec {
        name: "a_failed_sync_ends_a_node_and_loses_nothing",
        nodes: 3,
        kinds: &[Kind::FailSync],
        share: 110,
        least: &[("FailSync", 1)],
        place: Place::Loopback,
    },
    FAILED_SYNC,
    Spec {
        name: "dropped_packets_cost_nothing_but_time",
        nodes: 3,
        kinds: &[Kind::Drop, Kind::DropLeader, Kind::Lose],
        share: 80,
        least: &[
            ("Drop", 1),
            ("DropLeader", 1),
            ("Lose", 1),
            ("packets dropped", 10),
        ],
        place: Place::Namespaces,
    },
];

fn settings() -> Settings {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let base = std::env::var("SYNOD_SEED_BASE").ok();
    let base = base.map(|base| {
        base.bytes()
            .fold(0, |seed, byte| mix(seed, u64::from(byte)))
    });
    let fresh = || RandomState::new().hash_one(std::process::id());
    Settings {
        seed: number("SYNOD_SEED").or(base).unwrap_or_else(fresh),
        seconds: number("SYNOD_SECONDS").map_or(SECONDS, |seconds: u64| seconds.max(SECONDS)),
    }
}

fn one(spec: &Spec, settings: Settings) -> Result<Completion, Failed> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err("interrupted".into());
    }
    if spec.is_traced()
        && let Err(why) = machine::may_trace()
    {
        return Ok(Completion::ignored_with(why));
    }
    match spec.place {
        Place::Loopback | Place::Proxies => {
            machine::say(&trial::run(spec, settings, &[])?.summary);
            Ok(Completion::Completed)
        }
        Place::Namespaces | Place::Disks => machine::run_inside(spec, settings),
    }
}

fn main() -> ExitCode {
    let settings = settings();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name] = &words[..]
        && first == machine::INSIDE
    {
        let spec = TRIALS.iter().find(|spec| spec.name == name);
        let done = spec.ok_or_else(|| "no such trial".into());
        let done = done.and_then(|spec| machine::inside(spec, settings));
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                machine::complain(&why);
                ExitCode::FAILURE
            }
        };
    }
    let mut args = Arguments::from_args();
    // Most of a trial is waiting.
    args.test_threads.get_or_insert(2);
    std::thread::spawn(until_interrupted);
    libtest_mimic::run(&args, trials(settings)).exit_code()
}

fn trials(settings: Settings) -> Vec<Trial> {
    let run = |spec: &'static Spec| move || one(spec, settings);
    let bite = |tooth: &'static Tooth| move || teeth::bite(tooth, settings);
    let usual = TRIALS
        .iter()
        .map(|spec| Trial::ignorable_test(spec.name, run(spec)));
    let teeth = TEETH
        .iter()
        .map(|tooth| Trial::ignorable_test(tooth.name, bite(tooth)));
    usual.chain(teeth).collect()
}

/// Ctrl-C and SIGTERM end a trial as a failure does.
fn until_interrupted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let kind = tokio::signal::unix::SignalKind::terminate();
        let mut terminate = tokio::signal::unix::signal(kind).unwrap();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    });
    INTERRUPTED.store(true, Ordering::Relaxed);
}
