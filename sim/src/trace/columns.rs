//! A trace in the terminal: a column for each node.

use core::fmt;

use super::{Moment, Trace, What, Who};

/// A trace with a column for each node; see [`Trace::columns`].
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    trace: &'a Trace,
    width: usize,
}

impl Trace {
    /// A column for each node, each `width` characters wide (at least 8); what is about no node
    /// stands across them. Messages say `>n2` where they leave, `n1>` where they arrive.
    #[must_use]
    pub fn columns(&self, width: usize) -> Columns<'_> {
        Columns {
            trace: self,
            width: width.max(8),
        }
    }
}

impl fmt::Display for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, width } = self;
        write!(f, "{:10}", "")?;
        for place in 0..trace.nodes.len() {
            write!(f, " {:<width$}", trace.name(Who::Node(place)))?;
        }
        writeln!(f)?;
        for step in &trace.steps {
            let peer = |place| trace.name(Who::Node(place));
            let text = match step.what {
                What::Send { to, .. } => format!(">{} {}", peer(to), step.text),
                What::Receive { from, .. } => format!("{}> {}", peer(from), step.text),
                What::Lost { to, .. } => format!(">{} LOST {}", peer(to), step.text),
                _ => step.text.clone(),
            };
            write!(f, "{}", Moment(step.at))?;
            match step.who {
                Who::Node(place) => {
                    for _ in 0..place {
                        write!(f, " {:<width$}", "|")?;
                    }
                    let cut: String = text.chars().take(*width).collect();
                    write!(f, " {cut:<width$}")?;
                    for _ in place + 1..trace.nodes.len() {
                        write!(f, " {:<width$}", "|")?;
                    }
                    writeln!(f)?;
                }
                Who::Client(client) => writeln!(f, " -- c{client} {text}")?,
                Who::World => writeln!(f, " == {text}")?,
            }
        }
        Ok(())
    }
}
