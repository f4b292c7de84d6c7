//! Owns the log lines: one schema, written to stderr, as JSON where it is no terminal and as
//! readable text where it is.
//!
//! Invariants: every line is one JSON object with `ts` (RFC 3339, UTC, milliseconds), `level`
//! (`error` to `trace`), `event` (a word such as `listening`), `message` (one sentence) and
//! further fields that are texts, numbers or truths. `event` is the field of that name, or the
//! module where a dependency has none. Deliberately absent: spans, rotation and shipping.

use crate::time::UnixMs;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// What a line looks like.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Style {
    /// A JSON object.
    Json,
    /// For people.
    Readable,
}

impl Style {
    /// JSON unless stderr is a terminal.
    pub fn of_stderr() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Readable
        } else {
            Self::Json
        }
    }
}

/// Starts logging for the whole process with `filter`, such as `info,holdfast=debug`.
///
/// Errors say what is wrong with the filter; starting twice is an error, too.
pub fn start(filter: &str, style: Style) -> Result<(), LoggingError> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|_| LoggingError::Filter)?;
    let subscriber = Registry::default().with(filter).with(Lines { style });
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be parsed.
    #[error(
        "the configuration key `telemetry.log` takes a level such as `info`, or a filter such as `info,holdfast=debug`"
    )]
    Filter,
    /// It runs already.
    #[error("logging was started twice in one process")]
    Twice,
}

struct Lines {
    style: Style,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = match self.style {
            Style::Json => fields.json(metadata.level().as_str(), metadata.target()),
            Style::Readable => fields.readable(metadata.level().as_str(), metadata.target()),
        };
        // A log that cannot be written has nowhere to say so.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// What one line says.
#[derive(Default)]
struct Fields {
    event: Option<String>,
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn json(self, level: &str, target: &str) -> String {
        let event = self.event.unwrap_or_else(|| target.replace("::", "_"));
        let mut line = format!(
            "{{\"ts\":\"{}\",\"level\":\"{}\",\"event\":{},\"message\":{}",
            now(),
            level.to_ascii_lowercase(),
            Value::from(event),
            Value::from(self.message),
        );
        for (name, value) in self.rest {
            let _ = write!(line, ",{}:{value}", Value::from(name));
        }
        line.push_str("}\n");
        line
    }

    fn readable(self, level: &str, target: &str) -> String {
        let event = self.event.as_deref().unwrap_or(target);
        let mut line = format!("{} {level:5} {event}", now());
        if !self.message.is_empty() {
            let _ = write!(line, ": {}", self.message);
        }
        for (name, value) in &self.rest {
            let _ = match value {
                Value::String(text) => write!(line, " {name}={text}"),
                other => write!(line, " {name}={other}"),
            };
        }
        line.push('\n');
        line
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("event", Value::String(text)) => self.event = Some(text),
            // Their places are taken.
            ("ts" | "level" | "message" | "event", _) => {}
            // What the `log` crate's bridge adds about the place in the source.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => {
                self.rest.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
}

/// Log lines are stamped by the system's clock; events are not, the journal reads its own.
fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
