//! What happened, as lines for people if wanted and as a hash always.

use alloc::collections::VecDeque;

use synod_core::mix;

/// The last lines of a run, and its hash.
pub(super) struct Trace {
    lines: VecDeque<String>,
    keep: usize,
    pub(super) hash: u64,
}

impl Trace {
    pub(super) fn new(seed: u64, keep: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            keep,
            hash: seed,
        }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.keep > 0
    }

    pub(super) fn line(&mut self, line: String) {
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) const fn stir(&mut self, value: u64) {
        self.hash = mix(self.hash, value);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// Adds a line to the trace; costs nothing while nobody reads it.
macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        if $world.trace.is_on() {
            let at = $world.now;
            let line = format!(
                "{:>3}.{:06}  {}",
                at / 1_000_000_000,
                at / 1_000 % 1_000_000,
                format_args!($($what)*)
            );
            $world.trace.line(line);
        }
    };
}

pub(super) use note;
