//! Recovery against the live journal, with every kind of event: random commands of every sort, with
//! snapshots and restarts in between. What can be asked of a journal must be the same before a
//! restart and after it, and `check` has to reach the same state from the snapshot and from the whole
//! log. A kind of event that is never drawn fails the test.

use super::{BEGIN_MS, HOUR_MS, origin, product_id};
use crate::came::Came;
use holdfast::engine::command::{
    Buy, NamedCurrency, PaymentStep, PlaceHold, ReceiveWebhook, ReleaseHold, SpendTokens,
    StartRefund, Verdict,
};
use holdfast::engine::event::{
    Act, Active, Actor, ActorRole, AdminActed, AdminRefused, AttemptRefused, BuyerPaused,
    BuyerRated, BuyerSegmented, CaptureDifference, Decider, DeclineCause, Discount, Event, Flow,
    Judgement, Origin, Pause, ProductSet, PromotionSet, Rating, ReceiptSigner, RefundFailure,
    Restock, ReturnedMoney, RulesSource, VoidCause, VoidStuckCause, WebhookFormat, WebhookKind,
};
use holdfast::engine::lifecycle::PurchaseState as S;
use holdfast::engine::metadata::Metadata;
use holdfast::engine::refusal::Refusal;
use holdfast::engine::risk::scoring::FeaturesWritten;
use holdfast::engine::score::Appraisal;
use holdfast::engine::settings::SharedBy;
use holdfast::engine::view::{PurchaseView, RefundStatus};
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, DisputeId, GatewayCode, Lsn,
    PromotionCode, PurchaseId, ReceiptKeyId, RequestId, Segment, ShardId, UserId, WebhookEventId,
};
use holdfast::journal::{
    Audit, Clock, DigestFrom, Elsewhere, Journal, JournalOptions, ManualClock, NewRules,
    NewScoring, Next, Parting, Retention, Submitted, check,
};
use holdfast::money::{Amount, Price, Tokens};
use holdfast::risk::compile;
use holdfast::time::UnixMs;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use support::commands::{self, admin, usd};

const USERS: u8 = 5;
const PRICE: i64 = 500;

/// One command, or what happens around it. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Hold {
        user: u8,
        product: u8,
        promotion: bool,
    },
    Buy {
        user: u8,
        product: u8,
        quantity: u32,
    },
    PayHold {
        purchase: u8,
    },
    Release {
        purchase: u8,
    },
    /// The next step of a payment that its state allows; `way` chooses among them.
    Advance {
        purchase: u8,
        way: u8,
    },
    Refund {
        purchase: u8,
        amount: i64,
    },
    EndRefund {
        purchase: u8,
        succeeds: bool,
    },
    ReturnRefund {
        purchase: u8,
    },
    Webhook {
        purchase: u8,
        kind: u8,
        nonce: u8,
    },
    Spend {
        user: u8,
    },
    SayOf {
        user: u8,
        what: u8,
    },
    Rules {
        depth: u16,
    },
    Scoring {
        always: bool,
    },
    Product {
        product: u8,
        total: u32,
    },
    Promotion {
        uses: u32,
    },
    Import {
        what: u8,
        number: u8,
    },
    Audit {
        what: u8,
    },
    Tick {
        ms: u64,
    },
    /// The wall clock is set, and stays so.
    Correct {
        ms: i64,
    },
    Snapshot,
    Reopen {
        rate: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let buy = (0..USERS, 0..2u8, 1..3u32).prop_map(|(user, product, quantity)| Step::Buy {
        user,
        product,
        quantity,
    });
    let hold =
        (0..USERS, 0..2u8, any::<bool>()).prop_map(|(user, product, promotion)| Step::Hold {
            user,
            product,
            promotion,
        });
    let advance =
        (any::<u8>(), any::<u8>()).prop_map(|(purchase, way)| Step::Advance { purchase, way });
    let webhook =
        (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(purchase, kind, nonce)| Step::Webhook {
            purchase,
            kind,
            nonce,
        });
    let one = prop_oneof![
        6 => buy,
        6 => hold,
        2 => any::<u8>().prop_map(|purchase| Step::PayHold { purchase }),
        2 => any::<u8>().prop_map(|purchase| Step::Release { purchase }),
        24 => advance,
        6 => (any::<u8>(), 1..PRICE + 1).prop_map(|(purchase, amount)| Step::Refund { purchase, amount }),
        8 => (any::<u8>(), 0..4u8).prop_map(|(purchase, way)| Step::EndRefund { purchase, succeeds: way > 0 }),
        5 => any::<u8>().prop_map(|purchase| Step::ReturnRefund { purchase }),
        5 => webhook,
        2 => (0..USERS).prop_map(|user| Step::Spend { user }),
        3 => (0..USERS, any::<u8>()).prop_map(|(user, what)| Step::SayOf { user, what }),
        1 => (1..30u16).prop_map(|depth| Step::Rules { depth }),
        1 => any::<bool>().prop_map(|always| Step::Scoring { always }),
        1 => (0..2u8, 10..60u32).prop_map(|(product, total)| Step::Product { product, total }),
        1 => (10..60u32).prop_map(|uses| Step::Promotion { uses }),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(what, number)| Step::Import { what, number }),
        2 => any::<u8>().prop_map(|what| Step::Audit { what }),
        3 => prop_oneof![1..2_000u64, 5_000..25_000u64, HOUR_MS..60 * HOUR_MS].prop_map(|ms| Step::Tick { ms }),
        1 => super::wall_steps().prop_map(|ms| Step::Correct { ms }),
        1 => Just(Step::Snapshot),
        2 => (4..7u32).prop_map(|rate| Step::Reopen { rate }),
    ];
    prop::collection::vec(one, 40..120)
}

#[test]
fn state_after_recovery_is_the_state_live_with_every_kind_of_event() {
    let drawn = RefCell::new(BTreeSet::new());
    let config = ProptestConfig {
        cases: super::cases(),
        ..ProptestConfig::default()
    };
    let ran = TestRunner::new(config).run(&steps(), |steps| {
        let mut world = KindsRun::new();
        for step in &steps {
            world.run(step);
        }
        world.reopen(6);
        drawn.borrow_mut().extend(world.kinds_in_log());
        world.check();
        Ok(())
    });
    ran.unwrap_or_else(|failed| panic!("{failed}"));
    let drawn = drawn.into_inner();
    let all = BTreeSet::from(Event::KINDS);
    let never: Vec<_> = all.difference(&drawn).collect();
    assert!(
        never.is_empty(),
        "no command of this test leads to {never:?}: add one"
    );
}

struct KindsRun {
    directory: tempfile::TempDir,
    clock: ManualClock,
    journal: Option<Arc<Journal>>,
    purchases: Vec<PurchaseId>,
    webhooks: Vec<ReceiveWebhook>,
    keys: Vec<(UserId, Origin)>,
    requests: u64,
}

impl KindsRun {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(UnixMs::new(BEGIN_MS));
        let journal = Some(open(directory.path(), &clock, 5));
        let mut world = Self {
            directory,
            clock,
            journal,
            purchases: Vec::new(),
            webhooks: Vec::new(),
            keys: Vec::new(),
            requests: 0,
        };
        for product in 0..2 {
            world.run(&Step::Product { product, total: 40 });
        }
        world.run(&Step::Promotion { uses: 40 });
        world
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().expect("it is open between steps")
    }

    /// What is refused is as good a step as what is not: it leaves its event.
    fn run(&mut self, step: &Step) {
        match *step {
            Step::Hold {
                user,
                product,
                promotion,
            } => self.hold(user, product, promotion),
            Step::Buy {
                user,
                product,
                quantity,
            } => self.buy(user, product, quantity, None),
            Step::PayHold { purchase } => self.pay_hold(purchase),
            Step::Release { purchase } => self.release(purchase),
            Step::Advance { purchase, way } => self.advance(purchase, way),
            Step::Refund { purchase, amount } => self.refund(purchase, amount),
            Step::EndRefund { purchase, succeeds } => self.end_refund(purchase, succeeds),
            Step::ReturnRefund { purchase } => self.return_refund(purchase),
            Step::Webhook {
                purchase,
                kind,
                nonce,
            } => self.webhook(purchase, kind, nonce),
            Step::Spend { user } => {
                let origin = self.origin(user);
                let user = user_id(user);
                let tokens = Tokens::new(1);
                let command = SpendTokens {
                    user,
                    tokens,
                    origin,
                };
                let submitted = self.journal().spend_tokens(&command);
                self.told(submitted.expect("the log takes it"));
            }
            Step::SayOf { user, what } => self.say_of(user, what),
            Step::Rules { depth } => self.rules(depth),
            Step::Scoring { always } => self.scoring(always),
            Step::Product { product, total } => {
                let catalogue = self.journal().catalogue();
                let set = catalogue.put_product(product_set(product, total));
                let _ = set.map_err(|error| error.refusal().expect("the log takes it"));
            }
            Step::Promotion { uses } => {
                let catalogue = self.journal().catalogue();
                let set = catalogue.put_promotion(promotion_set(uses));
                let _ = set.map_err(|error| error.refusal().expect("the log takes it"));
            }
            Step::Import { what, number } => self.import(what, number),
            Step::Audit { what } => self.audit(what),
            Step::Tick { ms } => {
                self.clock.advance_ms(ms);
                self.journal().upkeep().sweep().expect("the log takes it");
            }
            Step::Correct { ms } => {
                self.clock.step_ms(ms);
                self.journal().upkeep().sweep().expect("the log takes it");
                self.clock.advance_ms(60_000);
                self.journal().upkeep().sweep().expect("the log takes it");
                assert_eq!(self.journal().now(), self.clock.wall(), "by {ms} ms");
            }
            Step::Snapshot => {
                self.journal().upkeep().snapshot().expect("a snapshot");
            }
            Step::Reopen { rate } => self.reopen(rate),
        }
    }

    fn hold(&mut self, user: u8, product: u8, promotion: bool) {
        let command = PlaceHold {
            promotion: promotion.then(promotion_code),
            metadata: Metadata::new(vec![("order".to_owned(), "17".to_owned())]).unwrap(),
            ..commands::hold(user_id(user), product_id(product), self.origin(user))
        };
        let submitted = self.journal().place_hold(&command);
        self.told(submitted.expect("the log takes it"));
    }

    fn buy(&mut self, user: u8, product: u8, quantity: u32, hold: Option<PurchaseId>) {
        let command = Buy {
            quantity,
            card: CardToken::parse(["tok_a", "tok_b"][usize::from(user % 2)]).expect("a token"),
            hold,
            metadata: Metadata::new(vec![("order".to_owned(), "17".to_owned())]).unwrap(),
            ..commands::buy(user_id(user), product_id(product), self.origin(user))
        };
        let submitted = self.journal().buy(&command);
        self.told(submitted.expect("the log takes it"));
    }

    fn pay_hold(&mut self, purchase: u8) {
        let Some(id) = self.purchase_in(purchase, &[S::Held]) else {
            return;
        };
        let (view, _) = self.journal().reads().purchase(id).expect("it was begun");
        let user = (0..USERS).find(|it| user_id(*it) == view.user);
        let product = (0..2).find(|it| product_id(*it) == view.product);
        let (user, product) = (user.expect("one of ours"), product.expect("one of ours"));
        self.buy(user, product, view.quantity, Some(id));
    }

    fn release(&mut self, purchase: u8) {
        let Some(hold) = self.purchase_in(purchase, &[S::Held]) else {
            return;
        };
        let mut origin = self.origin(0);
        origin.key = None;
        let released = self.journal().release_hold(&ReleaseHold {
            origin,
            hold,
            user: None,
        });
        self.told(released.expect("the log takes it"));
    }

    fn advance(&mut self, purchase: u8, way: u8) {
        let open = [
            S::Authorizing,
            S::Authorized,
            S::UnderReview,
            S::Capturing,
            S::Voiding,
            S::Stuck,
            S::CaptureDiffers,
            S::Captured,
            S::PartiallyRefunded,
        ];
        let Some(id) = self.purchase_in(purchase, &open) else {
            return;
        };
        let (view, _) = self.journal().reads().purchase(id).expect("it was begun");
        // Refused where a review is wanted and not asked for, or the other way round.
        let recorded = (self.journal()).record(id, payment_step(&view, way), Audit::Nothing);
        if let Err(error) = recorded {
            error.refusal().expect("the log takes it");
        }
    }

    fn refund(&mut self, purchase: u8, amount: i64) {
        let Some(id) = self.purchase_in(purchase, &[S::Captured, S::PartiallyRefunded]) else {
            return;
        };
        let (view, _) = self.journal().reads().purchase(id).expect("it was begun");
        self.requests += 1;
        let whole = amount % 3 == 0;
        let restocks = whole && amount % 2 == 0;
        let command = StartRefund {
            purchase: id,
            amount: (!whole).then(|| Amount::new(amount).expect("not negative")),
            previously_refunded: view.refunded,
            note: "asked for".to_owned(),
            restock: [Restock::No, Restock::Yes][usize::from(restocks)],
            key: key_of(self.requests, "refund"),
            by: admin(),
        };
        let submitted = self.journal().start_refund(&command, Audit::Nothing);
        self.told(submitted.expect("the log takes it"));
    }

    fn end_refund(&mut self, purchase: u8, succeeds: bool) {
        let pending: Vec<_> = self
            .purchases
            .iter()
            .filter_map(|id| {
                let (_, more, _) = self.journal().reads().purchase_with_post_capture(*id)?;
                let number = u32::try_from(more.refunds.len()).ok()?;
                self.journal().reads().is_open(*id).then_some((*id, number))
            })
            .filter(|(_, number)| *number > 0)
            .collect();
        let Some((id, number)) = pending.get(usize::from(purchase) % pending.len().max(1)) else {
            return;
        };
        let (number, code) = (*number, None);
        let step = if succeeds {
            PaymentStep::Refunded(number)
        } else {
            PaymentStep::RefundFailed {
                number,
                code,
                failure: RefundFailure::Refused,
            }
        };
        let recorded = self.journal().record(*id, step, Audit::Nothing);
        if let Err(error) = recorded {
            error.refusal().expect("the log takes it");
        }
    }

    /// A refund that succeeded comes back.
    fn return_refund(&mut self, purchase: u8) {
        let succeeded = |id: &PurchaseId| {
            let (_, more, _) = self.journal().reads().purchase_with_post_capture(*id)?;
            let mut refunds = more.refunds.into_iter();
            let refund = refunds.find(|it| matches!(it.status, RefundStatus::Succeeded { .. }))?;
            Some((*id, refund.number))
        };
        let succeeded: Vec<_> = self.purchases.iter().filter_map(succeeded).collect();
        let place = usize::from(purchase) % succeeded.len().max(1);
        let Some((id, number)) = succeeded.get(place) else {
            return;
        };
        // Refused while another refund of the purchase is under way.
        let step = PaymentStep::RefundReturned(*number);
        let recorded = self.journal().record(*id, step, Audit::Nothing);
        if let Err(error) = recorded {
            error.refusal().expect("the log takes it");
        }
    }

    fn webhook(&mut self, purchase: u8, kind: u8, nonce: u8) {
        let paid = [
            S::Captured,
            S::PartiallyRefunded,
            S::Refunded,
            S::Disputed,
            S::ChargedBack,
        ];
        let id = self.purchase_in(purchase, &paid);
        let kinds = [
            WebhookKind::DisputeOpened,
            WebhookKind::DisputeWon,
            WebhookKind::DisputeLost,
            WebhookKind::PaymentCaptured,
        ];
        let format = [WebhookFormat::Holdfast, WebhookFormat::Stripe][usize::from(nonce % 2)];
        let command = ReceiveWebhook {
            format,
            event_id: WebhookEventId::parse(&format!("evt_{}", nonce / 2)).expect("an id"),
            kind: kinds[usize::from(kind) % kinds.len()],
            nonce: Some(u64::from(nonce)),
            happened_at: self.journal().now(),
            purchase: id,
            dispute: DisputeId::parse("du_1").filter(|_| nonce.is_multiple_of(3)),
            amount: Amount::new(i64::from(nonce % 5) * 250).filter(|it| *it > Amount::ZERO),
            currency: NamedCurrency::None,
            code: None,
            request: RequestId(3),
        };
        let received = self.journal().webhooks().receive(&command);
        let _ = received.map_err(|error| error.refusal().expect("the log takes it"));
        self.webhooks.push(command);
    }

    fn say_of(&mut self, user: u8, what: u8) {
        let (user, at) = (user_id(user), self.journal().now());
        match what % 3 {
            0 => {
                let pause = Pause {
                    until: at.plus_ms(20_000),
                    reason: "resale".to_owned(),
                };
                let paused = BuyerPaused {
                    user,
                    pause: what.is_multiple_of(2).then_some(pause),
                    by: admin(),
                };
                let said = self.journal().risk().pause_buyer(paused, Audit::Nothing);
                said.expect("it is written");
            }
            1 => {
                let rated = BuyerRated {
                    user,
                    rating: Rating {
                        segment: what.is_multiple_of(2).then(|| segment("vip")),
                        risk_score: Some(u32::from(what)),
                        account_since: None,
                    },
                    by: admin(),
                };
                let said = self.journal().risk().rate_buyer(rated, Audit::Nothing);
                said.expect("it is written");
            }
            _ => {
                let segmented = BuyerSegmented {
                    user,
                    segment: segment(["new", "loyal"][usize::from(what / 3 % 2)]),
                    series: 1,
                    change: u64::from(what),
                    run: 1,
                };
                let said = self.journal().risk().segment_buyer(segmented);
                said.expect("the log takes it");
            }
        }
    }

    fn rules(&mut self, depth: u16) {
        let text = format!(
            "[[rule]]\nname = \"r\"\nwhen = \"count(attempt by user last 1h) >= {depth}\"\n\
             then = \"observe\"\n\n[[rule]]\nname = \"d\"\n\
             when = \"distinct(card_token by user last 1h) >= {depth}\"\nthen = \"observe\"\n"
        );
        let compiled = compile(&text).expect("rules").set;
        let new = NewRules {
            compiled,
            text,
            source: RulesSource::Administration,
            by: Some(admin()),
        };
        self.journal()
            .risk()
            .put_rules(new, Audit::Nothing)
            .expect("the log takes it");
    }

    fn scoring(&mut self, always: bool) {
        let features = if always {
            FeaturesWritten::Always
        } else {
            FeaturesWritten::WithScores
        };
        let new = NewScoring {
            features,
            model: None,
        };
        self.journal()
            .risk()
            .put_scoring(new)
            .expect("the log takes it");
    }

    fn import(&mut self, what: u8, number: u8) {
        let journal = self.journal();
        let (user, product) = (user_id(number % USERS), product_id(number % 2));
        match what % 5 {
            0 => drop(journal.takeover().sold(&product, u32::from(number % 4))),
            1 => drop(
                journal
                    .takeover()
                    .uses(&promotion_code(), u32::from(number % 4)),
            ),
            2 => drop(
                journal
                    .takeover()
                    .holdings(&user, &product, u32::from(number % 3)),
            ),
            3 => drop(journal.takeover().key(&user, Digest16([number; 16]))),
            _ => drop(
                journal
                    .takeover()
                    .nonces(&[format!("nonce-{number}"), "nonce".to_owned()]),
            ),
        }
    }

    fn audit(&mut self, what: u8) {
        let by = Actor::of(admin(), ActorRole::Admin);
        let act = Act::Snapshot.as_str().to_owned();
        let (target, before, after) = (None, None, None);
        let journal = self.journal();
        let acted = AdminActed {
            act: act.clone(),
            target: target.clone(),
            before,
            after,
            by: by.clone(),
        };
        match what % 4 {
            0 => {
                journal
                    .trail()
                    .admin_acted(acted)
                    .expect("the log takes it");
            }
            3 => {
                // Somebody has more than this log.
                let cursor = journal
                    .history()
                    .cursor_at(journal.tail().durable_lsn())
                    .expect("a log");
                let parting = Parting::OtherRecords;
                journal
                    .history()
                    .reader_is_at("reader", Some(Elsewhere { cursor, parting }));
                assert!(!journal.history().may_sell());
                let accepted = journal.history().accept(admin(), |_| acted);
                accepted.expect("it is written");
                assert!(journal.history().may_sell());
                journal.history().reader_is_at("reader", None);
            }
            1 => {
                let reason = "forbidden".to_owned();
                let left_out = 0;
                let refused = AdminRefused {
                    act,
                    target,
                    reason,
                    left_out,
                    by,
                };
                journal
                    .trail()
                    .admin_refused(refused)
                    .expect("the log takes it");
            }
            _ => {
                let refused = AttemptRefused {
                    flow: Flow::Buy,
                    reason: Refusal::InvalidRequest,
                    facts: None,
                    user: None,
                    product: None,
                    quantity: 0,
                    card: None,
                    origin: origin(0, "unknown"),
                    hits: Vec::new(),
                    appraisal: Appraisal::Plain,
                    left_out: 0,
                };
                journal.trail().refuse(refused).expect("the log takes it");
            }
        }
    }

    fn told<Outcome: Into<Came>>(&mut self, submitted: Submitted<Outcome>) {
        let id = match submitted.outcome.map(Into::into) {
            Ok(Came::Hold(view)) => view.purchase,
            Ok(Came::PaymentStarted(id)) => id,
            Ok(Came::Paid(view)) => view.purchase,
            Ok(Came::Refund(view)) => view.purchase,
            Ok(Came::Declined(_) | Came::Spent) | Err(_) => return,
        };
        if !self.purchases.contains(&id) {
            self.purchases.push(id);
        }
    }

    fn origin(&mut self, user: u8) -> Origin {
        self.requests += 1;
        let mut origin = origin(0, "request");
        origin.key = Some(key_of(self.requests, "request"));
        origin.ip = Some(std::net::IpAddr::from([192, 0, 2, user % 2]));
        origin.device = DeviceId::parse(&format!("device-{}", user % 3));
        self.keys.push((user_id(user), origin.clone()));
        origin
    }

    /// One of the purchases in one of `states`.
    fn purchase_in(&self, number: u8, states: &[S]) -> Option<PurchaseId> {
        let state = |id: &PurchaseId| {
            self.journal()
                .reads()
                .purchase(*id)
                .map(|(view, _)| view.state)
        };
        let fitting = |id: &&PurchaseId| state(id).is_some_and(|it| states.contains(&it));
        let fitting: Vec<_> = self.purchases.iter().filter(fitting).collect();
        let place = usize::from(number).checked_rem(fitting.len())?;
        Some(*fitting[place])
    }

    /// Everything that can be asked of a journal.
    fn seen(&self) -> Vec<String> {
        let journal = self.journal();
        let mut seen = vec![
            journal.upkeep().digest(),
            journal.risk().counters_digest(),
            format!("{:?}", journal.reads().products().0),
            format!(
                "{:?}",
                journal.reads().promotion(&promotion_code()).map(|it| it.0)
            ),
            format!("{:?}", journal.risk().rules().0),
            format!("{:?}", journal.risk().scoring().0),
            format!("{:?}", journal.reads().open_payments()),
            format!("{:?}", journal.reads().open_views().0),
            format!("{:?}", journal.reads().reviews()),
            format!("{:?}", journal.risk().segments_fed()),
        ];
        for user in (0..USERS).map(user_id) {
            let (pause, rating, _) = journal.risk().buyer(&user);
            let (segment, segmented, _) = journal.risk().buyer_segment(&user);
            let buyer = journal.reads().buyer(&user).map(|it| it.0);
            let tokens = journal.reads().tokens(&user);
            let payments = journal
                .reads()
                .payments_of(ShardId::of(&user), 0, usize::MAX);
            seen.push(format!("{payments:?}"));
            seen.push(format!(
                "{user}: {buyer:?} {:?} {pause:?} {rating:?} {segment:?} {segmented:?}",
                (tokens.0, tokens.1)
            ));
        }
        for id in &self.purchases {
            let purchase = journal.reads().purchase_with_post_capture(*id);
            let purchase = purchase.map(|(view, more, _)| (view, more));
            seen.push(format!("{purchase:?}"));
        }
        for (user, origin) in &self.keys {
            let key = origin.key.expect("it was made with one");
            seen.push(format!(
                "{key:?}: {:?}",
                journal.reads().key_answer(user, &key)
            ));
        }
        seen
    }

    /// Which events and nonces of webhooks are known.
    fn webhooks_known(&self) -> Vec<[bool; 2]> {
        let journal = self.journal();
        let known = self.webhooks.iter().map(|webhook| {
            let nonce = webhook
                .nonce
                .and_then(|it| journal.webhooks().knows_nonce(it));
            [journal.webhooks().knows(webhook), nonce.is_some()]
        });
        known.collect()
    }

    fn reopen(&mut self, rate: u32) {
        let (before, known_before) = (self.seen(), self.webhooks_known());
        // Its background threads own it for moments, and with it the directory.
        self.journal().close();
        drop(self.journal.take());
        let journal = open(self.directory.path(), &self.clock, rate);
        assert_eq!(journal.opened().digest, before[0], "the digest is of I6");
        let (rules, _) = journal.risk().rules();
        if let Some(in_force) = &rules.in_force {
            journal
                .risk()
                .take_up_rules(compile(&in_force.set.text).expect("rules").set);
        }
        let (scoring, _) = journal.risk().scoring();
        let always = scoring.is_some_and(|it| it.set.features.is_some());
        self.journal = Some(journal);
        self.scoring(always);
        // Until the clock has settled nothing counts as forgotten, not even what was already.
        for (now, before) in self.webhooks_known().iter().zip(&known_before) {
            assert!(now >= before && now[0] >= before[0] && now[1] >= before[1]);
        }
        // Other limits than before stand in the digest.
        for (now, before) in self.seen().iter().zip(&before).skip(1) {
            assert_eq!(now, before);
        }
    }

    fn kinds_in_log(&self) -> BTreeSet<&'static str> {
        let journal = self.journal();
        let mut feed = journal.tail().feed(Lsn(0)).expect("the log is read");
        let mut kinds = BTreeSet::new();
        while let Next::Event(entry, _) = feed.next().expect("an event") {
            kinds.insert(entry.event.kind());
        }
        kinds
    }

    /// I6 once more, from the files alone: the snapshot's way and the whole log's way agree.
    fn check(&mut self) {
        let digest = self.journal().upkeep().digest();
        self.journal().close();
        drop(self.journal.take());
        let report = check(self.directory.path(), &settings(6)).expect("it is clean");
        assert_eq!(report.digest, digest);
        let both = if report.snapshots > 0 {
            DigestFrom::Both
        } else {
            DigestFrom::Log
        };
        assert_eq!(
            report.digest_from, both,
            "the log goes back to its beginning"
        );
    }
}

fn payment_step(view: &PurchaseView, way: u8) -> PaymentStep {
    let asked = view.quote.amount.get();
    let captured = |amount: i64| PaymentStep::Captured {
        capture: CaptureId::parse("cap").expect("an id"),
        amount: Amount::new(amount).expect("an amount"),
        currency: view.quote.currency,
        receipt_key: ReceiptKeyId::parse("r1").expect("an id"),
        signing_key: ReceiptKeyId::parse("e1").map(ReceiptSigner::at_capture),
    };
    let void = PaymentStep::StartVoid {
        cause: VoidCause::CaptureRefused,
        code: (way >= 4).then(|| GatewayCode::parse("capture_declined").expect("a code")),
        // At once overdue, or never.
        within_ms: u64::from(way % 2) * 60_000,
        by: way.is_multiple_of(3).then(admin),
    };
    match (view.state, way % 8) {
        (S::Authorizing, 0) => PaymentStep::declined(DeclineCause::DeclinedByIssuer),
        (S::Authorizing, _) => PaymentStep::Authorized {
            authorization: AuthorizationId::parse("auth").expect("an id"),
            capture_before: None,
        },
        (S::Authorized | S::Capturing, 0) => void,
        (S::Authorized, 1..4) => PaymentStep::OpenReview {
            within_ms: 10_000,
            margin_ms: 0,
        },
        (S::Authorized, _) => PaymentStep::StartCapture,
        (S::UnderReview, way) => PaymentStep::DecideReview {
            verdict: [Verdict::Approve, Verdict::Reject][usize::from(way % 4 == 0)],
            decider: Decider::Person(Judgement {
                by: admin(),
                note: "looked at".to_owned(),
            }),
            void_within_ms: 0,
        },
        (S::Capturing, 1) => PaymentStep::CaptureDiffered {
            difference: CaptureDifference::Amount,
            capture: CaptureId::parse("cap").expect("an id"),
            captured: Amount::new(asked / 2 + i64::from(way)).expect("an amount"),
            currency: Some(view.quote.currency),
            refunded: Amount::ZERO,
        },
        (S::Capturing, _) => captured(asked),
        (S::CaptureDiffers, 0..3) => PaymentStep::StartVoid {
            cause: VoidCause::Settled,
            code: None,
            within_ms: 60_000,
            by: Some(admin()),
        },
        // Less or more than was asked for.
        (S::CaptureDiffers, way) => captured(asked / 2 + i64::from(way) * asked / 8),
        (S::Stuck, 0) => captured(asked / 2),
        (S::Captured | S::PartiallyRefunded, way) => {
            let total = asked * i64::from(way) / 7;
            PaymentStep::RefundedAtGateway(Amount::new(total).expect("an amount"))
        }
        (S::Voiding, 0..2) => PaymentStep::VoidStuck(VoidStuckCause::Refused),
        (S::Voiding, 2..4) => PaymentStep::VoidStuck(VoidStuckCause::Overdue),
        (_, way) => PaymentStep::Voided {
            returned: way.is_multiple_of(2).then_some(ReturnedMoney {
                amount: view.quote.amount,
                currency: Some(view.quote.currency),
            }),
        },
    }
}

fn settings(rate: u32) -> holdfast::engine::settings::EngineSettings {
    let mut settings = holdfast::engine::settings::EngineSettings {
        hold_ttl_ms: 20_000,
        ..Default::default()
    };
    let sum = |sum: i64| vec![(usd(), Amount::new(sum).expect("an amount"))];
    settings.rate.count = rate;
    settings.amounts.daily = sum(12 * PRICE);
    settings.amounts.shared = vec![SharedBy::Card, SharedBy::Device];
    settings.review.amount_over = sum(PRICE);
    settings.bounds.velocity_keys_max = 4_096;
    settings.webhooks.nonces_max = 4_096;
    settings.webhooks.events_max = 4_096;
    settings
}

fn open(path: &Path, clock: &ManualClock, rate: u32) -> Arc<Journal> {
    let mut options = JournalOptions::new(path);
    options.clock = Clock::Manual(clock.clone());
    options.engine = settings(rate);
    options.snapshot_every_bytes = 0;
    options.log.segment_bytes = 2 << 20;
    options.log.ring_bytes = 1 << 20;
    // `check` is to reach the state from the very first record, too.
    options.retentions = vec![Retention {
        name: "all".to_owned(),
        from: Lsn(0),
    }];
    Journal::open(options, &mut |_| {}).expect("the directory opens")
}

fn product_set(product: u8, total: u32) -> ProductSet {
    ProductSet {
        prices: vec![(usd(), Price::new(PRICE).expect("a price"))],
        per_user_limit: Some(12),
        reward_tokens: 5,
        ..commands::product_set(product_id(product), total)
    }
}

fn promotion_set(uses: u32) -> PromotionSet {
    PromotionSet {
        code: promotion_code(),
        discount: Discount::Percent(10),
        uses_max: uses,
        uses_per_user_max: Some(6),
        products: Vec::new(),
        segments: Vec::new(),
        starts_at: None,
        ends_at: None,
        active: Active::Yes,
        by: admin(),
    }
}

fn key_of(number: u64, of: &str) -> holdfast::engine::event::IdempotencyKey {
    let mut scope = [0xff; 16];
    scope[..8].copy_from_slice(&number.to_le_bytes());
    let mut key = origin(0, of).key.expect("it has one");
    key.scope = Digest16(scope);
    key
}

fn user_id(user: u8) -> UserId {
    UserId::parse(&format!("buyer-{user}")).expect("a user")
}

fn promotion_code() -> PromotionCode {
    PromotionCode::parse("SPRING").expect("a code")
}

fn segment(name: &str) -> Segment {
    Segment::parse(name).expect("a segment")
}
