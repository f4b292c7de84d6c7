//! Owns a command's line of progress: one line on a terminal, overwritten; nothing elsewhere.

use super::say;
use std::fmt;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Time between two looks at a job, and between two figures of the line.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// The line.
pub(super) struct ProgressLine {
    terminal: bool,
    shown: Option<Instant>,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    pub(super) fn show(&mut self, figures: fmt::Arguments<'_>) {
        let is_due = self.shown.is_none_or(|it| it.elapsed() >= LOOK);
        if self.terminal && is_due {
            say(format_args!("\r\x1b[K{figures}"));
            self.shown = Some(Instant::now());
        }
    }

    pub(super) fn clear(&mut self) {
        if self.shown.is_some() {
            say("\r\x1b[K");
        }
    }
}
