//! When nothing can have become durable, by what the tracer of the only node has seen: a write
//! that was acknowledged then was acknowledged too early.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use synod_kv::Shared;
use synod_sim::history::History;
use synod_sim::linear::{KvAction, KvOp, KvRet};

/// How long an acknowledgement that had been sent before may take.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// Times by the recorder's clock.
pub(crate) struct Quiet {
    windows: Vec<(Duration, Duration)>,
    /// The same moment by the system's clock, which the tracer uses, and by the recorder's.
    clocks: (SystemTime, Duration),
}

impl Quiet {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            windows: Vec::new(),
            clocks: (SystemTime::now(), shared.recorder.elapsed()),
        }
    }

    /// From the sync on that has failed by this trace, if one has.
    pub(crate) fn begin(&mut self, trace: &Path) -> Result<Option<Duration>, String> {
        let text = fs::read_to_string(trace);
        let text = text.map_err(|error| format!("{}: {error}", trace.display()))?;
        let Some(asked) = failed_sync(&text)? else {
            return Ok(None);
        };
        let (system, recorder) = self.clocks;
        let system = system.duration_since(UNIX_EPOCH).unwrap();
        let since = recorder + asked.saturating_sub(system);
        self.windows.push((since + ON_ITS_WAY, Duration::MAX));
        Ok(Some(since))
    }

    /// Until the node starts again.
    pub(crate) fn end(&mut self, now: Duration) {
        for (_, until) in &mut self.windows {
            *until = now.min(*until);
        }
    }

    /// What was acknowledged too early.
    pub(crate) fn broken_by(&self, history: &History<KvOp, KvRet>) -> Vec<String> {
        let is_write = |op: &KvOp| !matches!(op.action, KvAction::Get);
        let writes = history.iter().filter(|(_, record)| is_write(record.op()));
        let answered = writes.filter_map(|(id, record)| Some((id, record.completed_at()?)));
        let broken = answered.filter_map(|(id, at)| {
            let at = Duration::from_nanos(at.as_nanos());
            let mut windows = self.windows.iter();
            let (from, to) = windows.find(|(from, to)| (*from..*to).contains(&at))?;
            Some(format!(
                "{id} was acknowledged at {at:?}; from {from:?} to {to:?} nothing became durable"
            ))
        });
        broken.collect()
    }
}

/// When the sync was asked for that the tracer has made fail, since the epoch.
fn failed_sync(trace: &str) -> Result<Option<Duration>, String> {
    // PID SECONDS.MICROS fdatasync(FD) = -1 EIO ..., perhaps in two lines.
    let lines: Vec<&str> = trace.lines().collect();
    let Some(failed) = lines.iter().position(|line| line.contains("INJECTED")) else {
        return Ok(None);
    };
    let word = |line: &str, n| line.split_whitespace().nth(n).map(String::from);
    let same = |line: &&&str| word(line, 0) == word(lines[failed], 0);
    let mut asked = lines[..=failed].iter().rev().filter(same);
    let asked = asked.find(|line| !line.contains("resumed"));
    let seconds = asked.and_then(|line| word(line, 1)?.parse().ok());
    let seconds = seconds.ok_or_else(|| format!("cannot read this trace:\n{trace}"))?;
    Ok(Some(Duration::from_secs_f64(seconds)))
}
