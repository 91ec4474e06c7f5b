//! What happened in a run, step by step, and pictures of it.
//!
//! [`Trace`] prints as lines; [`Trace::columns`] gives a column to each node, [`Trace::html`] draws a
//! space-time diagram that needs nothing but a browser, [`Trace::shiviz`] is for `ShiViz`.

mod columns;
mod html;
mod shiviz;

use alloc::collections::VecDeque;
use core::fmt;

use synod_core::{NodeId, mix};

pub use shiviz::SHIVIZ_PARSER;

/// The steps of a run, all or the last ones.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The nodes. Steps name them by their places here.
    pub nodes: Vec<NodeId>,
    /// What happened, in order.
    pub steps: VecDeque<Step>,
    /// How many steps before those were dropped.
    pub dropped: u64,
    /// The seed.
    pub seed: u64,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When, in nanoseconds of virtual time.
    pub at: u64,
    /// Where.
    pub who: Who,
    /// What, for pictures.
    pub what: What,
    /// What, for people.
    pub text: String,
}

/// Whom a step is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The node at this place.
    Node(usize),
    /// A client.
    Client(usize),
    /// Everybody.
    World,
}

/// What kind of step it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum What {
    /// A node starts.
    Start,
    /// A node's life ends.
    Crash,
    /// A node stops for a while.
    Pause,
    /// A paused node goes on.
    Resume,
    /// A message leaves, with a number of its own.
    Send {
        /// Its number.
        message: u64,
        /// To whom, by place.
        to: usize,
    },
    /// A message arrives.
    Receive {
        /// Its number.
        message: u64,
        /// From whom, by place.
        from: usize,
    },
    /// A message is lost.
    Lost {
        /// Its number.
        message: u64,
        /// To whom it was, by place.
        to: usize,
    },
    /// Term, part or commit index have changed.
    State {
        /// The term, ballot round or epoch.
        era: u64,
        /// Its part.
        role: synod_core::Role,
        /// What it knows to be committed.
        committed: u64,
    },
    /// Something is written, or is durable now.
    Disk,
    /// Entries or a snapshot reach the state machine.
    Apply,
    /// A node learns of a link.
    Link,
    /// An event of the protocol's own.
    Detail,
    /// A client asks or is told.
    Client,
    /// Something goes wrong, or is over.
    Fault,
    /// A rule is broken.
    Broken,
}

impl What {
    /// A name for filters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Send { .. } => "send",
            Self::Receive { .. } => "receive",
            Self::Lost { .. } => "lost",
            Self::State { .. } => "state",
            Self::Disk => "disk",
            Self::Apply => "apply",
            Self::Link => "link",
            Self::Detail => "detail",
            Self::Client => "client",
            Self::Fault => "fault",
            Self::Broken => "broken",
        }
    }
}

impl Trace {
    /// The name of who a step is about.
    #[must_use]
    pub fn name(&self, who: Who) -> String {
        match who {
            Who::Node(place) => match self.nodes.get(place) {
                Some(id) => id.to_string(),
                None => format!("node {place}"),
            },
            Who::Client(client) => format!("c{client}"),
            Who::World => String::new(),
        }
    }

    /// The last `lines` steps alone.
    #[must_use]
    pub fn last(mut self, lines: usize) -> Self {
        let spare = self.steps.len().saturating_sub(lines);
        self.steps.drain(..spare);
        self.dropped += spare as u64;
        self
    }
}

/// A moment, in seconds and microseconds.
pub(crate) struct Moment(pub(crate) u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000);
        write!(f, "{seconds:>3}.{micros:06}")
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let name = self.name(step.who);
            let at = Moment(step.at);
            match step.what {
                What::Receive { from, .. } => {
                    let from = self.name(Who::Node(from));
                    writeln!(f, "{at}  {from} -> {name} {}", step.text)?;
                }
                What::Lost { to, .. } => {
                    let to = self.name(Who::Node(to));
                    writeln!(f, "{at}  {name} -> {to} LOST {}", step.text)?;
                }
                What::Send { .. } | What::State { .. } => {}
                _ if name.is_empty() => writeln!(f, "{at}  {}", step.text)?,
                _ => writeln!(f, "{at}  {name} {}", step.text)?,
            }
        }
        Ok(())
    }
}

/// Collects a trace, if wanted, and a hash, always.
pub(crate) struct Recorder {
    trace: Trace,
    keep: usize,
    pub(crate) hash: u64,
}

impl Recorder {
    pub(crate) fn new(seed: u64, nodes: Vec<NodeId>, keep: usize) -> Self {
        let trace = Trace {
            nodes,
            seed,
            ..Trace::default()
        };
        Self {
            trace,
            keep,
            hash: seed,
        }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.keep > 0
    }

    pub(crate) fn add(&mut self, step: Step) {
        if self.trace.steps.len() == self.keep {
            self.trace.steps.pop_front();
            self.trace.dropped += 1;
        }
        self.trace.steps.push_back(step);
    }

    pub(crate) const fn stir(&mut self, value: u64) {
        self.hash = mix(self.hash, value);
    }

    pub(crate) fn trace(&self) -> Trace {
        self.trace.clone()
    }
}

/// Adds a step to the trace; costs nothing while nobody reads it.
macro_rules! note {
    ($world:expr, $who:expr, $what:expr, $($text:tt)*) => {
        if $world.trace.is_on() {
            let step = $crate::trace::Step {
                at: $world.now,
                who: $who,
                what: $what,
                text: format!($($text)*),
            };
            $world.trace.add(step);
        }
    };
}

pub(crate) use note;
