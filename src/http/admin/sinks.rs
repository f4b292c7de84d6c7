//! Owns the operator's requests about sinks and their dead letters.
//!
//! Invariants: an act on a sink is in the audit trail before it takes effect; nothing here waits
//! for a sink except a redrive, which has a timeout and blocks no thread.

use super::endpoints::endpoint_json;
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::{Fields, optional, required};
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::Lsn;
use crate::journal::Elsewhere;
use crate::report::feed::{Gap, Lost, Mode, Redriven, SinkRefusal, SinkStatus, Sinks, letter_json};
use crate::report::webhooks::WebhookEndpoint;
use hyper::body::Incoming;
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Default number of dead letters per page.
const LETTERS_LIMIT_DEFAULT: u64 = 100;
const LETTERS_LIMIT_MAX: u64 = 1_000;

/// Sinks and their dead letters.
pub struct SinkCalls {
    pub worker: Arc<Worker>,
    pub sinks: Arc<Sinks>,
    /// Those of the sinks that are endpoints of webhooks.
    pub endpoints: Vec<Arc<WebhookEndpoint>>,
}

impl SinkCalls {
    pub fn list(&self) -> Answer {
        let shown = |sink: &SinkStatus| {
            let mut shown = sink_json(sink);
            let mut endpoints = self.endpoints.iter();
            if let Some(endpoint) = endpoints.find(|it| it.settings().sink == sink.name) {
                shown["endpoint"] = endpoint_json(endpoint);
            }
            shown
        };
        let sinks: Vec<_> = self.sinks.status().iter().map(shown).collect();
        Answer::value(StatusCode::OK, &json!({ "sinks": sinks }))
    }

    pub async fn set(&self, call: Call, mode: Mode) -> Answer {
        let name = call.param.clone();
        if !self.sinks.has(&name) {
            return call.problem(Reason::NotFound);
        }
        let status = self.sinks.status();
        let known = status.iter().find(|sink| sink.name == name);
        let before = known.map(|sink| json!({ "mode": sink.mode.as_str() }));
        let after = json!({ "mode": mode.as_str() });
        let acting = call.acting();
        let acted = acting.acted(Some(&name), before.as_ref(), Some(&after));
        if let Err(reason) = self.worker.write_down(acted).await {
            return call.problem(reason);
        }
        let sinks = &self.sinks;
        let told = match mode {
            Mode::Paused => sinks.pause(&name),
            Mode::Run | Mode::GivenUp => sinks.resume(&name),
        };
        match told {
            Ok(status) => Answer::value(StatusCode::OK, &sink_json(&status)),
            Err(_) => call.problem(Reason::NotFound),
        }
    }

    pub async fn dead_letters(&self, call: Call) -> Answer {
        let mut query = Query::of(
            call.parts.uri.query(),
            &["sink", "from_lsn", "after", "limit"],
        );
        let sink = query.text("sink");
        let from = Lsn(query.integer("from_lsn", 0, u64::MAX).unwrap_or(0));
        let after = query.parsed(
            "after",
            "must be the value of next from an earlier answer",
            |text| {
                let (sink, lsn) = text.rsplit_once(':')?;
                Some((sink.to_owned(), lsn.parse::<u64>().ok()?))
            },
        );
        let limit = query.integer("limit", 1, LETTERS_LIMIT_MAX);
        let limit = usize::try_from(limit.unwrap_or(LETTERS_LIMIT_DEFAULT)).unwrap_or(usize::MAX);
        let errors = query.into_errors();
        if !errors.is_empty() {
            return call.invalid(Refusal::InvalidRequest, &errors);
        }
        let sinks = Arc::clone(&self.sinks);
        let read = tokio::task::spawn_blocking(move || {
            let mut shown: Vec<Value> = Vec::new();
            let mut total = 0;
            let mut names = sinks.with_letters();
            names.sort_unstable();
            let after = after.unwrap_or_default();
            names.retain(|name| *name >= after.0);
            let wanted = names
                .iter()
                .filter(|it| sink.as_ref().is_none_or(|sink| sink == *it));
            for name in wanted {
                let seen = if *name == after.0 {
                    Lsn(after.1.saturating_add(1))
                } else {
                    Lsn(0)
                };
                let letters = sinks.letters(name, from.max(seen), None)?;
                total += letters.len();
                let room = limit - shown.len();
                shown.extend(letters.iter().take(room).map(|it| letter_json(name, it)));
            }
            Ok::<_, crate::report::feed::LetterError>((shown, total))
        });
        match read.await {
            Ok(Ok((letters, total))) => {
                let more = total > letters.len();
                let last = letters.last().filter(|_| more);
                let next = last.map(|it| {
                    let (sink, lsn) = (it["sink"].as_str(), it["lsn"].as_u64());
                    format!("{}:{}", sink.unwrap_or_default(), lsn.unwrap_or_default())
                });
                let shown = json!({
                    "dead_letters": letters, "total": total, "more": more, "next": next,
                });
                Answer::value(StatusCode::OK, &shown)
            }
            Ok(Err(error)) => {
                tracing::error!(event = "dead_letters_unreadable", "{error}");
                call.problem(Refusal::StorageUnavailable)
            }
            Err(_) => call.problem(Reason::NotReady),
        }
    }

    pub async fn redrive(&self, call: Call, body: Incoming) -> Answer {
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let (sink, from, to) = match self.redrive_of(&body) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let after = json!({ "from": from.0, "to": to.map(|lsn| lsn.0) });
        let acted = call.acting().acted(Some(&sink), None, Some(&after));
        if let Err(reason) = self.worker.write_down(acted).await {
            return call.problem(reason);
        }
        let redriven = match self.sinks.redrive(&sink, from, to).await {
            Ok(redriven) => redriven,
            Err(SinkRefusal::Unknown) => return call.problem(Reason::NotFound),
            Err(SinkRefusal::Down(why)) => Redriven {
                failure: Some(why),
                ..Redriven::default()
            },
        };
        let status = match (&redriven.failure, redriven.next) {
            (Some(_), _) => "sink_down",
            (None, Some(_)) => "unfinished",
            (None, None) => "done",
        };
        let shown = json!({
            "sink": sink,
            "status": status,
            "delivered": redriven.delivered,
            "refused": redriven.refused,
            "next": redriven.next.map(|it| it.0),
            "cause": redriven.failure,
        });
        Answer::value(StatusCode::OK, &shown)
    }

    fn redrive_of(&self, body: &[u8]) -> Result<(String, Lsn, Option<Lsn>), Vec<FieldError>> {
        let mut fields = Fields::of(body, &["sink", "from", "to"]);
        let sink = fields.text(required("sink"));
        let from = fields.integer(optional("from"), 0, i64::MAX);
        let to = fields.integer(optional("to"), 0, i64::MAX);
        if sink.as_ref().is_some_and(|sink| !self.sinks.has(sink)) {
            fields.wrong("sink", "is not the name of a running sink");
        }
        let lsn = |value: i64| Lsn(value.unsigned_abs());
        match sink {
            Some(sink) if fields.are_fine() => Ok((sink, lsn(from.unwrap_or(0)), to.map(lsn))),
            _ => Err(fields.into_errors()),
        }
    }
}

/// The JSON of a sink for operators.
pub fn sink_json(sink: &SinkStatus) -> Value {
    let gap = |gap: &Gap| json!({ "from_lsn": gap.from, "to_lsn": gap.to });
    let lost = |lost: &Lost| {
        json!({
            "generation": lost.generation.to_string(),
            "from_lsn": lost.from,
            "to_lsn": lost.to,
            "events": lost.events,
        })
    };
    let elsewhere = |it: Elsewhere| {
        json!({
            "generation": it.cursor.generation.to_string(),
            "cursor_lsn": it.cursor.lsn.0,
            "why": it.parting.to_string(),
        })
    };
    json!({
        "name": sink.name,
        "mode": sink.mode.as_str(),
        "up": sink.up,
        "failure": sink.failure,
        "cursor_lsn": sink.cursor.0,
        "lag_bytes": sink.lag_bytes,
        "age_ms": sink.age_ms,
        "delivered": sink.delivered,
        "rejected": sink.rejected,
        "retries": sink.retries,
        "gaps": sink.gaps.iter().map(gap).collect::<Vec<_>>(),
        "lost": sink.lost.iter().map(lost).collect::<Vec<_>>(),
        "elsewhere": sink.elsewhere.map(elsewhere),
        "dead_letter_bytes": sink.dead_letter_bytes,
    })
}
