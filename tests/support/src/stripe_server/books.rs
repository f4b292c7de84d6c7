//! The company: intents, charges, refunds and stored results, and what each request does to them.

use super::cards::{CardIssuer, issuer, refund_status};
use super::hooks::Event;
use super::site::Hasty;
use super::wire::{Op, Reply, StripeRequest};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// How a request ended: with an answer that its key stands for from now on, or refused before
/// anything was done.
type RequestEnd = Result<Reply, Reply>;

/// One intent, as the books have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    pub id: String,
    pub reference: Option<String>,
    pub status: String,
    pub currency: String,
    pub amount: i64,
    pub captured: i64,
    pub refunded: i64,
    /// How often money was set aside, taken, let go; and how often the card was declined.
    pub authorizations: u32,
    pub captures: u32,
    pub cancels: u32,
    pub declines: u32,
    /// Somebody took or gave back money at the company's own site.
    pub by_hand: bool,
    /// What a dispute took.
    pub charged_back: i64,
}

impl Booked {
    /// What was taken and is neither given back nor disputed.
    pub(super) fn left(&self) -> i64 {
        self.captured - self.refunded - self.charged_back
    }
}

pub(super) struct Intent {
    pub(super) booked: Booked,
    pub(super) payment_method: String,
    pub(super) created: u64,
    pub(super) metadata: Map<String, Value>,
    pub(super) charge: Option<String>,
    pub(super) error: Option<Value>,
    pub(super) cancellation_reason: Option<String>,
    /// The cardholder disputed it.
    pub(super) disputed: bool,
}

pub(super) struct RefundMade {
    pub(super) id: String,
    pub(super) intent: usize,
    pub(super) amount: i64,
    pub(super) status: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) created: u64,
}

#[derive(Default)]
pub(super) struct StripeBooks {
    pub(super) intents: Vec<Intent>,
    by_id: HashMap<String, usize>,
    pub(super) refunds: Vec<RefundMade>,
    stored: HashMap<String, (StripeRequest, Reply)>,
    in_use: HashSet<String>,
    events: Vec<Event>,
    events_ever: u64,
    /// Whether the account has the search.
    pub(super) searchable: bool,
    /// Whether the search has nothing yet of what was made.
    pub(super) search_is_behind: bool,
    /// Whether every refund is refused.
    pub(super) refuses_refunds: bool,
    /// How much less than was refunded the next look at an intent shows: its books lag behind.
    pub(super) lags: Option<i64>,
    /// Who captures at the company's own site.
    pub(super) hasty: Option<Hasty>,
}

/// Currencies of which Stripe takes and gives back amounts in tens only.
const THREE_DECIMALS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];
/// The largest amount of most currencies.
const AMOUNT_MAX: i64 = 99_999_999;

/// What whoever cancels may give as the reason.
const CANCELLATION_REASONS: [&str; 4] = [
    "duplicate",
    "fraudulent",
    "requested_by_customer",
    "abandoned",
];

const CREATE_FIELDS: [&str; 10] = [
    "amount",
    "currency",
    "capture_method",
    "payment_method",
    "payment_method_types[]",
    "expand[]",
    "description",
    "confirm",
    "off_session",
    "error_on_requires_action",
];

impl StripeBooks {
    /// Carries a request out, once for each key.
    pub(super) fn answer(&mut self, asked: &StripeRequest) -> Reply {
        if !asked.let_in {
            return Reply::error(401, "invalid_request_error", "");
        }
        if let Some(key) = &asked.key {
            if self.in_use.contains(key) {
                return Reply::error(409, "idempotency_error", "idempotency_key_in_use");
            }
            if let Some((first, reply)) = self.stored.get(key) {
                if !first.same_as(asked) {
                    return Reply::error(400, "idempotency_error", "");
                }
                let replayed = true;
                return Reply {
                    replayed,
                    ..reply.clone()
                };
            }
        }
        match self.carry_out(asked) {
            Ok(reply) => {
                self.keep(asked, &reply);
                reply
            }
            Err(refused) => refused,
        }
    }

    /// Stores a result under the request's key, in place of any other.
    pub(super) fn keep(&mut self, asked: &StripeRequest, reply: &Reply) {
        if let Some(key) = &asked.key {
            self.stored
                .insert(key.clone(), (asked.clone(), reply.clone()));
        }
    }

    pub(super) fn knows(&self, asked: &StripeRequest) -> bool {
        let key = asked.key.as_ref();
        key.is_some_and(|key| self.stored.contains_key(key) || self.in_use.contains(key))
    }

    /// Takes the request's key in use; `false` where it is already.
    pub(super) fn begin(&mut self, asked: &StripeRequest) -> bool {
        asked
            .key
            .as_ref()
            .is_none_or(|key| self.in_use.insert(key.clone()))
    }

    pub(super) fn end(&mut self, asked: &StripeRequest) {
        if let Some(key) = &asked.key {
            self.in_use.remove(key);
        }
    }

    pub(super) fn forget_keys(&mut self) {
        self.stored.clear();
    }

    pub(super) fn stored(&self, path: &str) -> bool {
        self.stored.values().any(|(asked, _)| asked.path == path)
    }

    pub(super) fn booked(&self) -> Vec<Booked> {
        self.intents.iter().map(|it| it.booked.clone()).collect()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn carry_out(&mut self, asked: &StripeRequest) -> RequestEnd {
        match asked.op {
            Op::Create => self.create(asked),
            Op::Confirm => self.confirm(asked),
            Op::Capture => self.capture(asked),
            Op::Cancel => self.cancel(asked),
            Op::Get => {
                let at = self.find(asked)?;
                let shown = self.intent(at, asked.expands("latest_charge"));
                self.lags = None;
                Ok(Reply::ok(&shown))
            }
            Op::List => self.list(asked),
            Op::Search => self.search(asked),
            Op::Refund => self.refund(asked),
            Op::ListRefunds => self.list_refunds(asked),
            Op::Other => Err(Reply::error(404, "invalid_request_error", "")),
        }
    }

    fn create(&mut self, asked: &StripeRequest) -> RequestEnd {
        let known = |name: &str| CREATE_FIELDS.contains(&name) || name.starts_with("metadata[");
        if asked.fields.iter().any(|(name, _)| !known(name)) {
            return Err(Reply::invalid("parameter_unknown"));
        }
        let amount = asked.number("amount").filter(|amount| *amount > 0);
        let amount = amount.ok_or_else(|| Reply::invalid("parameter_invalid_integer"))?;
        let currency = asked.field("currency").filter(|it| it.len() == 3);
        let currency = currency.ok_or_else(|| Reply::invalid("parameter_missing"))?;
        if THREE_DECIMALS.contains(&currency) && amount % 10 != 0 {
            return Err(Reply::invalid("parameter_invalid_integer"));
        }
        if amount > AMOUNT_MAX {
            return Err(Reply::invalid("amount_too_large"));
        }
        let payment_method = asked.field("payment_method").unwrap_or_default();
        if issuer(payment_method).is_none() {
            return Err(Reply::invalid("resource_missing"));
        }
        assert_eq!(
            asked.field("capture_method"),
            Some("manual"),
            "no other is served"
        );
        let metadata = asked.metadata();
        let reference = metadata.get("holdfast_reference").and_then(Value::as_str);
        let at = self.intents.len();
        let id = format!("pi_{at:016x}");
        self.by_id.insert(id.clone(), at);
        self.intents.push(Intent {
            booked: Booked {
                id,
                reference: reference.map(str::to_owned),
                status: "requires_confirmation".to_owned(),
                currency: currency.to_owned(),
                amount,
                captured: 0,
                refunded: 0,
                authorizations: 0,
                captures: 0,
                cancels: 0,
                declines: 0,
                by_hand: false,
                charged_back: 0,
            },
            payment_method: payment_method.to_owned(),
            created: now_s(),
            metadata,
            charge: None,
            error: None,
            cancellation_reason: None,
            disputed: false,
        });
        Ok(Reply::ok(&self.intent(at, false)))
    }

    fn confirm(&mut self, asked: &StripeRequest) -> RequestEnd {
        let at = self.find(asked)?;
        let it = &mut self.intents[at];
        if !matches!(
            it.booked.status.as_str(),
            "requires_confirmation" | "requires_payment_method"
        ) {
            return Ok(Reply::invalid("payment_intent_unexpected_state"));
        }
        match issuer(&it.payment_method).expect("it was checked when it was made") {
            CardIssuer::Approves => {
                "requires_capture".clone_into(&mut it.booked.status);
                it.booked.authorizations += 1;
                it.charge = Some(format!("ch_{at:016x}"));
                it.error = None;
                self.happened(at, "payment_intent.amount_capturable_updated");
                let shown = self.intent(at, asked.expands("latest_charge"));
                self.hurry(at);
                Ok(Reply::ok(&shown))
            }
            CardIssuer::WantsAuthentication => {
                "requires_action".clone_into(&mut it.booked.status);
                self.happened(at, "payment_intent.requires_action");
                Ok(Reply::ok(&self.intent(at, asked.expands("latest_charge"))))
            }
            CardIssuer::Declines(code, decline_code) => {
                let mut error = json!({"type": "card_error", "code": code});
                if !decline_code.is_empty() {
                    error["decline_code"] = decline_code.into();
                }
                "requires_payment_method".clone_into(&mut it.booked.status);
                it.booked.declines += 1;
                it.charge = Some(format!("ch_{at:016x}"));
                it.error = Some(error.clone());
                self.happened(at, "payment_intent.payment_failed");
                error["payment_intent"] = self.intent(at, false);
                let reply = Reply::ok(&json!({ "error": error }));
                Ok(Reply {
                    status: 402,
                    ..reply
                })
            }
        }
    }

    fn capture(&mut self, asked: &StripeRequest) -> RequestEnd {
        let at = self.find(asked)?;
        let it = &mut self.intents[at].booked;
        if it.status != "requires_capture" {
            return Ok(Reply::invalid("payment_intent_unexpected_state"));
        }
        "succeeded".clone_into(&mut it.status);
        it.captures += 1;
        it.captured = asked.number("amount_to_capture").unwrap_or(it.amount);
        self.happened(at, "payment_intent.succeeded");
        Ok(Reply::ok(&self.intent(at, asked.expands("latest_charge"))))
    }

    fn cancel(&mut self, asked: &StripeRequest) -> RequestEnd {
        let at = self.find(asked)?;
        let reason = asked.field("cancellation_reason");
        if reason.is_some_and(|it| !CANCELLATION_REASONS.contains(&it)) {
            return Ok(Reply::invalid("parameter_invalid_string"));
        }
        let it = &mut self.intents[at].booked;
        if matches!(it.status.as_str(), "canceled" | "succeeded" | "processing") {
            return Ok(Reply::invalid("payment_intent_unexpected_state"));
        }
        "canceled".clone_into(&mut it.status);
        it.cancels += 1;
        self.intents[at].cancellation_reason = reason.map(str::to_owned);
        self.happened(at, "payment_intent.canceled");
        Ok(Reply::ok(&self.intent(at, asked.expands("latest_charge"))))
    }

    fn list(&self, asked: &StripeRequest) -> RequestEnd {
        let bound = |name: &str| asked.number(&format!("created[{name}]"));
        let (gte, lte) = (bound("gte"), bound("lte"));
        let (gt, lt) = (bound("gt"), bound("lt"));
        let inside = |created: u64| {
            let created = i64::try_from(created).unwrap();
            gte.is_none_or(|it| created >= it)
                && lte.is_none_or(|it| created <= it)
                && gt.is_none_or(|it| created > it)
                && lt.is_none_or(|it| created < it)
        };
        let end = match asked.field("starting_after") {
            Some(id) => *self
                .by_id
                .get(id)
                .ok_or_else(|| Reply::invalid("resource_missing"))?,
            None => self.intents.len(),
        };
        // Newest first.
        let mut rest = (0..end)
            .rev()
            .filter(|at| inside(self.intents[*at].created));
        let limit = usize::try_from(asked.number("limit").unwrap_or(10)).unwrap();
        let expand = asked.expands("data.latest_charge");
        let page = rest.by_ref().take(limit.min(100));
        let data: Vec<Value> = page.map(|at| self.intent(at, expand)).collect();
        Ok(Reply::ok(&json!({
            "object": "list", "url": "/v1/payment_intents", "data": data,
            "has_more": rest.next().is_some(),
        })))
    }

    /// By our metadata only.
    fn search(&self, asked: &StripeRequest) -> RequestEnd {
        let query = asked.field("query").unwrap_or_default();
        let reference = query
            .strip_prefix("metadata['holdfast_reference']:'")
            .and_then(|rest| rest.strip_suffix('\''))
            .filter(|_| self.searchable)
            .ok_or_else(|| Reply::invalid(""))?;
        let mut found = self.of_reference(reference);
        found.retain(|_| !self.search_is_behind);
        let data: Vec<Value> = found.iter().map(|at| self.intent(*at, false)).collect();
        Ok(Reply::ok(&json!({
            "object": "search_result", "url": "/v1/payment_intents/search", "data": data,
            "has_more": false, "next_page": null,
        })))
    }

    fn refund(&mut self, asked: &StripeRequest) -> RequestEnd {
        let at = self.of_refund(asked)?;
        let it = &mut self.intents[at];
        let amount = asked.number("amount").unwrap_or(it.booked.captured);
        if self.refuses_refunds {
            return Ok(Reply::invalid("charge_disputed"));
        }
        if it.booked.captured == 0 {
            return Ok(Reply::invalid("charge_not_refundable"));
        }
        if THREE_DECIMALS.contains(&it.booked.currency.as_str()) && amount % 10 != 0 {
            return Ok(Reply::invalid("parameter_invalid_integer"));
        }
        if amount <= 0 || amount > it.booked.left() {
            return Ok(Reply::invalid("charge_already_refunded"));
        }
        let status = refund_status(&it.payment_method);
        if status != "failed" {
            it.booked.refunded += amount;
        }
        self.refunds.push(RefundMade {
            id: format!("re_{:016x}", self.refunds.len()),
            intent: at,
            amount,
            status: status.to_owned(),
            metadata: asked.metadata(),
            created: now_s(),
        });
        self.happened(at, "charge.refunded");
        let made = self.refunds.last().expect("it was just made");
        Ok(Reply::ok(&self.refund_shown(made)))
    }

    fn list_refunds(&self, asked: &StripeRequest) -> RequestEnd {
        let at = self.of_refund(asked)?;
        let mut rest = self
            .refunds
            .iter()
            .rev()
            .filter(|it| it.intent == at)
            .peekable();
        if let Some(after) = asked.field("starting_after") {
            while rest.next_if(|it| it.id != after).is_some() {}
            rest.next();
        }
        let limit = usize::try_from(asked.number("limit").unwrap_or(10)).unwrap();
        let page = rest.by_ref().take(limit.min(100));
        let data: Vec<Value> = page.map(|it| self.refund_shown(it)).collect();
        Ok(Reply::ok(&json!({
            "object": "list", "url": "/v1/refunds", "data": data,
            "has_more": rest.next().is_some(),
        })))
    }

    fn find(&self, asked: &StripeRequest) -> Result<usize, Reply> {
        let id = asked.path.split('/').nth(3).unwrap_or_default();
        self.at(id)
    }

    fn of_refund(&self, asked: &StripeRequest) -> Result<usize, Reply> {
        let charge = |id: &str| id.replacen("ch_", "pi_", 1);
        let id = asked.field("payment_intent").map(str::to_owned);
        let id = id.or_else(|| asked.field("charge").map(charge));
        self.at(&id.ok_or_else(|| Reply::invalid("parameter_missing"))?)
    }

    fn at(&self, id: &str) -> Result<usize, Reply> {
        let missing = || Reply::error(404, "invalid_request_error", "resource_missing");
        self.by_id.get(id).copied().ok_or_else(missing)
    }

    /// What was set aside under `reference` and not taken is let go by Stripe itself.
    pub(super) fn lapse(&mut self, reference: &str) {
        for at in self.of_reference(reference) {
            if self.intents[at].booked.status == "requires_capture" {
                "canceled".clone_into(&mut self.intents[at].booked.status);
                self.happened(at, "payment_intent.canceled");
            }
        }
    }

    /// The intent of this name, which there is.
    pub(super) fn known(&self, id: &str) -> usize {
        self.by_id[id]
    }

    /// From now on it is in this currency.
    pub(super) fn change_currency(&mut self, reference: &str, currency: &str) {
        for at in self.of_reference(reference) {
            currency.clone_into(&mut self.intents[at].booked.currency);
        }
    }

    pub(super) fn settle_refunds(&mut self, status: &str) {
        for made in self.refunds.iter_mut().filter(|it| it.status == "pending") {
            status.clone_into(&mut made.status);
            if status != "succeeded" {
                self.intents[made.intent].booked.refunded -= made.amount;
            }
        }
    }

    pub(super) fn dispute(&mut self, reference: &str, status: &str) {
        let kind = match status {
            "needs_response" => "charge.dispute.created",
            _ => "charge.dispute.closed",
        };
        for at in self.of_reference(reference) {
            let it = &self.intents[at].booked;
            if it.captured > 0 {
                let object = json!({
                    "id": format!("du_{at:016x}"), "object": "dispute", "amount": it.captured,
                    "currency": it.currency, "charge": self.intents[at].charge,
                    "payment_intent": it.id, "status": status, "reason": "fraudulent",
                });
                self.event(kind, object);
            }
        }
    }

    pub(super) fn of_reference(&self, reference: &str) -> Vec<usize> {
        let is = |at: &usize| self.intents[*at].booked.reference.as_deref() == Some(reference);
        (0..self.intents.len()).filter(is).collect()
    }

    pub(super) fn happened(&mut self, at: usize, kind: &'static str) {
        let object = match kind {
            "charge.refunded" => self.charge(at),
            _ => self.intent(at, false),
        };
        self.event(kind, object);
    }

    fn event(&mut self, kind: &'static str, object: Value) {
        self.told(kind, object, 0);
    }

    /// It happened so many seconds ago.
    pub(super) fn told(&mut self, kind: &'static str, object: Value, ago_s: u64) {
        self.events_ever += 1;
        self.events.push(Event {
            id: format!("evt_{:016x}", self.events_ever),
            kind,
            created: now_s() - ago_s,
            object,
        });
    }
}

pub(super) fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is set").as_secs()
}
