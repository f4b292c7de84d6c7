//! Owns the log lines: one schema, written to stderr, as JSON where it is no terminal and as
//! readable text where it is.
//!
//! To log never waits and never floods: lines go through a bounded queue to a thread of their own
//! (`log_writer`), each event word has a rate (`log_rate`), and libraries say nothing unless the
//! filter names them. What is dropped or left out is counted, and a later line tells the count.
//!
//! Invariants: every line is one JSON object with `ts` (RFC 3339, UTC, milliseconds), `level`
//! (`error` to `trace`), `event` (a word such as `listening`), `message` (one sentence) and
//! further fields that are texts, numbers or truths; `trace_id` if it belongs to a trace. `event` is the field of that name, or the
//! module where a dependency has none. Deliberately absent: spans, rotation and shipping.

use super::log_rate::Rates;
use super::log_writer::LogQueue;
use crate::time::UnixMs;
use crate::trace;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

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

/// How long [`flush`] waits for a stderr that nobody reads.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Bytes of one text in a line.
const TEXT_BYTES_MAX: usize = 4_096;
/// What the program logs under; a level without a target is of these alone.
const OUR_TARGET: &str = "holdfast";

/// The log of the process, once it was started.
static LOG: OnceLock<LogSetup> = OnceLock::new();

#[derive(Debug)]
struct LogSetup {
    style: Style,
    queue: LogQueue,
    rates: Rates,
    dropped_told: AtomicU64,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Which lines are logged.
#[derive(Debug)]
pub struct Filter(EnvFilter);

impl Filter {
    /// As `text` says, such as `info,hyper=debug`.
    pub fn parse(text: &str) -> Result<Self, LoggingError> {
        // The library takes any other word for the name of a target, which would silence the rest.
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let is_level = |word: &str| levels.iter().any(|it| word.eq_ignore_ascii_case(it));
        let mut directives = text.split(',').map(str::trim);
        if !directives.all(|it| it.contains(['=', '[']) || is_level(it)) {
            return Err(LoggingError::Filter);
        }
        let filter = EnvFilter::builder().parse(without_libraries(text));
        filter.map(Self).map_err(|_| LoggingError::Filter)
    }
}

impl Default for Filter {
    /// Everything of the program from `info` on.
    fn default() -> Self {
        Self::parse("info").expect("a level is a filter")
    }
}

/// Starts logging for the whole process with `filter`. Starting twice is an error.
pub fn start(filter: Filter, style: Style) -> Result<(), LoggingError> {
    let (filter, in_force) = reload::Layer::new(filter.0);
    let (queue, waiting) = LogQueue::new().map_err(LoggingError::Stderr)?;
    let log = LogSetup {
        style,
        queue,
        rates: Rates::default(),
        dropped_told: AtomicU64::new(0),
        filter: in_force,
    };
    LOG.set(log).map_err(|_| LoggingError::Twice)?;
    let log = LOG.get().expect("it was set on the line before");
    let subscriber = Registry::default().with(filter).with(LineFormat { log });
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    std::thread::Builder::new()
        .name("log-lines".to_owned())
        .spawn(move || log.queue.run(&waiting, || log.tell()))
        .map_err(LoggingError::Thread)?;
    Ok(())
}

/// From now on `filter` says which lines are logged.
pub fn set(filter: Filter) {
    if let Some(log) = LOG.get() {
        // It fails only where there is no subscriber, which a process has until its end.
        let _ = log.filter.reload(filter.0);
    }
}

/// Waits, for a second at most, until every line logged before is written. For the end of the process.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.queue.flush(FLUSH_MAX);
    }
}

/// Lines that were dropped, because nobody took them from stderr in time.
pub fn dropped() -> u64 {
    LOG.get().map_or(0, |log| log.queue.dropped())
}

/// Lines that were left out, because their event word had too many.
pub fn left_out() -> u64 {
    LOG.get().map_or(0, |log| log.rates.left_out())
}

impl LogSetup {
    /// Says what was left out and dropped since this was called last; on the writing thread.
    fn tell(&self) {
        for (word, left_out) in self.rates.take_left_out() {
            tracing::warn!(
                event = "log_lines_left_out",
                word,
                left_out,
                "log lines with this event exceeded their rate and were left out"
            );
        }
        let total = self.queue.dropped();
        let dropped = total - self.dropped_told.swap(total, Relaxed).min(total);
        if dropped > 0 {
            tracing::warn!(
                event = "log_lines_dropped",
                dropped,
                "log lines were dropped, because stderr was read too slowly"
            );
        }
    }
}

/// `filter` with every level that has no target made one of the program alone. Such levels come
/// first, so that a target that the filter names goes before them.
fn without_libraries(filter: &str) -> String {
    let parts = filter.split(',').map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    let (levels, named): (Vec<_>, Vec<_>) =
        parts.partition(|part| part.parse::<LevelFilter>().is_ok());
    let levels = levels.iter().map(|level| format!("{OUR_TARGET}={level}"));
    let all: Vec<_> = levels.chain(named.into_iter().map(str::to_owned)).collect();
    all.join(",")
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be parsed.
    #[error(
        "the configuration key `telemetry.log` must be a level such as `info`, or a filter such as `info,hyper=debug`"
    )]
    Filter,
    /// It runs already.
    #[error("logging is already started in this process")]
    Twice,
    /// There is no stderr to write to.
    #[error("cannot write log lines to stderr: {0}; start the process with stderr open")]
    Stderr(std::io::Error),
    /// The thread that writes cannot be started.
    #[error("cannot start the thread for log lines: {0}; check the limit of threads")]
    Thread(std::io::Error),
}

struct LineFormat {
    log: &'static LogSetup,
}

impl<S: Subscriber> Layer<S> for LineFormat {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut word = EventWord::default();
        event.record(&mut word);
        let word = word
            .0
            .unwrap_or_else(|| metadata.target().replace("::", "_"));
        // Before anything is formatted: a flood should cost little.
        if !OWN_WORDS.contains(&word.as_str()) && !self.log.rates.admit(&word, Instant::now()) {
            return;
        }
        let mut fields = LineFields::default();
        event.record(&mut fields);
        if let Some(trace) = trace::current() {
            let id = Value::from(trace.trace_id());
            fields.rest.insert("trace_id".to_owned(), id);
        }
        let level = metadata.level().as_str();
        self.log.queue.push(match self.log.style {
            Style::Json => fields.json(level, &word),
            Style::Readable => fields.readable(level, &word),
        });
    }
}

/// What [`LogSetup::tell`] says, once a second for each word at most: it has no rate.
const OWN_WORDS: [&str; 2] = ["log_lines_left_out", "log_lines_dropped"];

/// The event word of a line, where it has one.
#[derive(Default)]
struct EventWord(Option<String>);

impl Visit for EventWord {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// What one line says.
#[derive(Default)]
struct LineFields {
    message: String,
    rest: Map<String, Value>,
}

impl LineFields {
    fn json(self, level: &str, event: &str) -> String {
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

    fn readable(self, level: &str, event: &str) -> String {
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

    fn put(&mut self, field: &Field, mut value: Value) {
        if let Value::String(text) = &mut value {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
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

impl Visit for LineFields {
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
