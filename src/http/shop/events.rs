//! Owns the shop's way to catch up: the events behind a place in the log, awaited if there are none
//! yet (long poll).
//!
//! Invariants: only durable events are shown, in the log's order, none left out: a place that the
//! log no longer reaches back to is refused instead; administrative acts and the risk settings are
//! not for shops; a request waits a limited time, and the number of waiting ones is limited, so that
//! readers take no slot that a sale needs; nothing waits while the process stops.
//! Deliberately absent: a cursor. The reader keeps its own place.

use crate::engine::event::{BuyerEvent, Event, Group};
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::Lsn;
use crate::journal::{AuditPage, LogEnd};
use crate::report::event_json;
use hyper::http::StatusCode;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Events per page.
const LIMIT_MAX: u64 = 1_000;
const LIMIT_DEFAULT: u64 = 100;
/// How long a request may wait for an event, in seconds.
const WAIT_S_MAX: u64 = 30;
const WAIT_S_DEFAULT: u64 = 20;
/// Requests of the process that may wait at one time. Others are answered at once.
const WAITING_MAX: usize = 64;
/// How often a waiting request looks whether the log went on.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The shop's events.
pub struct ShopEvents {
    pub worker: Arc<Worker>,
    /// Whether the process is about to end.
    pub is_stopping: Arc<dyn Fn() -> bool + Send + Sync>,
    pub waiting: Arc<WaitingReaders>,
}

/// The requests of the process that wait for an event.
#[derive(Debug, Default)]
pub struct WaitingReaders(AtomicUsize);

/// A waiting request's place, until dropped.
struct WaitingReader(Arc<WaitingReaders>);

impl WaitingReaders {
    fn enter(self: &Arc<Self>) -> Option<WaitingReader> {
        let more = |count| (count < WAITING_MAX).then_some(count + 1);
        let entered = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| WaitingReader(Arc::clone(self)))
    }
}

impl Drop for WaitingReader {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is asked for.
struct EventsQuery {
    /// `None`: from the first event that there is.
    after: Option<Lsn>,
    kinds: Vec<String>,
    limit: usize,
    wait: Duration,
}

impl ShopEvents {
    pub async fn list(&self, call: Call) -> Answer {
        let asked = match parse_query(call.parts.uri.query()) {
            Ok(asked) => Arc::new(asked),
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let from = asked.after.map(|after| Lsn(after.0 + 1));
        let mut from = match self.beginning(&call, from) {
            Ok(from) => from,
            Err(refused) => return refused,
        };
        let deadline = Instant::now() + asked.wait;
        let mut waiting = None;
        loop {
            let page = match self.page(&asked, from).await {
                Ok(page) => page,
                Err(reason) => return call.problem(reason),
            };
            // A snapshot may have made the place obsolete before it was read.
            if let Err(refused) = self.beginning(&call, Some(from)) {
                return refused;
            }
            from = page.next;
            let over = Instant::now() >= deadline || (self.is_stopping)();
            if page.entries.is_empty() && page.end == LogEnd::Reached && !over {
                waiting = waiting.or_else(|| self.waiting.enter());
                if waiting.is_some() {
                    self.log_goes_on(from, deadline).await;
                    continue;
                }
            }
            let shown = json!({
                "events": page.entries.iter().map(event_json).collect::<Vec<_>>(),
                // An LSN inside the last record that was looked at: what follows it comes next.
                "next": page.next.0.saturating_sub(1).to_string(),
                "more": page.next < self.worker.journal.tail().durable_lsn(),
            });
            return Answer::value(StatusCode::OK, &shown);
        }
    }

    /// `from`, or else where the log begins; `Err`: the refusal of a place that it does not reach.
    fn beginning(&self, call: &Call, from: Option<Lsn>) -> Result<Lsn, Answer> {
        let tail = self.worker.journal.tail();
        let (first, durable) = (tail.first_lsn(), tail.durable_lsn());
        let Some(from) = from else {
            return Ok(first);
        };
        if from < first {
            let facts = json!({ "first_lsn": first.0 });
            let detail = format!(
                "The log no longer has the events at LSN {}: it begins at LSN {}. Read the purchases again, or a sink's copy, and go on without after.",
                from.0, first.0
            );
            return Err(call.problem_about(Reason::EventsForgotten, &detail, &facts));
        }
        if from.0 > durable.0 + 1 {
            let message = format!(
                "lies beyond the end of the log, LSN {}: it is from another log, or from a history that a restored copy does not have",
                durable.0
            );
            let errors = [FieldError {
                field: "after".into(),
                message,
            }];
            return Err(call.invalid(Refusal::InvalidRequest, &errors));
        }
        Ok(from)
    }

    /// Reads the disk, so on a thread that serves no requests.
    async fn page(&self, asked: &Arc<EventsQuery>, from: Lsn) -> Result<AuditPage, Reason> {
        let journal = Arc::clone(&self.worker.journal);
        let asked = Arc::clone(asked);
        let read = tokio::task::spawn_blocking(move || {
            let wanted = |event: &Event| is_for_shops(event) && asked.names(event);
            journal.tail().events_from(from, asked.limit, wanted)
        });
        match read.await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(error)) => {
                tracing::error!(event = "events_failed", "{error}");
                Err(Refusal::StorageUnavailable.into())
            }
            Err(_) => Err(Reason::NotReady),
        }
    }

    /// Waits until something stands at `from`, at most until `deadline`.
    async fn log_goes_on(&self, from: Lsn, deadline: Instant) {
        while self.worker.journal.tail().durable_lsn() <= from
            && Instant::now() < deadline
            && !(self.is_stopping)()
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl EventsQuery {
    fn names(&self, event: &Event) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind())
    }
}

/// Whether shops may read it.
fn is_for_shops(event: &Event) -> bool {
    match event.group() {
        Group::Hold(_)
        | Group::Payment(_)
        | Group::Review(_)
        | Group::Refund(_)
        | Group::Dispute(_)
        | Group::Attempt(_)
        | Group::Catalogue(_)
        | Group::Buyer(BuyerEvent::TokensSpent(_)) => true,
        // Verdicts about buyers, gateway noise and administration are the operator's.
        Group::Buyer(_) | Group::Risk(_) | Group::Webhook(_) | Group::Core(_) | Group::Trail(_) => {
            false
        }
    }
}

fn parse_query(query: Option<&str>) -> Result<EventsQuery, Vec<FieldError>> {
    let mut query = Query::of(query, &["after", "kinds", "limit", "wait_s"]);
    let after = query.parsed(
        "after",
        "must be the value of next from an earlier answer, or the LSN of an event",
        |text| text.parse::<u64>().ok().filter(|it| *it < u64::MAX),
    );
    let known = Event::KINDS.join(", ");
    let kinds = query.parsed(
        "kinds",
        &format!("must be some of these, with commas between them: {known}"),
        |text| {
            let kinds = text.split(',').map(str::to_owned);
            let kinds: Vec<_> = kinds.collect();
            let all_known = kinds.iter().all(|it| Event::KINDS.contains(&it.as_str()));
            all_known.then_some(kinds)
        },
    );
    let limit = query
        .integer("limit", 1, LIMIT_MAX)
        .unwrap_or(LIMIT_DEFAULT);
    let wait_s = query
        .integer("wait_s", 0, WAIT_S_MAX)
        .unwrap_or(WAIT_S_DEFAULT);
    let asked = EventsQuery {
        after: after.map(Lsn),
        kinds: kinds.unwrap_or_default(),
        limit: usize::try_from(limit).expect("at most a thousand"),
        wait: Duration::from_secs(wait_s),
    };
    let errors = query.into_errors();
    if errors.is_empty() {
        Ok(asked)
    } else {
        Err(errors)
    }
}
