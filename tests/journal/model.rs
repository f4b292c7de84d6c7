//! The engine and its journal against a model that anyone can read: random commands by a few
//! buyers on few units, with the clock moving, snapshots, and the directory closed and opened
//! again in between. Every outcome must be the model's, and so has the stock after every step.

mod card_sums;
mod forgetting;
mod kinds;

use crate::came::Came;
use holdfast::engine::command::{Buy, PaymentStep, PlaceHold, ReleaseHold, Verdict};
use holdfast::engine::event::{
    AdminAct, Decider, DeclineCause, IdempotencyKey, Judgement, Origin, ProductSet, Quote,
    VoidCause,
};
use holdfast::engine::lifecycle::PurchaseState as S;
use holdfast::engine::settings::{EngineSettings, SharedBy};
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, Digest16, KeyOwner, ProductId, PurchaseId, ReceiptKeyId,
    RequestId, UserId,
};
use holdfast::journal::{
    Audit, Clock, ClockBehind, DayZone, Journal, JournalOptions, ManualClock, Submitted,
};
use holdfast::money::{Amount, Currency, Price};
use holdfast::time::UnixMs;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use support::commands;

const BEGIN_MS: u64 = 1_800_000_000_000;
const HOLD_TTL_MS: u64 = 20_000;
const LIMIT: u32 = 3;
const PRICE: u32 = 500;
/// What one buyer, and one card, may spend; two buyers share a card.
const DAILY: u32 = 4 * PRICE;
const LIFETIME: u32 = 7 * PRICE;
/// Above this a person decides: two units and more.
const REVIEW_OVER: u32 = PRICE;
const REVIEW_MS: u64 = 10_000;
const HOUR_MS: u64 = 3_600_000;
const TRIES_MAX: u32 = 3;
const RATE_COUNT: usize = 5;
const RATE_WINDOW_MS: u64 = 10_000;
const PRODUCTS: [&str; 2] = ["drop-a", "drop-b"];

/// One step. Places are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Hold {
        user: u8,
        product: u8,
        quantity: u32,
        key: u8,
    },
    Buy {
        user: u8,
        product: u8,
        quantity: u32,
        key: u8,
    },
    PayHold {
        purchase: u8,
        key: u8,
    },
    Release {
        purchase: u8,
    },
    Record {
        purchase: u8,
        step: u8,
    },
    Tick {
        ms: u64,
    },
    /// The wall clock is wrong for a second.
    Glance {
        ms: i64,
    },
    /// The wall clock is set, and stays so.
    Correct {
        ms: i64,
    },
    SetStock {
        product: u8,
        total: u32,
    },
    Snapshot,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        6 => (0..4u8, 0..2u8, 1..3u32, any::<u8>())
            .prop_map(|(user, product, quantity, key)| Step::Hold { user, product, quantity, key }),
        4 => (0..4u8, 0..2u8, 1..3u32, any::<u8>())
            .prop_map(|(user, product, quantity, key)| Step::Buy { user, product, quantity, key }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(purchase, key)| Step::PayHold { purchase, key }),
        2 => any::<u8>().prop_map(|purchase| Step::Release { purchase }),
        8 => (any::<u8>(), prop_oneof![Just(0u8), 1..6u8, 6..10u8, Just(10u8), Just(1u8)]).prop_map(|(purchase, step)| Step::Record { purchase, step }),
        4 => prop_oneof![2 => 1..2_000u64, 2 => 5_000..25_000u64, 1 => HOUR_MS..26 * HOUR_MS].prop_map(|ms| Step::Tick { ms }),
        1 => wall_steps().prop_map(|ms| Step::Glance { ms }),
        1 => wall_steps().prop_map(|ms| Step::Correct { ms }),
        1 => (0..2u8, 0..8u32).prop_map(|(product, total)| Step::SetStock { product, total }),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(one, 1..80)
}

fn wall_steps() -> impl Strategy<Value = i64> {
    const HOUR: i64 = HOUR_MS.cast_signed();
    prop_oneof![
        2_001..600_000i64,
        -600_000..-2_001i64,
        HOUR..400 * 24 * HOUR,
        -9 * 24 * HOUR..-HOUR,
    ]
}

/// How many runs each property is tried with; `PROPTEST_CASES` raises it.
fn cases() -> u32 {
    let raised = support::clients::number_from_env("PROPTEST_CASES");
    raised.map_or(32, |cases| u32::try_from(cases).expect("a number of runs"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_journal_does_what_the_model_does(steps in steps()) {
        let mut pair = Pair::new();
        for (number, step) in steps.iter().enumerate() {
            pair.run(step, number);
            pair.compare(number, step);
        }
        pair.reopen();
        pair.compare(steps.len(), &Step::Reopen);
    }
}

/// The model: what anyone would write down on paper.
#[derive(Default)]
struct Model {
    now_ms: u64,
    totals: [u32; 2],
    purchases: Vec<Sale>,
    attempts: HashMap<u8, Vec<u64>>,
    keys: HashMap<u8, Known>,
}

struct Sale {
    user: u8,
    product: u8,
    quantity: u32,
    state: S,
    expires_ms: u64,
    key: Option<u8>,
    /// When its payment started.
    paid_ms: Option<u64>,
    /// Whether that is for a hold that was there before.
    earlier: bool,
    /// Whether the void under way is because the gateway refused to capture.
    capture_refused: bool,
    /// Payments that were declined.
    declined: u32,
    review_until_ms: u64,
}

/// What a key was used for, and what came of it; `None`: it still runs.
#[derive(Clone)]
struct Known {
    request: String,
    outcome: Option<String>,
}

impl Model {
    fn committed(&self, product: u8) -> (u32, u32) {
        let of = |wanted: fn(S) -> bool| {
            let of_product = self.purchases.iter().filter(|it| it.product == product);
            of_product
                .filter(|it| wanted(it.state))
                .map(|it| it.quantity)
                .sum()
        };
        (of(is_held), of(|state| state == S::Captured))
    }

    /// The checks that come before the sale: key, then rate.
    fn admit(&mut self, user: u8, key: u8, request: &str) -> Result<(), String> {
        if let Some(known) = self.keys.get(&key) {
            if known.request != request {
                return Err("idempotency_key_reused".to_owned());
            }
            let in_flight = || "idempotency_in_flight".to_owned();
            return Err(known.outcome.clone().unwrap_or_else(in_flight));
        }
        let now_ms = self.now_ms;
        let attempts = self.attempts.entry(user).or_default();
        attempts.retain(|at| now_ms - at < RATE_WINDOW_MS);
        if attempts.len() >= RATE_COUNT {
            return Err("rate_limited".to_owned());
        }
        Ok(())
    }

    /// What counts of what `whose` bought, from `since_ms` on.
    fn spent(&self, whose: impl Fn(&Sale) -> bool, since_ms: u64) -> u32 {
        let counts = |it: &&Sale| {
            let stands = has_units(it.state) && it.state != S::Held;
            whose(it) && stands && it.paid_ms.is_some_and(|at| at >= since_ms)
        };
        let sales = self.purchases.iter().filter(counts);
        sales.map(|it| it.quantity * PRICE).sum()
    }

    /// The buyer's limits, then those of the card, which another buyer has, too.
    fn may_pay(&self, user: u8, quantity: u32) -> Result<(), &'static str> {
        // Seoul is nine hours ahead, all year.
        let day_ms = 24 * HOUR_MS;
        let ahead_ms = 9 * HOUR_MS;
        let today_ms = (self.now_ms + ahead_ms) / day_ms * day_ms - ahead_ms;
        for by_card in [false, true] {
            let whose = |it: &Sale| it.user == user || by_card && card_of(it.user) == card_of(user);
            let amount = quantity * PRICE;
            if self.spent(whose, today_ms) + amount > DAILY {
                return Err("daily_limit");
            }
            if self.spent(whose, 0) + amount > LIFETIME {
                return Err("lifetime_limit");
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        user: u8,
        product: u8,
        quantity: u32,
        pays: bool,
    ) -> Result<usize, &'static str> {
        let stands = |it: &&Sale| it.user == user && it.product == product && has_units(it.state);
        let has: u32 = self
            .purchases
            .iter()
            .filter(stands)
            .map(|it| it.quantity)
            .sum();
        if has + quantity > LIMIT {
            return Err("per_user_limit");
        }
        if pays {
            self.may_pay(user, quantity)?;
        }
        let (held, sold) = self.committed(product);
        if held + sold + quantity > self.totals[usize::from(product)] {
            return Err("sold_out");
        }
        let expires_ms = self.now_ms + HOLD_TTL_MS;
        let sale = Sale {
            user,
            product,
            quantity,
            state: S::Held,
            expires_ms,
            key: None,
            paid_ms: None,
            earlier: false,
            capture_refused: false,
            declined: 0,
            review_until_ms: 0,
        };
        self.purchases.push(sale);
        Ok(self.purchases.len() - 1)
    }

    fn count(&mut self, user: u8) {
        let now_ms = self.now_ms;
        self.attempts.entry(user).or_default().push(now_ms);
    }

    fn remember(&mut self, key: u8, request: &str, outcome: Option<String>) {
        self.keys.insert(
            key,
            Known {
                request: request.to_owned(),
                outcome,
            },
        );
    }

    fn hold(&mut self, user: u8, product: u8, quantity: u32, key: u8, request: &str) -> String {
        if let Err(answered) = self.admit(user, key, request) {
            return answered;
        }
        self.count(user);
        let outcome = match self.place(user, product, quantity, false) {
            Ok(_) => "held".to_owned(),
            Err(refused) => refused.to_owned(),
        };
        self.remember(key, request, Some(outcome.clone()));
        outcome
    }

    fn buy(&mut self, user: u8, product: u8, quantity: u32, key: u8, request: &str) -> String {
        if let Err(answered) = self.admit(user, key, request) {
            return answered;
        }
        self.count(user);
        match self.place(user, product, quantity, true) {
            Ok(place) => {
                self.purchases[place].paid_ms = Some(self.now_ms);
                self.purchases[place].state = S::Authorizing;
                self.purchases[place].key = Some(key);
                self.remember(key, request, None);
                "authorizing".to_owned()
            }
            Err(refused) => {
                self.remember(key, request, Some(refused.to_owned()));
                refused.to_owned()
            }
        }
    }

    fn pay(&mut self, place: usize, key: u8, request: &str) -> String {
        let user = self.purchases[place].user;
        if let Err(answered) = self.admit(user, key, request) {
            return answered;
        }
        self.count(user);
        let refused = match self.purchases[place].state {
            S::Held => self.may_pay(user, self.purchases[place].quantity).err(),
            S::Expired => Some("hold_expired"),
            _ => Some("hold_closed"),
        };
        if let Some(refused) = refused {
            self.remember(key, request, Some(refused.to_owned()));
            return refused.to_owned();
        }
        self.purchases[place].paid_ms = Some(self.now_ms);
        self.purchases[place].earlier = true;
        self.purchases[place].state = S::Authorizing;
        self.purchases[place].key = Some(key);
        self.remember(key, request, None);
        "authorizing".to_owned()
    }

    /// The payment ended with nothing charged: an earlier hold lives on, for so many declines.
    fn declined(&mut self, place: usize, refused: bool) -> S {
        let now_ms = self.now_ms;
        let sale = &mut self.purchases[place];
        sale.declined += u32::from(refused);
        let key = sale.key.take().expect("a payment has a key");
        sale.state = match sale.earlier && sale.declined < TRIES_MAX {
            false => S::Declined,
            true if sale.expires_ms <= now_ms => S::Expired,
            true => S::Held,
        };
        let state = sale.state;
        if refused {
            let known = self.keys.get_mut(&key).expect("it was remembered");
            known.outcome = Some("payment_declined".to_owned());
        } else {
            self.keys.remove(&key);
        }
        state
    }

    /// The authorization was given back: an earlier hold lives on where the gateway ended the payment.
    fn voided(&mut self, place: usize) -> S {
        let now_ms = self.now_ms;
        let sale = &mut self.purchases[place];
        sale.declined += 1;
        let key = sale.key.take().expect("a payment has a key");
        let refused = std::mem::take(&mut sale.capture_refused);
        let lives = sale.earlier && sale.declined < TRIES_MAX && sale.expires_ms > now_ms;
        sale.state = if refused && lives { S::Held } else { S::Voided };
        let known = self.keys.get_mut(&key).expect("it was remembered");
        known.outcome = Some("payment_declined".to_owned());
        sale.state
    }

    fn release(&mut self, place: usize) -> &'static str {
        let sale = &mut self.purchases[place];
        match sale.state {
            S::Held | S::Released => {
                sale.state = S::Released;
                "released"
            }
            S::Expired => "hold_expired",
            _ => "hold_closed",
        }
    }

    fn record(&mut self, place: usize, step: u8) -> String {
        let now_ms = self.now_ms;
        let sale = &mut self.purchases[place];
        let reviewed = sale.quantity * PRICE > REVIEW_OVER;
        let next = match (sale.state, step) {
            (S::Authorizing, 0) => S::Authorized,
            (S::Authorizing, 1 | 10) => {
                return self.declined(place, step == 1).as_str().to_owned();
            }
            (S::Authorized, 2) if !reviewed => S::Capturing,
            (S::Authorized, 6) if reviewed => {
                sale.review_until_ms = now_ms + REVIEW_MS;
                S::UnderReview
            }
            (S::UnderReview, 7) => S::Capturing,
            (S::UnderReview, 9) if now_ms >= sale.review_until_ms => S::Voiding,
            (S::Capturing, 3) => S::Captured,
            (S::UnderReview, 8) => S::Voiding,
            (S::Authorizing | S::Authorized | S::UnderReview | S::Capturing, 4) => {
                sale.capture_refused = true;
                S::Voiding
            }
            (S::Voiding, 5) => return self.voided(place).as_str().to_owned(),
            _ => return "wrong_state".to_owned(),
        };
        sale.state = next;
        if let (S::Captured, Some(key)) = (next, sale.key) {
            let known = self.keys.get_mut(&key).expect("a payment has a key");
            known.outcome = Some("captured".to_owned());
        }
        next.as_str().to_owned()
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        for sale in &mut self.purchases {
            if sale.state == S::Held && sale.expires_ms <= self.now_ms {
                sale.state = S::Expired;
            }
        }
    }

    /// What was still to run keeps its remaining time, what was counted its age.
    fn correct(&mut self, ms: i64) {
        let attempts = self.attempts.values_mut().flatten();
        let sales = self.purchases.iter_mut().flat_map(|sale| {
            let times = [&mut sale.expires_ms, &mut sale.review_until_ms];
            times.into_iter().chain(&mut sale.paid_ms)
        });
        for time in attempts.chain(sales).chain([&mut self.now_ms]) {
            *time = time.saturating_add_signed(ms);
        }
    }

    fn set_stock(&mut self, product: u8, total: u32) -> &'static str {
        let (held, sold) = self.committed(product);
        if held + sold > total {
            return "stock_below_committed";
        }
        self.totals[usize::from(product)] = total;
        "set"
    }
}

fn is_held(state: S) -> bool {
    matches!(
        state,
        S::Held | S::Authorizing | S::Authorized | S::UnderReview | S::Capturing | S::Voiding
    )
}

fn card_of(user: u8) -> &'static str {
    ["tok_one", "tok_two"][usize::from(user % 2)]
}

fn has_units(state: S) -> bool {
    is_held(state) || state == S::Captured
}

/// The journal beside the model.
struct Pair {
    model: Model,
    directory: tempfile::TempDir,
    clock: ManualClock,
    journal: Option<Arc<Journal>>,
    ids: Vec<PurchaseId>,
}

impl Pair {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(UnixMs::new(BEGIN_MS));
        let journal = Some(open(directory.path(), &clock));
        let model = Model {
            now_ms: BEGIN_MS,
            ..Model::default()
        };
        let mut pair = Self {
            model,
            directory,
            clock,
            journal,
            ids: Vec::new(),
        };
        for product in 0..2 {
            pair.run(&Step::SetStock { product, total: 5 }, 0);
        }
        pair
    }

    fn journal(&self) -> &Arc<Journal> {
        self.journal.as_ref().expect("it is open between steps")
    }

    /// The state that the step led to, or why it did not.
    fn record(&self, id: PurchaseId, step: u8) -> &'static str {
        let (view, _) = self.journal().reads().purchase(id).expect("it was begun");
        let step = payment_step(step, view.quote);
        match self.journal().record(id, step, Audit::Nothing) {
            Ok(recorded) => recorded.view.state.as_str(),
            Err(error) => error.refusal().expect("the log takes it").reason(),
        }
    }

    fn run(&mut self, step: &Step, number: usize) {
        let request = format!("{step:?}");
        let (found, expected) = match *step {
            Step::Hold {
                user,
                product,
                quantity,
                key,
            } => {
                let command = PlaceHold {
                    quantity,
                    ..commands::hold(user_id(user), product_id(product), origin(key, &request))
                };
                let submitted = self.journal().place_hold(&command);
                let found = self.told(submitted.expect("the log takes it"));
                (
                    found,
                    self.model.hold(user, product, quantity, key, &request),
                )
            }
            Step::Buy {
                user,
                product,
                quantity,
                key,
            } => {
                let command = buy(user, product, quantity, origin(key, &request), None);
                let submitted = self.journal().buy(&command);
                let found = self.told(submitted.expect("the log takes it"));
                (
                    found,
                    self.model.buy(user, product, quantity, key, &request),
                )
            }
            Step::PayHold { purchase, key } => {
                let Some(place) = self.place(purchase) else {
                    return;
                };
                let sale = &self.model.purchases[place];
                let (user, product, quantity) = (sale.user, sale.product, sale.quantity);
                // The fingerprint says which hold, as the front end's does.
                let request = format!("PayHold {place}");
                let hold = Some(self.ids[place]);
                let command = buy(user, product, quantity, origin(key, &request), hold);
                let submitted = self.journal().buy(&command);
                let found = self.told(submitted.expect("the log takes it"));
                (found, self.model.pay(place, key, &request))
            }
            Step::Release { purchase } => {
                let Some(place) = self.place(purchase) else {
                    return;
                };
                let mut origin = origin(0, &request);
                origin.key = None;
                let (hold, user) = (self.ids[place], None);
                let command = ReleaseHold { origin, hold, user };
                let submitted = self.journal().release_hold(&command);
                let found = self.told(submitted.expect("the log takes it"));
                (found, self.model.release(place).to_owned())
            }
            Step::Record { purchase, step } => {
                let Some(place) = self.open_place(purchase) else {
                    return;
                };
                let found = self.record(self.ids[place], step);
                (found.to_owned(), self.model.record(place, step))
            }
            Step::Tick { ms } => {
                self.clock.advance_ms(ms);
                self.sweep();
                self.model.tick(ms);
                return;
            }
            Step::Glance { ms } => return self.glance(ms),
            Step::Correct { ms } => return self.correct(ms),
            Step::SetStock { product, total } => {
                let set = self
                    .journal()
                    .catalogue()
                    .put_product(product_set(product, total));
                let found = match set {
                    Ok(_) => "set",
                    Err(error) => error.refusal().expect("the log takes it").reason(),
                };
                (
                    found.to_owned(),
                    self.model.set_stock(product, total).to_owned(),
                )
            }
            Step::Snapshot => return self.snapshot(),
            Step::Reopen => return self.reopen(),
        };
        assert_eq!(found, expected, "step {number}: {step:?}");
    }

    fn snapshot(&self) {
        self.journal().upkeep().snapshot().expect("a snapshot");
    }

    fn sweep(&self) {
        self.journal().upkeep().sweep().expect("the log takes it");
    }

    fn glance(&mut self, ms: i64) {
        self.clock.step_ms(ms);
        self.sweep();
        self.clock.advance_ms(1_000);
        self.sweep();
        self.clock.step_ms(-ms);
        self.sweep();
        self.model.tick(1_000);
    }

    fn correct(&mut self, ms: i64) {
        self.clock.step_ms(ms);
        self.sweep();
        self.clock.advance_ms(60_000);
        self.model.tick(60_000);
        self.model.correct(ms);
        self.sweep();
        assert_eq!(self.journal().now().get(), self.model.now_ms, "by {ms} ms");
    }

    fn told<Outcome: Into<Came>>(&mut self, submitted: Submitted<Outcome>) -> String {
        let (id, word) = match submitted.outcome.map(Into::into) {
            Ok(Came::Hold(view)) if view.state == S::Held => (view.purchase, "held"),
            Ok(Came::PaymentStarted(id)) => (id, "authorizing"),
            Ok(Came::Hold(view)) => return view.state.as_str().to_owned(),
            Ok(Came::Paid(view)) => return view.state.as_str().to_owned(),
            Ok(Came::Refund(_) | Came::Spent) => {
                unreachable!("the model neither refunds nor spends")
            }
            Ok(Came::Declined(view)) => return view.reason.reason().to_owned(),
            Err(refused) => return refused.reason.reason().to_owned(),
        };
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
        word.to_owned()
    }

    fn place(&self, purchase: u8) -> Option<usize> {
        (!self.ids.is_empty()).then(|| usize::from(purchase) % self.ids.len())
    }

    /// Mostly one whose payment is under way, so that payments get on.
    fn open_place(&self, purchase: u8) -> Option<usize> {
        let open = |place: &usize| {
            let state = self.model.purchases[*place].state;
            state.is_open_payment() || state == S::UnderReview
        };
        let open: Vec<_> = (0..self.ids.len()).filter(open).collect();
        if open.is_empty() || purchase.is_multiple_of(8) {
            return self.place(purchase);
        }
        Some(open[usize::from(purchase) % open.len()])
    }

    fn reopen(&mut self) {
        let before = self.journal().upkeep().digest();
        // Its background threads own it for moments, and with it the directory.
        self.journal().close();
        drop(self.journal.take());
        let journal = open(self.directory.path(), &self.clock);
        assert_eq!(journal.opened().digest, before, "I6");
        self.journal = Some(journal);
    }

    fn compare(&self, number: usize, step: &Step) {
        for product in 0..2 {
            let found = self
                .journal()
                .reads()
                .product(&product_id(product))
                .expect("it was set")
                .0;
            let (held, sold) = self.model.committed(product);
            let total = self.model.totals[usize::from(product)];
            let expected = (total, held, sold, total - held - sold);
            let found = (found.total, found.held, found.sold, found.available());
            assert_eq!(found, expected, "stock after step {number}: {step:?}");
        }
        let waiting = self.model.purchases.iter();
        let waiting = waiting.filter(|it| it.state == S::UnderReview).count();
        assert_eq!(
            self.journal().reads().reviews().len(),
            waiting,
            "after {number}: {step:?}"
        );
        for (place, sale) in self.model.purchases.iter().enumerate() {
            let view = self
                .journal()
                .reads()
                .purchase(self.ids[place])
                .expect("it was begun")
                .0;
            assert_eq!(
                view.state, sale.state,
                "purchase {place} after step {number}: {step:?}"
            );
        }
    }
}

fn open(path: &std::path::Path, clock: &ManualClock) -> Arc<Journal> {
    open_with(path, clock, |_| {})
}

fn open_with(
    path: &std::path::Path,
    clock: &ManualClock,
    change: impl FnOnce(&mut EngineSettings),
) -> Arc<Journal> {
    open_behind(path, clock, ClockBehind::Refuse, change)
}

/// The same with a clock that may lie before the log's last event.
fn open_behind(
    path: &std::path::Path,
    clock: &ManualClock,
    behind: ClockBehind,
    change: impl FnOnce(&mut EngineSettings),
) -> Arc<Journal> {
    let mut options = JournalOptions::new(path);
    options.clock = Clock::Manual(clock.clone());
    options.time.behind = behind;
    // The table is filled with zeroes at each opening, and there are many.
    options.engine.bounds.velocity_keys_max = 4_096;
    options.engine.hold_ttl_ms = HOLD_TTL_MS;
    options.engine.tries_per_hold_max = TRIES_MAX;
    options.engine.idempotency_retention_ms = 365 * 24 * HOUR_MS;
    let usd = Currency::parse("USD").expect("listed");
    let limit = |sum: u32| vec![(usd, Amount::new(i64::from(sum)).expect("an amount"))];
    options.engine.amounts.daily = limit(DAILY);
    options.engine.amounts.lifetime = limit(LIFETIME);
    options.engine.amounts.shared = vec![SharedBy::Card];
    options.engine.review.amount_over = limit(REVIEW_OVER);
    options.day_zone = DayZone::parse("Asia/Seoul").expect("a zone");
    change(&mut options.engine);
    options.log.segment_bytes = 2 << 20;
    options.log.ring_bytes = 1 << 20;
    Journal::open(options, &mut |_| {}).expect("the directory opens")
}

/// A key belongs to one of four buyers, as the front end's scope has the user in it; here the
/// model's key stands for the whole scope, so every buyer shares the small set of keys.
fn origin(key: u8, request: &str) -> Origin {
    static REQUESTS: AtomicU64 = AtomicU64::new(7);
    let mut fingerprint = [0u8; 16];
    for (place, byte) in request.bytes().enumerate() {
        fingerprint[place % 16] = fingerprint[place % 16].wrapping_mul(31).wrapping_add(byte);
    }
    Origin {
        request: RequestId(REQUESTS.fetch_add(1, Relaxed)),
        owner: KeyOwner::parse("shop").expect("a name"),
        key: Some(IdempotencyKey {
            scope: Digest16([key; 16]),
            fingerprint: Digest16(fingerprint),
        }),
        ip: None,
        device: None,
    }
}

fn buy(user: u8, product: u8, quantity: u32, origin: Origin, hold: Option<PurchaseId>) -> Buy {
    Buy {
        quantity,
        card: CardToken::parse(card_of(user)).expect("a token"),
        hold,
        ..commands::buy(user_id(user), product_id(product), origin)
    }
}

fn payment_step(step: u8, quote: Quote) -> PaymentStep {
    match step {
        0 => PaymentStep::Authorized {
            authorization: AuthorizationId::parse("auth").expect("an id"),
            capture_before: None,
        },
        1 => PaymentStep::declined(DeclineCause::DeclinedByIssuer),
        2 => PaymentStep::StartCapture,
        3 => PaymentStep::captured(
            quote,
            CaptureId::parse("cap").expect("an id"),
            ReceiptKeyId::parse("r1").expect("an id"),
        ),
        4 => PaymentStep::StartVoid {
            cause: VoidCause::CaptureRefused,
            code: None,
            within_ms: 60_000,
            by: None,
        },
        5 => PaymentStep::voided(),
        6 => PaymentStep::OpenReview {
            within_ms: REVIEW_MS,
            margin_ms: 0,
        },
        7 => decide(Verdict::Approve, person()),
        8 => decide(Verdict::Reject, person()),
        10 => PaymentStep::declined(DeclineCause::GatewayUnavailable),
        _ => decide(Verdict::Reject, Decider::Deadline),
    }
}

fn decide(verdict: Verdict, decider: Decider) -> PaymentStep {
    PaymentStep::DecideReview {
        verdict,
        decider,
        void_within_ms: 60_000,
    }
}

fn person() -> Decider {
    Decider::Person(Judgement {
        by: AdminAct {
            request: RequestId(2),
            owner: KeyOwner::parse("admin").expect("a name"),
        },
        note: "looked at it".to_owned(),
    })
}

fn product_set(product: u8, total: u32) -> ProductSet {
    ProductSet {
        prices: vec![(
            Currency::parse("USD").expect("listed"),
            Price::new(i64::from(PRICE)).expect("a price"),
        )],
        per_user_limit: Some(LIMIT),
        ..commands::product_set(product_id(product), total)
    }
}

fn product_id(product: u8) -> ProductId {
    ProductId::parse(PRODUCTS[usize::from(product)]).expect("a product")
}

/// All buyers share one shard's worth of keys, so they have to live in one shard: these do.
fn user_id(user: u8) -> UserId {
    let mut found = (0..).map(|number| UserId::parse(&format!("u{number}")).expect("a user"));
    let same_shard = |it: &UserId| holdfast::ids::ShardId::of(it).index() == 17;
    found
        .by_ref()
        .filter(same_shard)
        .nth(usize::from(user))
        .expect("there are always more")
}
