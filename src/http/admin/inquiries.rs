//! Owns the operator's look-ups about money: one purchase, one buyer, and every payment and refund
//! that is in progress or needs an operator.
//!
//! Invariants: nothing is changed; stuck ones come first, then those that have waited longest.
//! Deliberately absent: acting on the result (`refunds`).

use super::refunds::refund_json;
use crate::engine::dispute::Dispute;
use crate::engine::event::RuleName;
use crate::engine::lifecycle::PurchaseState;
use crate::engine::profile::{Judged, JudgedAs, Profile, RiskMarks};
use crate::engine::refusal::Refusal;
use crate::engine::score::Score;
use crate::engine::settings::AmountLimits;
use crate::engine::view::{BuyerView, More, OpenView, Page, PostCaptureView, PurchaseView};
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::shop::purchases::PurchaseLookup;
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::{Lsn, PurchaseId, Segment, ShardId, UserId};
use crate::journal::{Journal, UserCount};
use crate::money::Amount;
use crate::payments::gateway::Reference;
use crate::time::UnixMs;
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum number of payments, or of a buyer's purchases, per page.
const LIMIT_MAX: u64 = 1_000;
const LIMIT_DEFAULT: u64 = 100;

/// The state of a completed purchase with a refund in progress.
const REFUND_PENDING: &str = "refund_pending";

/// The operator's look-ups about money.
pub struct Inquiries {
    pub worker: Arc<Worker>,
    pub purchases: Arc<PurchaseLookup>,
}

impl Inquiries {
    pub async fn purchase(&self, call: Call) -> Answer {
        let id = PurchaseId::parse_purchase(&call.param);
        let found = id.and_then(|id| self.worker.journal.reads().purchase_with_post_capture(id));
        let Some((view, post_capture, durable_at)) = found else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        if let Err(reason) = self.worker.durable(Some(durable_at)).await {
            return call.problem(reason);
        }
        // As the shop sees it, with further fields.
        let mut shown = self.purchases.json(&view);
        let more = self.for_operator(&view, &post_capture).to_string();
        let brace = shown.pop();
        debug_assert_eq!(brace, Some(b'}'), "a purchase is an object");
        shown.push(b',');
        shown.extend_from_slice(&more.as_bytes()[1..]);
        Answer::json(StatusCode::OK, shown)
    }

    fn for_operator(&self, view: &PurchaseView, post_capture: &PostCaptureView) -> Value {
        json!({
            "gateway_reference": self.reference(view),
            "request_id": view.request.map(|request| request.to_string()),
            "capture_before": time(view.capture_before),
            "void_deadline": time(view.void_deadline),
            "review": view.review.as_ref().map(|review| json!({
                "reasons": review.reasons,
                "deadline": time(review.deadline),
            })),
            "refunds": post_capture.refunds.iter().map(refund_json).collect::<Vec<_>>(),
            "dispute": post_capture.disputes.iter().map(Dispute::reported_at).max().map(
                |at| json!({ "happened_at": at.to_string() }),
            ),
            "reward_tokens": {
                "granted": post_capture.tokens.get(),
                "asked_back": post_capture.tokens_asked_back.get(),
            },
        })
    }

    /// Our reference at the gateway; none before a payment has started.
    fn reference(&self, view: &PurchaseView) -> Option<String> {
        let request = view.request?;
        let log_id = self.worker.journal.log_id();
        Some(Reference::new(log_id, view.purchase, request).to_string())
    }

    pub async fn user(&self, call: Call) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return call.bad_path_id("user_id");
        };
        let Some((view, _)) = self.worker.journal.reads().buyer(&user) else {
            return call.problem(Reason::UserNotFound);
        };
        // The last read has the largest LSN, so waiting for it covers all reads.
        let (counts, durable_at) = self.worker.journal.risk().user_counts(&user);
        let mut shown = buyer_json(&self.worker.journal, &view);
        shown["velocity"] = velocity(&counts);
        self.worker.read(&call, durable_at, &shown).await
    }

    /// A buyer's holds and purchases, in the order of their creation.
    pub async fn user_purchases(&self, call: Call) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return call.bad_path_id("user_id");
        };
        let is_theirs = |id: &PurchaseId| id.shard() == ShardId::of(&user);
        let (after, limit) = match purchases_query(call.parts.uri.query(), is_theirs) {
            Ok(query) => query,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let journal = Arc::clone(&self.worker.journal);
        let read = move || journal.reads().purchases_of(&user, after, limit);
        let Ok(found) = tokio::task::spawn_blocking(read).await else {
            return call.problem(Reason::NotReady);
        };
        let Some((page, durable_at)) = found else {
            return call.problem(Reason::UserNotFound);
        };
        self.page(&call, &page, durable_at).await
    }

    /// Purchases with an open dispute.
    pub async fn disputes(&self, call: Call) -> Answer {
        let (after, limit) = match purchases_query(call.parts.uri.query(), |_| true) {
            Ok(query) => query,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        // It takes the lock of every shard.
        let journal = Arc::clone(&self.worker.journal);
        let read = move || journal.reads().disputed(after, limit);
        let Ok((page, durable_at)) = tokio::task::spawn_blocking(read).await else {
            return call.problem(Reason::NotReady);
        };
        self.page(&call, &page, durable_at).await
    }

    async fn page(&self, call: &Call, page: &Page<PurchaseView>, durable_at: Lsn) -> Answer {
        if let Err(reason) = self.worker.durable(Some(durable_at)).await {
            return call.problem(reason);
        }
        let next = match page.more {
            More::Yes => page.entries.last().map(|it| it.purchase.to_string()),
            More::No => None,
        };
        let shown = page.entries.iter().map(|view| self.purchases.json(view));
        let mut body = br#"{"purchases":["#.to_vec();
        body.extend_from_slice(&shown.collect::<Vec<_>>().join(&b','));
        body.extend_from_slice(format!(r#"],"next":{}}}"#, json!(next)).as_bytes());
        Answer::json(StatusCode::OK, body)
    }

    pub async fn open_payments(&self, call: Call) -> Answer {
        let (state, after, limit) = match open_query(call.parts.uri.query()) {
            Ok(query) => query,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        // It takes the lock of every shard, so it runs on the thread of the reports.
        let journal = Arc::clone(&self.worker.journal);
        let Ok((mut open, durable_at)) =
            tokio::task::spawn_blocking(move || journal.reads().open_views()).await
        else {
            return call.problem(Reason::NotReady);
        };
        open.retain(|open| state.is_none_or(|state| state == state_of(open)));
        let total = open.len();
        open.retain(|open| after.is_none_or(|after| place_of(open) > after));
        open.sort_by_key(place_of);
        let more = open.len() > limit;
        open.truncate(limit);
        let next = open.last().filter(|_| more).map(|open| {
            let (Reverse(stuck), since, id) = place_of(open);
            format!("{}.{}.{id}", u8::from(stuck), since.get())
        });
        let shown = json!({
            "payments": open.iter().map(|open| self.open_json(open)).collect::<Vec<_>>(),
            "total": total,
            "more": more,
            "next": next,
        });
        self.worker.read(&call, durable_at, &shown).await
    }

    fn open_json(&self, open: &OpenView) -> Value {
        let OpenView { purchase, refund } = open;
        let amount = refund
            .as_ref()
            .map_or(purchase.quote.amount, |it| it.amount);
        json!({
            "purchase_id": purchase.purchase.to_string(),
            "user_id": purchase.user.as_str(),
            "state": state_of(open),
            "stuck": is_stuck(open),
            "since": since(open).to_string(),
            "reason": match refund {
                Some(refund) => Some(refund.note.as_str()),
                None => purchase.reason,
            },
            "refund_number": refund.as_ref().map(|refund| refund.number),
            "amount": amount.get(),
            "currency": purchase.quote.currency.as_str(),
            "void_deadline": time(purchase.void_deadline),
            "gateway_reference": self.reference(purchase),
        })
    }
}

pub fn buyer_json(journal: &Journal, view: &BuyerView) -> Value {
    let now = journal.now();
    let settings = journal.settings();
    let window_ms = journal.upkeep().rate().window_ms;
    let counted = |at: &&UnixMs| now.since_ms(**at) < window_ms;
    let committed = view.committed.iter();
    let committed =
        committed.map(|(product, units)| json!({ "product_id": product.as_str(), "units": units }));
    json!({
        "user_id": view.user.as_str(),
        "committed": committed.collect::<Vec<_>>(),
        "attempts_in_window": view.attempts.iter().filter(counted).count(),
        "tokens": { "balance": view.tokens.get(), "debt": view.token_debt.get() },
        "purchases": view.purchases,
        "spending": spending(view, &settings.amounts),
        "segment": view.segment.as_ref().map(Segment::as_str),
        "account_since": time(view.rating.account_since),
        "risk": risk_json(view),
    })
}

/// Amount bought and limit per currency, for currencies with either.
fn spending(view: &BuyerView, limits: &AmountLimits) -> Value {
    let bought = view.spending.iter().map(|it| it.currency);
    let limited = limits.daily.iter().chain(&limits.lifetime);
    let currencies: BTreeSet<_> = bought
        .chain(limited.map(|(currency, _)| *currency))
        .collect();
    let of = |currency| {
        let known = view.spending.iter().find(|it| it.currency == currency);
        let (today, ever) = known.map_or((0, 0), |it| (it.today.get(), it.lifetime.get()));
        json!({
            "currency": currency.as_str(),
            "today": today,
            "daily_limit": limits.daily_in(currency).map(Amount::get),
            "lifetime": ever,
            "lifetime_limit": limits.lifetime_in(currency).map(Amount::get),
        })
    };
    currencies.into_iter().map(of).collect()
}

/// The risk of a buyer: the score of the model, otherwise the operator's, and the profile.
fn risk_json(view: &BuyerView) -> Value {
    let profile = view.profile.as_ref();
    let by_model = profile.and_then(|it| it.score).map(Score::get);
    let source = match (by_model, view.rating.risk_score) {
        (Some(_), _) => Some("model"),
        (None, Some(_)) => Some("operator"),
        (None, None) => None,
    };
    json!({
        "score": by_model.or(view.rating.risk_score),
        "score_source": source,
        "profile": profile.map(profile_json),
    })
}

fn profile_json(profile: &Profile) -> Value {
    let none = RiskMarks::default();
    let marks = profile.marks().unwrap_or(&none);
    json!({
        "first_seen": profile.first_seen.to_string(),
        "last_seen": profile.last_seen.to_string(),
        "attempts": profile.attempts,
        "refused": profile.refused,
        "purchases": profile.purchases,
        "declines": marks.declines,
        "blocked": marks.blocked,
        "reviews_approved": marks.reviews_approved,
        "reviews_rejected": marks.reviews_rejected,
        "disputes": marks.disputes,
        "chargebacks": marks.chargebacks,
        "token_shortfalls": marks.shortfalls,
        "tokens_short": marks.shortfall_tokens.get(),
        "decisions": marks.decisions.iter().rev().map(judged_json).collect::<Vec<_>>(),
    })
}

fn judged_json(judged: &Judged) -> Value {
    let reason = match judged.outcome {
        JudgedAs::Refused(reason) => Some(reason.reason()),
        JudgedAs::Approved(by) | JudgedAs::Rejected(by) => Some(by.as_str()),
        JudgedAs::Passed | JudgedAs::ToReview => None,
    };
    json!({
        "at": judged.at.to_string(),
        "outcome": judged.outcome.as_str(),
        "reason": reason,
        "score": judged.score.map(Score::get),
        "rules": judged.rules.iter().map(RuleName::as_str).collect::<Vec<_>>(),
    })
}

/// The buyer's counters that the rules in force use.
fn velocity(counts: &[UserCount]) -> Value {
    let counts = counts.iter().map(|it| {
        json!({
            "counter": it.counter.to_string(),
            "last_s": it.window_ms / 1_000,
            "count": it.count,
            "counted_up_to": it.up_to,
        })
    });
    counts.collect()
}

/// Start and size of a page of purchases, which begins behind one that `fits`.
fn purchases_query(
    query: Option<&str>,
    fits: impl Fn(&PurchaseId) -> bool,
) -> Result<(Option<PurchaseId>, usize), Vec<FieldError>> {
    let mut query = Query::of(query, &["after", "limit"]);
    let form = "must be the value of next from an earlier answer";
    let after = query.parsed("after", form, |text| {
        PurchaseId::parse_purchase(text).filter(&fits)
    });
    let limit = query.integer("limit", 1, LIMIT_MAX);
    let errors = query.into_errors();
    if !errors.is_empty() {
        return Err(errors);
    }
    let limit = usize::try_from(limit.unwrap_or(LIMIT_DEFAULT)).unwrap_or(usize::MAX);
    Ok((after, limit))
}

/// The position in the list: stuck ones first, then by waiting time.
type QueuePosition = (Reverse<bool>, UnixMs, PurchaseId);

fn place_of(open: &OpenView) -> QueuePosition {
    let id = open.purchase.purchase;
    (Reverse(is_stuck(open)), since(open), id)
}

fn parse_place(text: &str) -> Option<QueuePosition> {
    let (stuck, rest) = text.split_once('.')?;
    let (since, id) = rest.split_once('.')?;
    let stuck = match stuck {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let since = UnixMs::new(since.parse().ok()?);
    Some((Reverse(stuck), since, PurchaseId::parse_purchase(id)?))
}

/// State, position and page size.
type OpenAsked = (Option<&'static str>, Option<QueuePosition>, usize);

fn open_query(query: Option<&str>) -> Result<OpenAsked, Vec<FieldError>> {
    let states = PurchaseState::ALL.into_iter();
    let states = states.filter(|state| state.is_open_payment());
    let words = states.map(PurchaseState::as_str).chain([REFUND_PENDING]);
    let words: Vec<_> = words.collect();
    let mut query = Query::of(query, &["state", "after", "limit"]);
    let form = format!("must be one of {}", words.join(", "));
    let state = query.parsed("state", &form, |text| {
        words.iter().copied().find(|word| *word == text)
    });
    let after = query.parsed(
        "after",
        "must be the value of next from an earlier answer",
        parse_place,
    );
    let limit = query
        .integer("limit", 1, LIMIT_MAX)
        .unwrap_or(LIMIT_DEFAULT);
    let errors = query.into_errors();
    if errors.is_empty() {
        let limit = usize::try_from(limit).expect("at most a thousand");
        Ok((state, after, limit))
    } else {
        Err(errors)
    }
}

fn state_of(open: &OpenView) -> &'static str {
    match open.refund {
        Some(_) => REFUND_PENDING,
        None => open.purchase.state.as_str(),
    }
}

fn is_stuck(open: &OpenView) -> bool {
    matches!(
        open.purchase.state,
        PurchaseState::Stuck | PurchaseState::CaptureDiffers
    )
}

/// Since when it is in its state.
fn since(open: &OpenView) -> UnixMs {
    match &open.refund {
        Some(refund) => refund.started_at,
        None => open.purchase.updated_at(),
    }
}

fn time(at: Option<UnixMs>) -> Option<String> {
    at.map(|at| at.to_string())
}
