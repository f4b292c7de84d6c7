//! What a server has logged so far, read as it comes.

use crate::PATIENCE;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What a server has logged so far.
#[derive(Clone)]
pub struct Log(Arc<(Mutex<LogState>, Condvar)>);

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    pub(crate) fn follow(stderr: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.0.0.lock().unwrap().lines.push(line);
                writer.0.1.notify_all();
            }
            writer.0.0.lock().unwrap().ended = true;
            writer.0.1.notify_all();
        });
        log
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// All lines of a server that has ended: the last ones may still be on their way here.
    pub fn all_lines(&self) -> Vec<String> {
        let state = self.0.0.lock().unwrap();
        let whole = self
            .0
            .1
            .wait_timeout_while(state, PATIENCE, |state| !state.ended);
        let (state, waited) = whole.unwrap();
        assert!(!waited.timed_out(), "the log has no end: {:?}", state.lines);
        state.lines.clone()
    }

    /// The first line of this event; `None` where the server ends without.
    pub fn wait_for(&self, event: &str) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.0.0.lock().unwrap();
        loop {
            let parsed = state
                .lines
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok());
            if let Some(line) = parsed
                .into_iter()
                .find(|line: &Value| line["event"] == event)
            {
                return Some(line);
            }
            if state.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "no `{event}` in {:?}", state.lines);
            state = self.0.1.wait_timeout(state, left).unwrap().0;
        }
    }
}
