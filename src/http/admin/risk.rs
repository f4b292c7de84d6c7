//! Owns the operator's requests about risk: rules, pauses of buyers, ratings of buyers.
//!
//! Invariants: rules that do not parse change nothing and are answered with line and column; a
//! change is answered once durable; text that looks like a card number in a reason is refused, and
//! neither stored nor repeated. Deliberately absent: the language, and what rules lead to.

use super::reasons::{REASON_FORM, plain_reason};
use crate::engine::event::{BuyerPaused, BuyerRated, Pause, Rating, RiskRulesSet, RulesSource};
use crate::engine::refusal::Refusal;
use crate::engine::segments::Segmented;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::{Fields, InvalidBody, WORD_FIELD_FORM, nullable, required};
use crate::http::wire::problem::{FieldError, invalid_at};
use crate::ids::{Lsn, Segment, UserId};
use crate::journal::{Audit, NewRules, Revision, Rules, RulesAt, ScoringAt, WriteError};
use crate::risk::{self, RulesError};
use crate::time::UnixMs;
use crate::trace;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::sync::Arc;

/// Maximum score of a buyer.
const RISK_SCORE_MAX: u32 = 1_000;

/// Rules in force, pauses and ratings of buyers.
pub struct RiskCalls {
    pub worker: Arc<Worker>,
}

impl RiskCalls {
    pub async fn set_rules(&self, call: Call, body: Incoming) -> Answer {
        match self.put_rules(&call, body).await {
            Ok(()) => self.rules(call).await,
            Err(answer) => answer,
        }
    }

    pub async fn rules(&self, call: Call) -> Answer {
        let (rules, _) = self.worker.journal.risk().rules();
        let held = self.worker.journal.risk().rule_counts();
        let held = |name: &str| held.iter().find(|it| it.0.as_str() == name).map(|it| it.2);
        let mut shown = rules_json(&rules, self.worker.journal.now(), held);
        // The last read has the largest LSN, so waiting for it covers all reads.
        let (scoring, durable_at) = self.worker.journal.risk().scoring();
        shown["scoring"] = scoring_json(scoring.as_ref());
        self.worker.read(&call, durable_at, &shown).await
    }

    async fn put_rules(&self, call: &Call, body: Incoming) -> Result<(), Answer> {
        let form = form_of(call).ok_or_else(|| call.problem(Refusal::UnsupportedMediaType))?;
        let read = self.worker.any_body(call, body).await;
        let body = read.map_err(|reason| call.problem(reason))?;
        let (text, compiled) = understood(form, &body)
            .map_err(|wrong| invalid_at(call.id, wrong.line, wrong.column, &wrong.message))?;
        let new = NewRules {
            compiled: compiled.set,
            text,
            source: RulesSource::Administration,
            by: Some(call.by()),
        };
        // It takes the lock of every shard, so it runs on the thread of the reports.
        let journal = Arc::clone(&self.worker.journal);
        let acting = Arc::clone(call.acting());
        let acted = move |change: &Revision<RiskRulesSet>| {
            let before = change.before.as_ref().map(shown_in_trail);
            acting.acted(None, before.as_ref(), Some(&shown_in_trail(&change.after)))
        };
        let put = trace::carried(move || journal.risk().put_rules(new, Audit::Act(&acted)));
        let put = tokio::task::spawn_blocking(put);
        let told = put.await;
        let told = told.map_err(|_| call.problem(crate::http::wire::problem::Reason::NotReady))?;
        self.told(call, told.map_err(WriteError::Fault)).await
    }

    pub async fn pause(&self, call: Call, body: Incoming) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return call.bad_path_id("user_id");
        };
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        match pause_of(&body, self.worker.journal.now()) {
            Ok(pause) => self.set_pause(&call, user, Some(pause)).await,
            Err((refusal, errors)) => call.invalid(refusal, &errors),
        }
    }

    pub async fn unpause(&self, call: Call) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return call.bad_path_id("user_id");
        };
        self.set_pause(&call, user, None).await
    }

    async fn set_pause(&self, call: &Call, user: UserId, pause: Option<Pause>) -> Answer {
        let paused = BuyerPaused {
            user: user.clone(),
            pause,
            by: call.by(),
        };
        let after = paused.pause.as_ref().map(pause_json);
        let acted = |before: &Option<Pause>| {
            let before = before.as_ref().map(pause_json);
            let target = Some(user.as_str());
            call.acting().acted(target, before.as_ref(), after.as_ref())
        };
        let risk = self.worker.journal.risk();
        let told = risk.pause_buyer(paused, Audit::Act(&acted));
        match self.told(call, told).await {
            Ok(()) => self.buyer_risk_answer(call, &user).await,
            Err(answer) => answer,
        }
    }

    pub async fn rating(&self, call: Call) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return call.bad_path_id("user_id");
        };
        self.buyer_risk_answer(&call, &user).await
    }

    pub async fn rate(&self, call: Call, body: Incoming) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return call.bad_path_id("user_id");
        };
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let rating = match rating_of(&body, self.worker.journal.now()) {
            Ok(rating) => rating,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let rated = BuyerRated {
            user: user.clone(),
            rating,
            by: call.by(),
        };
        let after = rating_json(&rated.rating);
        let acted = |before: &Option<Rating>| {
            let before = before.as_ref().map(rating_json);
            let target = Some(user.as_str());
            call.acting().acted(target, before.as_ref(), Some(&after))
        };
        let risk = self.worker.journal.risk();
        let told = risk.rate_buyer(rated, Audit::Act(&acted));
        match self.told(&call, told).await {
            Ok(()) => self.buyer_risk_answer(&call, &user).await,
            Err(answer) => answer,
        }
    }

    async fn buyer_risk_answer(&self, call: &Call, user: &UserId) -> Answer {
        let (pause, rating, _) = self.worker.journal.risk().buyer(user);
        let mut shown = rating_json(&rating.unwrap_or_default());
        shown["user_id"] = user.as_str().into();
        let (segment, computed, durable_at) = self.worker.journal.risk().buyer_segment(user);
        shown["effective_segment"] = segment.as_ref().map(Segment::as_str).into();
        shown["computed"] = computed.as_ref().map(computed_json).unwrap_or_default();
        shown["pause"] = pause.as_ref().map(pause_json).unwrap_or_default();
        self.worker.read(call, durable_at, &shown).await
    }

    /// Answers once the record is durable.
    async fn told(&self, call: &Call, recorded: Result<Lsn, WriteError>) -> Result<(), Answer> {
        let durable_at = match recorded {
            Ok(lsn) => lsn,
            Err(WriteError::Refused(refusal)) => return Err(call.problem(refusal)),
            Err(WriteError::Fault(_)) => return Err(call.problem(Refusal::StorageUnavailable)),
        };
        let durable = self.worker.durable(Some(durable_at)).await;
        durable.map_err(|reason| call.problem(reason))
    }
}

/// The format of rules in a body.
#[derive(Copy, Clone)]
enum Form {
    Toml,
    Json,
}

fn form_of(call: &Call) -> Option<Form> {
    let mut types = call.parts.headers.get_all(CONTENT_TYPE).iter();
    let kind = types.next()?.to_str().ok()?;
    types.next().is_none().then_some(())?;
    let kind = kind.split(';').next()?.trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/toml" => Some(Form::Toml),
        "application/json" => Some(Form::Json),
        _ => None,
    }
}

fn understood(form: Form, body: &[u8]) -> Result<(String, risk::Compiled), RulesError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = String::from_utf8_lossy(&body[..error.valid_up_to()]);
        RulesError {
            line: before.matches('\n').count() + 1,
            column: before
                .rsplit('\n')
                .next()
                .map_or(0, |it| it.chars().count())
                + 1,
            message: "this is not UTF-8".to_owned(),
        }
    })?;
    let text = match form {
        Form::Toml => text.to_owned(),
        Form::Json => risk::toml_of_json(text)?,
    };
    let compiled = risk::compile_to_enforce(&text)?;
    Ok((text, compiled))
}

fn rules_json(rules: &Rules, now: UnixMs, held: impl Fn(&str) -> Option<u64>) -> Value {
    let Some(in_force) = &rules.in_force else {
        return json!({ "version": null, "rules": [], "previous": null });
    };
    let mut shown = version_json(in_force);
    let listed = match risk::compile(&in_force.set.text) {
        Ok(compiled) => {
            let until = risk::warms_up_until(&compiled.set, &in_force.set.kept, now);
            let rules = compiled.shown.iter().zip(until).map(|(rule, until)| {
                json!({
                    "name": rule.name,
                    "when": rule.when,
                    "then": rule.then.as_str(),
                    "warms_up_until": until.map(|at| at.to_string()),
                    "hits": held(&rule.name).unwrap_or(0),
                })
            });
            rules.collect()
        }
        // It compiled when it was set; if not, the start has reported it.
        Err(_) => Vec::new(),
    };
    if let Value::Object(shown) = &mut shown {
        shown.insert("rules".to_owned(), Value::Array(listed));
        let previous = rules.previous.as_ref().map(version_json);
        shown.insert("previous".to_owned(), previous.unwrap_or(Value::Null));
    }
    shown
}

/// How attempts are scored; `version` is the LSN of the event that says so.
fn scoring_json(scoring: Option<&ScoringAt>) -> Value {
    let model = scoring.and_then(|it| it.set.model.as_ref());
    json!({
        "version": scoring.map(|it| it.lsn.0),
        "set_at": scoring.map(|it| it.at.to_string()),
        "features_of_every_attempt": scoring.is_some_and(|it| it.set.features.is_some()),
        "model": model.map(|model| json!({
            "digest": hex::encode(model.digest.0),
            "kind": model.kind,
            "name": model.name,
        })),
    })
}

/// Rules in the audit trail; their version is the LSN of the event after the act.
fn shown_in_trail(set: &RiskRulesSet) -> Value {
    json!({ "source": set.source.as_str(), "text": set.text })
}

fn pause_json(pause: &Pause) -> Value {
    json!({ "until": pause.until.to_string(), "reason": pause.reason })
}

fn rating_json(rating: &Rating) -> Value {
    json!({
        "segment": rating.segment.as_ref().map(Segment::as_str),
        "risk_score": rating.risk_score,
        "account_since": rating.account_since.map(|at| at.to_string()),
    })
}

fn computed_json(computed: &Segmented) -> Value {
    json!({
        "segment": computed.segment().as_str(),
        "run": computed.run(),
        "at": computed.at().to_string(),
    })
}

fn version_json(rules: &RulesAt) -> Value {
    let by = rules.set.by.as_ref();
    json!({
        "version": rules.lsn.0,
        "set_at": rules.at.to_string(),
        "set_by": by.map(|act| act.owner.as_str().to_owned()),
        "source": rules.set.source.as_str(),
        "text": rules.set.text,
    })
}

fn pause_of(body: &[u8], now: UnixMs) -> Result<Pause, InvalidBody> {
    let mut fields = Fields::of(body, &["until", "reason"]);
    let until = fields.time(required("until"));
    if until.is_some_and(|until| until <= now) {
        fields.wrong("until", "must be in the future");
    }
    let reason = fields.words(required("reason"), REASON_FORM, plain_reason);
    match (until, reason) {
        (Some(until), Some(reason)) if fields.are_fine() => Ok(Pause { until, reason }),
        _ => Err((Refusal::InvalidRequest, fields.into_errors())),
    }
}

fn rating_of(body: &[u8], now: UnixMs) -> Result<Rating, Vec<FieldError>> {
    let mut fields = Fields::of(body, &["segment", "risk_score", "account_since"]);
    let segment = fields.parsed(nullable("segment"), WORD_FIELD_FORM, Segment::parse);
    let rating = Rating {
        segment,
        risk_score: fields.small(nullable("risk_score"), 0, RISK_SCORE_MAX),
        account_since: fields.time(nullable("account_since")),
    };
    // Risk rules use the account's age, which must not be negative.
    if rating.account_since.is_some_and(|since| since > now) {
        fields.wrong("account_since", format!("must be at most now, {now}"));
    }
    if fields.are_fine() {
        Ok(rating)
    } else {
        Err(fields.into_errors())
    }
}
