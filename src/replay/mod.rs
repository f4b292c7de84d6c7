//! The replay lab: a recorded log is run against other risk rules, and says who changes side.
//!
//! 1. Every recorded attempt that the rules had been asked about is asked about again, once, with the
//!    counters that the log led to before it, counted by the live engine's own code and kept as deep as
//!    the new rules need from the first event on. A replay with the rules that were in force changes
//!    nothing.
//! 2. **What a log cannot tell.** An attempt that the new rules block would have led to no decline, no
//!    purchase and no payment for its hold: by default these are left out of what later attempts see
//!    ([`History::WithoutBlocked`]), while the attempt itself counts, as a refused one does. What is reviewed
//!    now goes on as recorded. An attempt that the new rules let through leads to nothing here: what it
//!    would have come to is not in the log. Nor is who would have got the units that a blocked buyer
//!    leaves, or what a blocked one tries next.
//! 3. What was refused before the rules (rate, product, window), and what a paused buyer tried, is not
//!    asked about. What was refused after them is: it may change side, and costs nothing.
//! 4. With a model every attempt is scored anew, from features taken of the same counters; without one the scores
//!    that stand in the log count.
//!
//! Deliberately absent: reading files and showing the report (`cli`); deciding anything that is not the
//! rules' (limits, stock and gateways stay as they were).

mod attempt;
mod known;
mod report;

use crate::engine::counter::{Depths, depths_always};
use crate::engine::event::{
    AttemptEvent, AttemptRefused, BuyerEvent, CatalogueEvent, CoreEvent, DisputeEvent, Event, Flow,
    Group, HoldEvent, HoldPlaced, Origin, PaymentEvent, PaymentStarted, PaysFor, RefundEvent,
    RiskEvent, RiskRulesSet, RiskScoringSet, RuleHit, RuleOutcome,
};
use crate::engine::features::{self, Features, depths_for_features};
use crate::engine::refusal::{Refusal, Trace};
use crate::engine::risk::kept::{depths_of, kept_for};
use crate::engine::risk::model::Model;
use crate::engine::risk::program::{Found, RuleSet};
use crate::engine::score::Appraisal;
use crate::engine::stamp::{Settled, Stamp};
use crate::engine::velocity::Velocity;
use crate::ids::{Lsn, ProductId, PurchaseId, RequestId, UserId};
use crate::journal::AuditEntry;
use crate::risk::{RulesError, compile};
use crate::time::UnixMs;
use attempt::{Attempt, Pays, Reached, reached};
use known::{Blocked, Counters, Known, Purchase};
use report::Tally;
use smallvec::SmallVec;
use std::sync::Arc;

pub use report::{Exact, Fates, Matrix, Money, Moved, Report, RuleLine};

/// What is tried, and how.
#[derive(Debug)]
pub struct Plan {
    /// The rules.
    pub trial: Trial,
    /// A model for what rules call `risk_score`; `None`: the score that stands in the log, or else the
    /// operator's.
    pub model: Option<Arc<Model>>,
    /// What later attempts see.
    pub history: History,
    /// How many things are counted at most, and as many for distinct values.
    pub keys_max: usize,
}

/// Which rules are tried.
#[derive(Debug)]
pub enum Trial {
    /// These, from the first event on.
    Rules(RuleSet),
    /// Those that were in force, as they changed.
    AsInForce,
}

/// What later attempts see of an attempt that the tried rules block and that had passed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// That it was tried, and nothing of what it led to.
    WithoutBlocked,
    /// All that was recorded.
    AsRecorded,
}

/// Where the risk rules left an attempt, the strictest last.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It went on: no rule held, only such as observe, or it was a hold, which nobody reviews.
    Passed = 0,
    /// A person is to decide about the payment.
    Reviewed = 1,
    /// It was refused.
    Blocked = 2,
}

impl Side {
    /// Every one, the strictest last.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Reviewed, Self::Blocked];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Reviewed => "reviewed",
            Self::Blocked => "blocked",
        }
    }

    fn of(strictest: Option<RuleOutcome>, pays: Pays) -> Self {
        match (strictest, pays) {
            (Some(RuleOutcome::Block), _) => Self::Blocked,
            (Some(RuleOutcome::Review), Pays::Now) => Self::Reviewed,
            (Some(RuleOutcome::Review), Pays::Later) | (Some(RuleOutcome::Observe) | None, _) => {
                Self::Passed
            }
        }
    }
}

/// An attempt that the tried rules leave on another side than it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it was tried.
    pub at: UnixMs,
    /// Where it stands in the log.
    pub lsn: Lsn,
    /// Who tried.
    pub user: UserId,
    pub product: Option<ProductId>,
    /// What it became, where it was not refused.
    pub purchase: Option<PurchaseId>,
    /// Why it was refused, where it was.
    pub refused: Option<Refusal>,
    /// Where it was.
    pub from: Side,
    /// Where it is now.
    pub to: Side,
    /// The rules that put it there; where it is let through, those that had stopped it.
    pub rules: Vec<RuleHit>,
}

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Rules in the log are of another program.
    #[error("this version cannot read the risk rules at LSN {lsn} ({error}); name rules to try")]
    Logged {
        /// Where they stand.
        lsn: Lsn,
        error: RulesError,
    },
}

/// A replay under way: it is shown every event of a log in order.
#[derive(Debug)]
pub struct Replay {
    rules: RuleSet,
    follows_log: bool,
    model: Option<Arc<Model>>,
    history: History,
    velocity: Velocity,
    /// How much of each counter is kept for rules, and how much for features.
    kept: [Depths; 2],
    known: Known,
    tally: Tally,
    /// A hold of a buy, whose payment is the next event.
    waiting: Option<AuditEntry>,
}

impl Replay {
    /// A replay of a log that begins at `first`.
    pub fn new(plan: Plan, first: Lsn) -> Self {
        let (rules, follows_log) = match plan.trial {
            Trial::Rules(rules) => (rules, false),
            Trial::AsInForce => (RuleSet::default(), true),
        };
        let for_rules = depths_of(&kept_for(&rules, &[], UnixMs::default()));
        let for_features = if plan.model.is_some() {
            depths_for_features()
        } else {
            depths_always()
        };
        let replay = Self {
            tally: Tally::new(&rules, first),
            rules,
            follows_log,
            model: plan.model,
            history: plan.history,
            velocity: Velocity::new(plan.keys_max, 0),
            kept: [for_rules, for_features],
            known: Known::default(),
            waiting: None,
        };
        replay.keep();
        replay
    }

    /// Takes the next event; `changed` is told of each attempt that changes side.
    pub fn read(
        &mut self,
        entry: AuditEntry,
        changed: &mut dyn FnMut(Change),
    ) -> Result<(), ReplayError> {
        let stamp = stamp_of(&entry);
        self.tally.saw(stamp);
        let waiting = self.waiting.take();
        match (&waiting, &entry.event) {
            (Some(hold), Event::PaymentStarted(started)) if is_of(hold, started) => {
                self.bought(hold, started, &entry, changed);
                return Ok(());
            }
            (Some(hold), _) => self.held(hold, changed),
            (None, _) => {}
        }
        match entry.event.group() {
            Group::Hold(HoldEvent::HoldPlaced(placed)) if placed.flow == Flow::Buy => {
                self.waiting = Some(entry);
            }
            Group::Hold(HoldEvent::HoldPlaced(_)) => self.held(&entry, changed),
            Group::Payment(PaymentEvent::PaymentStarted(started)) => {
                self.paid_for_hold(started, &entry, changed);
            }
            Group::Hold(HoldEvent::HoldReleased(_) | HoldEvent::HoldExpired(_))
            | Group::Payment(
                PaymentEvent::PaymentAuthorized(_)
                | PaymentEvent::PaymentDeclined(_)
                | PaymentEvent::CaptureStarted(_)
                | PaymentEvent::PaymentCaptured(_)
                | PaymentEvent::CaptureDiffered(_)
                | PaymentEvent::VoidStarted(_)
                | PaymentEvent::PaymentVoided(_)
                | PaymentEvent::VoidStuck(_),
            )
            | Group::Review(_)
            | Group::Refund(_)
            | Group::Dispute(_) => self.came_of(&entry.event, stamp),
            Group::Attempt(AttemptEvent::AttemptRefused(refused)) => {
                self.refused(refused, &entry, changed);
            }
            Group::Buyer(BuyerEvent::BuyerRated(rated)) => self.known.rate(rated),
            Group::Buyer(BuyerEvent::BuyerSegmented(segmented)) => self.known.segment(segmented),
            Group::Catalogue(CatalogueEvent::ProductSet(set)) => self.known.set_prices(set),
            Group::Risk(RiskEvent::RiskRulesSet(set)) => self.rules_set(set, stamp)?,
            Group::Risk(RiskEvent::RiskScoringSet(set)) => self.scoring_set(set),
            Group::Core(CoreEvent::ClockCorrected(corrected)) => {
                self.velocity.correct(corrected);
                self.known.correct(corrected);
            }
            // No rule asks about what these say, and none of them is an attempt or comes of one.
            Group::Buyer(
                BuyerEvent::TokensSpent(_)
                | BuyerEvent::BuyerPaused(_)
                | BuyerEvent::HoldingsImported(_)
                | BuyerEvent::KeyImported(_),
            )
            | Group::Catalogue(
                CatalogueEvent::PromotionSet(_)
                | CatalogueEvent::StockImported(_)
                | CatalogueEvent::PromotionUsesImported(_),
            )
            | Group::Webhook(_)
            | Group::Core(CoreEvent::LimitsSet(_) | CoreEvent::HistoryAccepted(_))
            | Group::Trail(_) => {}
        }
        Ok(())
    }

    /// What came of it all.
    pub fn finish(mut self, changed: &mut dyn FnMut(Change)) -> Report {
        if let Some(hold) = self.waiting.take() {
            self.held(&hold, changed);
        }
        let by_model = if self.model.is_some() && self.rules.uses_score() {
            features::WINDOW_MS_MAX
        } else {
            0
        };
        let window_ms = self.rules.window_ms_max().max(by_model);
        self.tally.report(window_ms, self.velocity.given_up())
    }

    /// A hold alone.
    fn held(&mut self, entry: &AuditEntry, changed: &mut dyn FnMut(Change)) {
        let Event::HoldPlaced(placed) = &entry.event else {
            return;
        };
        let money = [placed_money(placed)];
        let attempt = Attempt {
            purchase: Some(placed.purchase),
            product: Some(&placed.product),
            quantity: placed.quantity,
            money: &money,
            recorded: &placed.hits,
            appraisal: &placed.appraisal,
            ..Attempt::new(stamp_of(entry), &placed.user, &placed.origin)
        };
        let blocked = self.judge(&attempt, changed);
        let purchase = Purchase::held(placed, blocked);
        self.known.purchases.insert(placed.purchase, purchase);
        self.known.saw(&placed.user, entry.at);
        self.velocity.record(&entry.event, stamp_of(entry));
    }

    /// A hold and its payment, of one call: one attempt. Counted like a refused one in any case, which
    /// names the same things.
    fn bought(
        &mut self,
        hold: &AuditEntry,
        started: &PaymentStarted,
        payment: &AuditEntry,
        changed: &mut dyn FnMut(Change),
    ) {
        let Event::HoldPlaced(placed) = &hold.event else {
            return;
        };
        let money = [placed_money(placed)];
        let attempt = Attempt {
            purchase: Some(placed.purchase),
            card: Some(&started.card),
            product: Some(&placed.product),
            quantity: placed.quantity,
            money: &money,
            recorded: &placed.hits,
            appraisal: &started.appraisal,
            pays: Pays::Now,
            ..Attempt::new(stamp_of(hold), &placed.user, &placed.origin)
        };
        let blocked = self.judge(&attempt, changed);
        let purchase = Purchase {
            quote: started.quote,
            ..Purchase::held(placed, blocked)
        };
        self.known.purchases.insert(placed.purchase, purchase);
        self.known.saw(&placed.user, hold.at);
        self.velocity.record(&hold.event, stamp_of(hold));
        self.velocity.record(&payment.event, stamp_of(payment));
    }

    fn paid_for_hold(
        &mut self,
        started: &PaymentStarted,
        entry: &AuditEntry,
        changed: &mut dyn FnMut(Change),
    ) {
        let hold = self.known.purchases.get_mut(&started.purchase);
        let Some(hold) = hold.filter(|_| started.pays_for == PaysFor::EarlierHold) else {
            // Of what was held before the log begins, nobody knows what it is.
            self.tally.unclear += 1;
            self.velocity.record(&entry.event, stamp_of(entry));
            return;
        };
        hold.quote = started.quote;
        if hold.blocked.is_some() && self.history == History::WithoutBlocked {
            // There is no hold to pay for.
            self.tally.fell_away += 1;
            return;
        }
        let (product, quantity) = (hold.product.clone(), hold.quantity);
        let unit_price = started.quote.unit_price;
        let money = [(started.quote.currency, unit_price.times(quantity).get())];
        let attempt = Attempt {
            purchase: Some(started.purchase),
            card: Some(&started.card),
            product: Some(&product),
            quantity,
            money: &money,
            recorded: &started.hits,
            appraisal: &started.appraisal,
            pays: Pays::Now,
            ..Attempt::new(stamp_of(entry), &started.user, &started.origin)
        };
        let blocked = self.judge(&attempt, changed);
        if blocked.is_some() && self.history == History::WithoutBlocked {
            let event = refused_instead(started, &product, quantity);
            self.velocity.record(&event, stamp_of(entry));
        } else {
            self.velocity.record(&entry.event, stamp_of(entry));
        }
        let hold = self.known.purchases.get_mut(&started.purchase);
        if let (Some(hold), Some(blocked)) = (hold, blocked) {
            match &mut hold.blocked {
                // One purchase, which ends once.
                Some(earlier) => {
                    earlier.also_by(blocked.lines);
                    self.tally.fates.under_way -= 1;
                }
                none => *none = Some(blocked),
            }
        }
    }

    fn refused(
        &mut self,
        refused: &AttemptRefused,
        entry: &AuditEntry,
        changed: &mut dyn FnMut(Change),
    ) {
        match (reached(refused), &refused.user, &refused.product) {
            (Reached::Rules, Some(user), Some(product)) => {
                let money = self.known.moneys(product, refused.quantity, refused.flow);
                let attempt = Attempt {
                    card: refused.card.as_ref(),
                    product: Some(product),
                    quantity: refused.quantity,
                    money: &money,
                    recorded: &refused.hits,
                    appraisal: &refused.appraisal,
                    pays: if refused.flow == Flow::Buy {
                        Pays::Now
                    } else {
                        Pays::Later
                    },
                    refused: Some(refused.reason),
                    ..Attempt::new(stamp_of(entry), user, &refused.origin)
                };
                self.judge(&attempt, changed);
            }
            (Reached::Pause, ..) => self.tally.paused += 1,
            (Reached::NoRule, Some(_), Some(_)) => self.tally.refused_before += 1,
            // Of no buyer or for no product: no attempt to buy.
            (Reached::Rules | Reached::NoRule, ..) => {}
        }
        if let Some(user) = refused.user.as_ref().filter(|_| leaves_trace(refused)) {
            self.known.saw(user, entry.at);
        }
        self.velocity.record(&entry.event, stamp_of(entry));
    }

    /// Asks the tried rules; who blocked what had passed.
    fn judge(
        &mut self,
        attempt: &Attempt<'_>,
        changed: &mut dyn FnMut(Change),
    ) -> Option<Box<Blocked>> {
        let recorded = attempt.recorded.iter().map(|hit| hit.outcome).max();
        let from = Side::of(recorded, attempt.pays);
        self.tally.met_then(attempt.recorded);
        let Some(found) = self.ask(attempt) else {
            self.tally.unclear += 1;
            return None;
        };
        let to = Side::of(found.strictest(), attempt.pays);
        let hits = self.rules.hits(found);
        self.tally.met_now(&hits);
        self.tally.matrix.count(from, to);
        if from == to {
            return None;
        }
        let of_side = |hits: &[RuleHit], side| -> Vec<RuleHit> {
            let put = |hit: &&RuleHit| Side::of(Some(hit.outcome), attempt.pays) == side;
            hits.iter().filter(put).cloned().collect()
        };
        let rules = match to {
            Side::Passed => of_side(attempt.recorded, from),
            Side::Reviewed | Side::Blocked => of_side(&hits, to),
        };
        let lines = self.tally.moved(attempt.user, to, &rules);
        changed(attempt.changed((from, to), rules));
        if to != Side::Blocked {
            return None;
        }
        if attempt.refused.is_some() {
            self.tally.fates.refused += 1;
            return None;
        }
        self.tally.fates.under_way += 1;
        Some(Box::new(Blocked::by(lines)))
    }

    /// Which rules hold; `None` where it depends on what the log does not say.
    fn ask(&self, attempt: &Attempt<'_>) -> Option<Found> {
        if self.rules.is_empty() {
            return Some(Found::default());
        }
        let counters = Counters {
            velocity: &self.velocity,
            known: &self.known,
        };
        let model = self.model.as_ref().filter(|_| self.rules.uses_score());
        let found = |(currency, amount)| {
            let mut facts = attempt.facts(&self.known, currency, amount);
            if let Some(model) = model {
                let past = self.known.past(attempt.user);
                let features = Features::take(&facts, past, &counters);
                facts.risk_score = Some(model.score(&features).get());
            }
            self.rules.evaluate(&facts, &counters)
        };
        // The amount is one of a model's features.
        if !self.rules.looks_at_money() && model.is_none() {
            return Some(found((known::any_currency(), 0)));
        }
        let mut all = attempt.moneys().map(found);
        let first = all.next()?;
        all.all(|it| it == first).then_some(first)
    }

    fn rules_set(&mut self, set: &RiskRulesSet, stamp: Stamp) -> Result<(), ReplayError> {
        if self.follows_log {
            let lsn = stamp.lsn;
            let compiled =
                compile(&set.text).map_err(|error| ReplayError::Logged { lsn, error })?;
            self.tally.name(&compiled.set);
            self.rules = compiled.set;
            self.kept[0] = depths_of(&set.kept);
            self.keep();
        }
        Ok(())
    }

    fn scoring_set(&mut self, set: &RiskScoringSet) {
        if self.follows_log && self.model.is_none() {
            self.kept[1] = depths_of(&set.kept);
            self.keep();
        }
    }

    /// Keeps as much of each counter as rules or features need.
    fn keep(&self) {
        let [mut depths, more] = self.kept;
        for (depth, more) in depths.iter_mut().zip(more) {
            *depth = more.max(*depth);
        }
        self.velocity.keep(&depths);
    }

    /// What attempts led to.
    fn came_of(&mut self, event: &Event, stamp: Stamp) {
        let Some((id, _)) = event.step() else {
            return;
        };
        let purchase = self.known.purchases.get_mut(&id);
        let blocked = purchase.and_then(|it| Some((it.quote, it.blocked.as_mut()?)));
        if let Some((quote, blocked)) = blocked {
            match event.group() {
                Group::Payment(PaymentEvent::PaymentCaptured(_)) => {
                    self.tally.fates.end(|it| &mut it.captured);
                    self.tally.captured(blocked, quote);
                }
                Group::Payment(PaymentEvent::PaymentDeclined(_)) => {
                    self.tally.fates.end(|it| &mut it.declined);
                }
                Group::Refund(RefundEvent::RefundSucceeded(done)) => {
                    self.tally.refunded(blocked, quote.currency, done.amount);
                }
                Group::Refund(RefundEvent::RefundFound(found)) => {
                    self.tally.refunded(blocked, quote.currency, found.amount);
                }
                Group::Refund(RefundEvent::RefundReturned(it)) => {
                    self.tally.returned(blocked, quote.currency, it.amount);
                }
                Group::Dispute(DisputeEvent::DisputeClosed(closed)) => {
                    self.tally.charged_back(blocked, closed);
                }
                // No money moves for good.
                Group::Hold(_)
                | Group::Payment(
                    PaymentEvent::PaymentStarted(_)
                    | PaymentEvent::PaymentAuthorized(_)
                    | PaymentEvent::CaptureStarted(_)
                    | PaymentEvent::CaptureDiffered(_)
                    | PaymentEvent::VoidStarted(_)
                    | PaymentEvent::PaymentVoided(_)
                    | PaymentEvent::VoidStuck(_),
                )
                | Group::Review(_)
                | Group::Refund(RefundEvent::RefundStarted(_) | RefundEvent::RefundFailed(_))
                | Group::Dispute(DisputeEvent::DisputeOpened(_))
                | Group::Attempt(_)
                | Group::Buyer(_)
                | Group::Catalogue(_)
                | Group::Risk(_)
                | Group::Webhook(_)
                | Group::Core(_)
                | Group::Trail(_) => {}
            }
            if self.history == History::WithoutBlocked {
                return;
            }
        }
        if let Event::PaymentCaptured(captured) = event {
            self.known.capture(&captured.user, id, stamp.at);
        }
        if let Event::DisputeClosed(closed) = event {
            self.known.charge_back(&closed.user, closed.more_lost());
        }
        self.velocity.record(event, stamp);
    }
}

fn stamp_of(entry: &AuditEntry) -> Stamp {
    Stamp {
        at: entry.at,
        lsn: entry.lsn,
        settled: Settled::Yes,
    }
}

fn is_of(hold: &AuditEntry, started: &PaymentStarted) -> bool {
    matches!(&hold.event, Event::HoldPlaced(placed) if placed.purchase == started.purchase)
        && started.pays_for == PaysFor::OwnHold
}

fn placed_money(placed: &HoldPlaced) -> (crate::money::Currency, i64) {
    let amount = placed.quote.unit_price.times(placed.quantity);
    (placed.quote.currency, amount.get())
}

/// What a payment for an earlier hold would have been, had it been blocked: it counts its product.
fn refused_instead(started: &PaymentStarted, product: &ProductId, quantity: u32) -> Event {
    Event::AttemptRefused(AttemptRefused {
        flow: Flow::Buy,
        reason: Refusal::RiskBlocked,
        facts: None,
        user: Some(started.user.clone()),
        product: Some(product.clone()),
        quantity,
        card: Some(started.card.clone()),
        origin: Origin {
            request: RequestId(0),
            ..started.origin.clone()
        },
        hits: Vec::new(),
        appraisal: Appraisal::Plain,
        left_out: 0,
    })
}

/// Whether a refused attempt is one that is remembered of its buyer (`engine::apply`).
fn leaves_trace(refused: &AttemptRefused) -> bool {
    matches!(refused.flow, Flow::Hold | Flow::Buy)
        && refused.origin.key.is_some()
        && matches!(
            refused.reason.trace(),
            Trace::Attempt | Trace::AttemptAndKey
        )
}

/// Lines of the report that something belongs to.
type Lines = SmallVec<[u16; 2]>;
