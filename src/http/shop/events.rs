//! Owns the shop's way to catch up: the events behind a place in the log, awaited if there are none
//! yet (long poll).
//!
//! Invariants: only durable events are shown, in the log's order, none left out: a place that the
//! log no longer reaches back to, or that another history has, is refused instead; administrative
//! acts and verdicts about buyers are not for shops; a request waits a limited time, and few
//! requests of a worker wait or read at one time, so that the sale keeps slots and cores; nothing waits while the
//! process stops.
//! Deliberately absent: a cursor. The reader keeps its own place.

use crate::engine::event::Event;
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::Lsn;
use crate::journal::{AuditEntry, Feed, JournalError, Next};
use crate::report::event_json;
use crate::report::webhooks::is_for_shops;
use hyper::http::StatusCode;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Events per page.
const LIMIT_MAX: u64 = 1_000;
const LIMIT_DEFAULT: u64 = 100;
/// Records that are read at a time: then other readers of the worker have their turn.
const RECORDS_READ_MAX: usize = 20_000;
/// How long a request may wait for an event, in seconds.
const WAIT_S_MAX: u64 = 30;
const WAIT_S_DEFAULT: u64 = 20;
/// Requests of a worker at one time, waiting or reading. Others are refused.
const READERS_MAX: u64 = 32;
/// How long a waiting request pauses at least between two looks at the log.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The shop's events, on one worker.
pub struct ShopEvents {
    worker: Arc<Worker>,
    /// Whether the process is about to end.
    is_stopping: Box<dyn Fn() -> bool + Send + Sync>,
    readers: AtomicU64,
    readers_max: u64,
    /// Finding a place reads the log's segment from its beginning, so one request reads at a time.
    reading: Semaphore,
}

/// What is asked for.
struct EventsQuery {
    /// `None`: from the first event that there is.
    after: Option<LogPlace>,
    kinds: Vec<String>,
    limit: usize,
    wait: Duration,
}

/// A place in the log, written `LSN` or `LSN.GENERATION`.
struct LogPlace {
    lsn: Lsn,
    generation: Option<String>,
}

/// Where a request is in the log.
struct Reading {
    /// Where to begin, until something stands there.
    from: Lsn,
    feed: Option<Feed>,
    events: Vec<AuditEntry>,
}

/// A request's place among the readers, until dropped.
struct ReaderPlace<'a>(&'a AtomicU64);

impl Drop for ReaderPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ShopEvents {
    pub fn new(worker: Arc<Worker>, is_stopping: Box<dyn Fn() -> bool + Send + Sync>) -> Self {
        // They hold slots of the shop's, which are the sale's first of all.
        let readers_max = READERS_MAX.min(worker.shop_slots() / 8).max(1);
        Self {
            worker,
            is_stopping,
            readers: AtomicU64::new(0),
            readers_max,
            reading: Semaphore::new(1),
        }
    }

    pub async fn list(&self, call: Call) -> Answer {
        let asked = match parse_query(call.parts.uri.query()) {
            Ok(asked) => Arc::new(asked),
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let Some(_reader) = self.enter() else {
            return call.problem(Refusal::Overloaded);
        };
        let from = match self.begin(&call, asked.after.as_ref()) {
            Ok(from) => from,
            Err(refused) => return refused,
        };
        let deadline = Instant::now() + asked.wait;
        let mut reading = Reading {
            from,
            feed: None,
            events: Vec::new(),
        };
        loop {
            reading = match self.read(&asked, reading).await {
                Ok(reading) => reading,
                Err(reason) => return call.problem(reason),
            };
            // A snapshot may have made the place obsolete before it was read.
            if reading.feed.is_none()
                && let Err(refused) = self.reaches(&call, reading.from)
            {
                return refused;
            }
            let over = Instant::now() >= deadline || (self.is_stopping)();
            if !reading.events.is_empty() || over {
                return self.page(&reading);
            }
            self.log_goes_on(reading.position(), deadline).await;
        }
    }

    fn page(&self, reading: &Reading) -> Answer {
        let journal = &self.worker.journal;
        let position = reading.position();
        // An LSN inside the last record that was read: what follows it comes next.
        let next = position.0.saturating_sub(1);
        let shown = json!({
            "events": reading.events.iter().map(event_json).collect::<Vec<_>>(),
            "next": format!("{next}.{}", journal.generation()),
            "more": position < journal.tail().durable_lsn(),
        });
        Answer::value(StatusCode::OK, &shown)
    }

    /// Where to begin; `Err`: the refusal of a place that this log does not have.
    fn begin(&self, call: &Call, after: Option<&LogPlace>) -> Result<Lsn, Answer> {
        let tail = self.worker.journal.tail();
        let durable = tail.durable_lsn();
        let Some(place) = after else {
            return Ok(tail.first_lsn());
        };
        let refused = |message: String| {
            let field = "after".into();
            call.invalid(Refusal::InvalidRequest, &[FieldError { field, message }])
        };
        // At the end itself stands the next event, which nobody has seen.
        if place.lsn >= durable {
            return Err(refused(format!(
                "lies beyond the end of the log, LSN {}: it is from another log, or from a history that a restored copy does not have",
                durable.0
            )));
        }
        // First: of what lies before the log's beginning, the generations are forgotten, too.
        let from = Lsn(place.lsn.0 + 1);
        self.reaches(call, from)?;
        if !self.has(place) {
            return Err(refused(
                "is from a history that this log, a restored copy, does not have".to_owned(),
            ));
        }
        Ok(from)
    }

    /// Whether the history of this log has `place`.
    fn has(&self, place: &LogPlace) -> bool {
        let Some(named) = &place.generation else {
            return true;
        };
        let generations = self.worker.journal.history().generations();
        let found = generations
            .iter()
            .position(|(it, _)| it.to_string() == *named);
        found.is_some_and(|found| {
            let parted = generations.get(found + 1);
            parted.is_none_or(|(_, first)| place.lsn < *first)
        })
    }

    /// `Err`: the refusal of a place before the log's beginning.
    fn reaches(&self, call: &Call, from: Lsn) -> Result<(), Answer> {
        let first = self.worker.journal.tail().first_lsn();
        if from >= first {
            return Ok(());
        }
        let facts = json!({ "first_lsn": first.0 });
        let detail = format!(
            "The log no longer has the events at LSN {}: it begins at LSN {}. Read the purchases again, or a sink's copy, and go on without after.",
            from.0, first.0
        );
        Err(call.problem_about(Reason::EventsForgotten, &detail, &facts))
    }

    /// Reads on, on a thread that serves no requests.
    async fn read(
        &self,
        asked: &Arc<EventsQuery>,
        mut reading: Reading,
    ) -> Result<Reading, Reason> {
        let _turn = self.reading.acquire().await;
        let journal = Arc::clone(&self.worker.journal);
        let asked = Arc::clone(asked);
        let read = tokio::task::spawn_blocking(move || {
            if reading.feed.is_none() {
                let tail = journal.tail();
                let feed = tail.feed_behind(reading.from)?;
                // Otherwise the feed begins later than it was to.
                reading.feed = feed.filter(|_| tail.first_lsn() <= reading.from);
            }
            reading.go_on(&asked)?;
            Ok::<_, JournalError>(reading)
        });
        match read.await {
            Ok(Ok(reading)) => Ok(reading),
            Ok(Err(error)) => {
                tracing::error!(event = "events_failed", "{error}");
                Err(Refusal::StorageUnavailable.into())
            }
            Err(_) => Err(Reason::NotReady),
        }
    }

    fn enter(&self) -> Option<ReaderPlace<'_>> {
        let more = |count| (count < self.readers_max).then_some(count + 1);
        let entered = (self.readers).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| ReaderPlace(&self.readers))
    }

    /// Waits until something stands at `from`, at most until `deadline`; and at least for a moment,
    /// since a log that grows by events of other kinds must not be read without a pause.
    async fn log_goes_on(&self, from: Lsn, deadline: Instant) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let goes_on = self.worker.journal.tail().durable_lsn() > from;
            if goes_on || Instant::now() >= deadline || (self.is_stopping)() {
                return;
            }
        }
    }
}

impl Reading {
    fn position(&self) -> Lsn {
        self.feed.as_ref().map_or(self.from, Feed::position)
    }

    /// Takes the wanted events of the next records.
    fn go_on(&mut self, asked: &EventsQuery) -> Result<(), JournalError> {
        let Some(feed) = &mut self.feed else {
            return Ok(());
        };
        for _ in 0..RECORDS_READ_MAX {
            match feed.next()? {
                Next::Event(entry, _) => {
                    if is_for_shops(&entry.event) && asked.names(&entry.event) {
                        self.events.push(entry);
                    }
                }
                Next::NotYet => break,
            }
            if self.events.len() >= asked.limit {
                break;
            }
        }
        Ok(())
    }
}

impl EventsQuery {
    fn names(&self, event: &Event) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind())
    }
}

impl LogPlace {
    fn parse(text: &str) -> Option<Self> {
        let (lsn, generation) = match text.split_once('.') {
            Some((lsn, generation)) => (lsn, Some(generation.to_owned())),
            None => (text, None),
        };
        let lsn = lsn.parse().ok().filter(|it| *it < u64::MAX).map(Lsn)?;
        Some(Self { lsn, generation })
    }
}

fn parse_query(query: Option<&str>) -> Result<EventsQuery, Vec<FieldError>> {
    let mut query = Query::of(query, &["after", "kinds", "limit", "wait_s"]);
    let after = query.parsed(
        "after",
        "must be the value of next from an earlier answer, or the LSN of an event",
        LogPlace::parse,
    );
    let known = Event::KINDS.join(", ");
    let kinds = query.parsed(
        "kinds",
        &format!("must be some of these, with commas between them: {known}"),
        |text| {
            let kinds: Vec<_> = text.split(',').map(str::to_owned).collect();
            let all_known = kinds.iter().all(|it| Event::KINDS.contains(&it.as_str()));
            all_known.then_some(kinds)
        },
    );
    let limit = query
        .integer("limit", 1, LIMIT_MAX)
        .unwrap_or(LIMIT_DEFAULT);
    let wait_s = query.integer("wait_s", 0, WAIT_S_MAX);
    let asked = EventsQuery {
        after,
        kinds: kinds.unwrap_or_default(),
        limit: usize::try_from(limit).expect("at most a thousand"),
        wait: Duration::from_secs(wait_s.unwrap_or(WAIT_S_DEFAULT)),
    };
    let errors = query.into_errors();
    if errors.is_empty() {
        Ok(asked)
    } else {
        Err(errors)
    }
}
