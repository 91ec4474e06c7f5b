//! The figures: one line, and JSON.

use std::fmt;
use std::time::Duration;

/// What a run has shown.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Figures {
    /// Writes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Of those: not there.
    pub(crate) lost: u64,
    /// There more than once, or there although they were never asked for or had failed.
    pub(crate) duplicated: u64,
    /// `None`: not decided.
    pub(crate) linearizable: Option<bool>,
    /// The time without an acknowledged write; `None` if there was none after the kill.
    pub(crate) failover: Option<Duration>,
    /// Reads and writes that were answered, in a second of the load.
    pub(crate) operations_per_second: f64,
    /// p50, p90, p99 and the longest.
    pub(crate) latencies: [Duration; 4],
    /// Whether all replicas hold the same.
    pub(crate) replicas_agree: bool,
}

impl Figures {
    fn linearizable(&self) -> &'static str {
        match self.linearizable {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        }
    }

    /// Whether all is as it must be.
    ///
    /// # Errors
    ///
    /// What is not.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        if self.acknowledged == 0 {
            wrong.push("no write was acknowledged".into());
        }
        if self.lost > 0 {
            wrong.push(format!("{} acknowledged writes are lost", self.lost));
        }
        if self.duplicated > 0 {
            wrong.push(format!("{} writes are there too often", self.duplicated));
        }
        if self.linearizable != Some(true) {
            wrong.push(format!("linearizable: {}", self.linearizable()));
        }
        if self.failover.is_none() {
            wrong.push("no write was acknowledged after the leader was killed".into());
        }
        if !self.replicas_agree {
            wrong.push("the replicas differ".into());
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("FAILED: {}", wrong.join("; ")))
    }

    /// The same as JSON; times in milliseconds.
    pub(crate) fn to_json(&self) -> String {
        let [p50, p90, p99, max] = self.latencies.map(millis);
        let failover = self
            .failover
            .map_or_else(|| "null".into(), |time| time.as_millis().to_string());
        format!(
            "{{\n  \"acknowledged\": {},\n  \"lost\": {},\n  \"duplicated\": {},\n  \
             \"linearizable\": \"{}\",\n  \"failover_ms\": {failover},\n  \
             \"operations_per_second\": {:.1},\n  \"latency_ms\": {{\n    \"p50\": {p50:.3},\n    \
             \"p90\": {p90:.3},\n    \"p99\": {p99:.3},\n    \"max\": {max:.3}\n  }},\n  \
             \"replicas_agree\": {}\n}}\n",
            self.acknowledged,
            self.lost,
            self.duplicated,
            self.linearizable(),
            self.operations_per_second,
            self.replicas_agree,
        )
    }
}

/// In milliseconds, with what is below.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "acknowledged={} lost={} duplicated={} linearizable={} failover_ms=",
            self.acknowledged,
            self.lost,
            self.duplicated,
            self.linearizable()
        )?;
        match self.failover {
            Some(time) => write!(f, "{}", time.as_millis()),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Figures {
        Figures {
            acknowledged: 10,
            lost: 0,
            duplicated: 0,
            linearizable: Some(true),
            failover: Some(Duration::from_millis(700)),
            operations_per_second: 1.0,
            latencies: [Duration::from_millis(2); 4],
            replicas_agree: true,
        }
    }

    #[test]
    fn only_a_run_without_a_flaw_passes() {
        assert_eq!(good().verdict(), Ok(()));
        let flaws: [fn(&mut Figures); 7] = [
            |f| f.acknowledged = 0,
            |f| f.lost = 1,
            |f| f.duplicated = 1,
            |f| f.linearizable = Some(false),
            |f| f.linearizable = None,
            |f| f.failover = None,
            |f| f.replicas_agree = false,
        ];
        for flaw in flaws {
            let mut figures = good();
            flaw(&mut figures);
            assert!(figures.verdict().is_err(), "{figures:?}");
        }
    }

    #[test]
    fn line_and_json_say_the_same() {
        let line = good().to_string();
        assert_eq!(
            line,
            "acknowledged=10 lost=0 duplicated=0 linearizable=yes failover_ms=700"
        );
        let json: serde_json::Value = serde_json::from_str(&good().to_json()).expect("JSON");
        assert_eq!(json["failover_ms"], 700);
        assert_eq!(json["latency_ms"]["p99"], 2.0);
        let unknown = Figures {
            failover: None,
            ..good()
        };
        let json: serde_json::Value = serde_json::from_str(&unknown.to_json()).expect("JSON");
        assert!(json["failover_ms"].is_null());
    }
}
