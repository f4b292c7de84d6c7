//! The replay: evaluates other risk rules on a recorded log, and reports which attempts change
//! their result.
//!
//! 1. Every recorded attempt for which the rules were evaluated is evaluated again, once, with the
//!    counters that the log led to before it, counted by the engine's own code and as deep as the
//!    new rules need from the first event on. A replay with the rules that were in force changes
//!    nothing.
//! 2. **What a log cannot show.** An attempt that the new rules block would have led to no decline,
//!    no purchase and no payment for its hold. By default these are invisible to later attempts
//!    ([`History::WithoutBlocked`]), while the attempt itself counts, as a refused one does. A
//!    newly reviewed attempt continues as recorded. A newly allowed attempt has no later effect,
//!    because the log does not show how it would have ended, nor who would have got the units of a
//!    blocked buyer, nor what a blocked buyer tries next.
//! 3. Attempts refused before the rules (rate, product, window) and those of paused buyers are not
//!    evaluated. Attempts refused after the rules are: they may change their result, and cost
//!    nothing.
//! 4. With a model every attempt is scored again, with features from the same counters; without one
//!    the scores in the log count.
//!
//! Deliberately absent: reading files and showing the report (`cli`); deciding anything else than
//! the rules do (limits, stock and gateways stay as they were).

mod attempt;
mod known;
mod question;
mod report;

use crate::engine::counter::{Depths, depths_always};
use crate::engine::event::{
    AttemptEvent, AttemptRefused, BuyerEvent, CatalogueEvent, CoreEvent, DisputeEvent, Event, Flow,
    Group, HoldEvent, PaymentEvent, PaymentStarted, PaysFor, RefundEvent, RiskEvent, RiskRulesSet,
    RiskScoringSet, RuleHit,
};
use crate::engine::features::{self, Features, depths_for_features};
use crate::engine::risk::kept::{depths_of, kept_for};
use crate::engine::risk::model::Model;
use crate::engine::risk::program::{RuleMatches, RuleSet};
use crate::engine::stamp::Stamp;
use crate::engine::velocity::Velocity;
use crate::ids::Lsn;
use crate::journal::AuditEntry;
use crate::risk::compile;
use crate::time::UnixMs;
use attempt::{
    Pays, Reached, RecordedAttempt, is_of, leaves_trace, placed_money, reached, refused_instead,
    stamp_of,
};
use known::{Blocked, Counters, LogState, ReplayedPurchase};
use report::Tally;
use smallvec::SmallVec;
use std::sync::Arc;

pub use question::{Change, History, Plan, ReplayError, Side, Trial};
pub use report::{Exact, Fates, Matrix, Money, Moved, Report, RuleLine};

/// A replay in progress, which reads every event of a log in order.
#[derive(Debug)]
pub struct Replay {
    rules: RuleSet,
    follows_log: bool,
    model: Option<Arc<Model>>,
    history: History,
    velocity: Velocity,
    /// The depth of each counter, for rules and for features.
    kept: [Depths; 2],
    known: LogState,
    tally: Tally,
    /// The hold of a buy; its payment is the next event.
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
            known: LogState::default(),
            waiting: None,
        };
        replay.keep();
        replay
    }

    /// Reads the next event; calls `changed` for each attempt whose result differs.
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
            // These are no attempts and no effects of attempts, and no rule depends on them.
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

    /// Ends the replay and returns the report.
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
        let attempt = RecordedAttempt {
            purchase: Some(placed.purchase),
            product: Some(&placed.product),
            quantity: placed.quantity,
            money: &money,
            recorded: &placed.hits,
            appraisal: &placed.appraisal,
            ..RecordedAttempt::new(stamp_of(entry), &placed.user, &placed.origin)
        };
        let blocked = self.judge(&attempt, changed);
        let purchase = ReplayedPurchase::held(placed, blocked);
        self.known.purchases.insert(placed.purchase, purchase);
        self.known.saw(&placed.user, entry.at);
        self.velocity.record(&entry.event, stamp_of(entry));
    }

    /// A hold and its payment in one request are one attempt. It is counted as a refused one, which
    /// has the same keys.
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
        let attempt = RecordedAttempt {
            purchase: Some(placed.purchase),
            card: Some(&started.card),
            product: Some(&placed.product),
            quantity: placed.quantity,
            money: &money,
            recorded: &placed.hits,
            appraisal: &started.appraisal,
            pays: Pays::Now,
            ..RecordedAttempt::new(stamp_of(hold), &placed.user, &placed.origin)
        };
        let blocked = self.judge(&attempt, changed);
        let purchase = ReplayedPurchase {
            quote: started.quote,
            ..ReplayedPurchase::held(placed, blocked)
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
            // Nothing is known about a hold from before the log's beginning.
            self.tally.unclear += 1;
            self.velocity.record(&entry.event, stamp_of(entry));
            return;
        };
        hold.quote = started.quote;
        if hold.blocked.is_some() && self.history == History::WithoutBlocked {
            // The hold is blocked now, so its payment is dropped.
            self.tally.fell_away += 1;
            return;
        }
        let (product, quantity) = (hold.product.clone(), hold.quantity);
        let unit_price = started.quote.unit_price;
        let money = [(started.quote.currency, unit_price.times(quantity).get())];
        let attempt = RecordedAttempt {
            purchase: Some(started.purchase),
            card: Some(&started.card),
            product: Some(&product),
            quantity,
            money: &money,
            recorded: &started.hits,
            appraisal: &started.appraisal,
            pays: Pays::Now,
            ..RecordedAttempt::new(stamp_of(entry), &started.user, &started.origin)
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
                // It is one purchase, which ends once.
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
                let attempt = RecordedAttempt {
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
                    ..RecordedAttempt::new(stamp_of(entry), user, &refused.origin)
                };
                self.judge(&attempt, changed);
            }
            (Reached::Pause, ..) => self.tally.paused += 1,
            (Reached::NoRule, Some(_), Some(_)) => self.tally.refused_before += 1,
            // Without a buyer or product it is no attempt to buy.
            (Reached::Rules | Reached::NoRule, ..) => {}
        }
        if let Some(user) = refused.user.as_ref().filter(|_| leaves_trace(refused)) {
            self.known.saw(user, entry.at);
        }
        self.velocity.record(&entry.event, stamp_of(entry));
    }

    /// Evaluates the tried rules; returns the rules that block an attempt that had passed.
    fn judge(
        &mut self,
        attempt: &RecordedAttempt<'_>,
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

    /// The matching rules; `None` if that depends on data that is not in the log.
    fn ask(&self, attempt: &RecordedAttempt<'_>) -> Option<RuleMatches> {
        if self.rules.is_empty() {
            return Some(RuleMatches::default());
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
        // A model uses the amount as a feature.
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

    /// Sets the depth of each counter to what rules or features need.
    fn keep(&self) {
        let [mut depths, more] = self.kept;
        for (depth, more) in depths.iter_mut().zip(more) {
            *depth = more.max(*depth);
        }
        self.velocity.keep(&depths);
    }

    /// The later effects of attempts.
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

/// Indices of lines in the report.
type LineIndices = SmallVec<[u16; 2]>;
