//! Would the judge notice? Nodes with a planted bug, which a trial must find wrong.

use std::sync::atomic::Ordering;

use libtest_mimic::{Completion, Failed};

use crate::plan::Kind;
use crate::trial::{self, INTERRUPTED, Place, Settings, Spec};
use crate::{FAILED_SYNC, machine};

/// How often it is tried: a bug needs its moment.
const ATTEMPTS: u64 = 6;

/// A bug, and a trial that must find it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tooth {
    pub(crate) name: &'static str,
    /// In `synod_raft::planted::Bug`, or in `src/planted.rs`.
    bug: &'static str,
    spec: Spec,
    /// What the judge must say.
    says: &'static str,
}

/// All nodes forget what they know to be committed, and so does the one that was alone: nobody is
/// left who would notice by itself.
const FORGOTTEN: Spec = Spec {
    name: "a_leader_alone_is_killed",
    nodes: 3,
    kinds: &[Kind::KillIsolated],
    share: 140,
    least: &[],
    place: Place::Proxies,
};

const ALONE: Spec = Spec {
    name: "a_leader_alone",
    nodes: 3,
    kinds: &[Kind::IsolateLeader, Kind::MuteLeader],
    share: 100,
    least: &[],
    place: Place::Proxies,
};

pub(crate) const TEETH: &[Tooth] = &[
    Tooth {
        name: "a_stale_read_is_caught",
        bug: "ReadUnconfirmed",
        spec: ALONE,
        says: "not linearizable",
    },
    Tooth {
        name: "an_acknowledgement_without_a_majority_is_caught",
        bug: "MajorityMinusOne",
        spec: FORGOTTEN,
        says: "not exactly once",
    },
    Tooth {
        name: "an_acknowledgement_after_a_failed_sync_is_caught",
        bug: "IgnoreFailedWrites",
        spec: FAILED_SYNC,
        says: "nothing became durable",
    },
];

pub(crate) fn bite(tooth: &Tooth, settings: Settings) -> Result<Completion, Failed> {
    if tooth.spec.is_traced()
        && let Err(why) = machine::may_trace()
    {
        return Ok(Completion::ignored_with(why));
    }
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err("interrupted".into());
    }
    let mut told = Vec::new();
    for attempt in 0..ATTEMPTS {
        let settings = Settings {
            seed: settings.seed.wrapping_add(attempt),
            ..settings
        };
        match trial::run(&tooth.spec, settings, &[("SYNOD_KV_PLANTED", tooth.bug)]) {
            Ok(judged) => match judged.wrong {
                Some(wrong) if wrong.contains(tooth.says) => {
                    machine::say(&format!("{}: {}\n{wrong}", tooth.name, judged.summary));
                    return Ok(Completion::Completed);
                }
                other => told.push(other.unwrap_or(judged.summary)),
            },
            Err(why) => told.push(why),
        }
    }
    Err(format!("{} went unnoticed:\n{}", tooth.bug, told.join("\n")).into())
}
