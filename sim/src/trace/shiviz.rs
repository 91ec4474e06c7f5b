//! A trace for `ShiViz` (Beschastnikh et al., CACM 2016): each step with the vector clock of its node.

use alloc::collections::BTreeMap;
use core::fmt::Write as _;

use super::{Moment, Trace, What, Who};

/// The regular expression to give to `ShiViz` with [`Trace::shiviz`]; it is the one of its manual
/// for two lines an event, `host clock` and `event`.
pub const SHIVIZ_PARSER: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)";

impl Trace {
    /// The trace as a log for `ShiViz`, to be read with [`SHIVIZ_PARSER`]: what nodes send and
    /// receive, their lives, parts, disks and state machines. Clients and the world are no hosts.
    #[must_use]
    pub fn shiviz(&self) -> String {
        let hosts: Vec<String> = (0..self.nodes.len())
            .map(|place| self.name(Who::Node(place)))
            .collect();
        let mut clocks = vec![vec![0_u64; hosts.len()]; hosts.len()];
        // What was known where a message left; a message may arrive twice.
        let mut sent: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut out = String::new();
        for step in &self.steps {
            let Who::Node(place) = step.who else { continue };
            if let What::Receive { message, .. } = step.what
                && let Some(theirs) = sent.get(&message)
            {
                let ours = clocks[place].iter_mut().zip(theirs);
                ours.for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
            }
            clocks[place][place] += 1;
            if let What::Send { message, .. } = step.what {
                sent.insert(message, clocks[place].clone());
            }
            let known = hosts.iter().zip(&clocks[place]);
            let known = known.filter(|(_, count)| **count > 0);
            let clock: Vec<_> = known
                .map(|(host, count)| format!("\"{host}\":{count}"))
                .collect();
            let peer = match step.what {
                What::Send { to, .. } => format!(" to {}", hosts[to]),
                What::Receive { from, .. } => format!(" from {}", hosts[from]),
                What::Lost { to, .. } => format!(" to {}", hosts[to]),
                _ => String::new(),
            };
            let text = step.text.replace(['\n', '\r'], " ");
            let (host, kind, at) = (&hosts[place], step.what.name(), Moment(step.at));
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{host} {{{}}}\n{}s {kind}{peer} {text}",
                clock.join(","),
                at.to_string().trim_start()
            );
        }
        out
    }
}
