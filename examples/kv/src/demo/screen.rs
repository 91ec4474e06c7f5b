//! Lines that stay, and below them, on a terminal, a few that are drawn anew.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often progress is shown: on a terminal, and as lines elsewhere.
const REDRAW: Duration = Duration::from_millis(250);
const LINES: Duration = Duration::from_secs(1);

/// Where the demonstration is told.
pub(crate) struct Screen {
    terminal: bool,
    drawn: usize,
    start: Instant,
    last: Option<Instant>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            drawn: 0,
            start: Instant::now(),
            last: None,
        }
    }

    /// Whether it is time to [`draw`](Self::draw) again; the time since the last.
    pub(crate) fn due(&mut self) -> Option<Duration> {
        let every = if self.terminal { REDRAW } else { LINES };
        let now = Instant::now();
        let since = now - self.last.unwrap_or(self.start);
        (since >= every).then(|| {
            self.last = Some(now);
            since
        })
    }

    /// Says something that stays.
    pub(crate) fn tell(&mut self, line: &str) {
        let time = self.start.elapsed().as_secs_f64();
        self.erase();
        put(&format!("[{time:5.1} s] {line}\n"));
    }

    /// Shows how things stand: `line` where there is no terminal, `block` where there is one.
    pub(crate) fn draw(&mut self, line: &str, block: &[String]) {
        if !self.terminal {
            return self.tell(line);
        }
        self.erase();
        for line in block {
            put(&format!("{line}\n"));
        }
        self.drawn = block.len();
    }

    /// Nothing more will be drawn.
    pub(crate) fn end(&mut self) {
        self.erase();
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up, to the first column, and clear all below.
            put(&format!("\x1b[{}A\r\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}

/// Who has stopped listening stops nothing here.
fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    let _nobody_listens = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
