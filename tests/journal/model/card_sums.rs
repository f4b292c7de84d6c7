//! What was bought with one card counts towards its limits by what became of each purchase, and
//! towards a day only while that day is kept: what goes back or comes back long after it changes the
//! sum of all days alone, live and after a restart.

use super::{
    AdminAct, Amount, BEGIN_MS, CaptureId, Currency, HOUR_MS, KeyOwner, ManualClock, PRICE,
    PaymentStep, PurchaseId, ReceiptKeyId, RequestId, buy, open_with, origin, payment_step,
    product_set,
};
use holdfast::engine::command::{NamedCurrency, ReceiveWebhook, StartRefund};
use holdfast::engine::event::{CaptureDifference, Quote, Restock, WebhookFormat, WebhookKind};
use holdfast::ids::WebhookEventId;
use holdfast::journal::{Audit, BuyOutcome, Journal, RefundOutcome};
use holdfast::time::UnixMs;
use std::sync::Arc;

/// A day and what is kept of it are over by then.
const LONG_AFTER_MS: u64 = 90 * HOUR_MS;

struct Shop {
    directory: tempfile::TempDir,
    clock: ManualClock,
    journal: Option<Arc<Journal>>,
    keys: u8,
}

impl Shop {
    /// One card buys for three prices in all, and for as much on one day.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(UnixMs::new(BEGIN_MS));
        let mut shop = Self {
            directory,
            clock,
            journal: None,
            keys: 0,
        };
        shop.reopen();
        let put = shop.journal().catalogue().put_product(product_set(0, 100));
        put.expect("it is written");
        shop
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().expect("it is open between steps")
    }

    fn reopen(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.close();
        }
        let journal = open_with(self.directory.path(), &self.clock, |engine| {
            let sum = vec![(usd(), amount(3 * PRICE))];
            engine.amounts.daily.clone_from(&sum);
            engine.amounts.lifetime = sum;
        });
        self.journal = Some(journal);
    }

    fn key(&mut self) -> u8 {
        self.keys += 1;
        self.keys
    }

    /// Buys one unit with the card that these buyers share; `None`: a limit refused it.
    fn buys(&mut self, user: u8) -> Option<PurchaseId> {
        let key = self.key();
        let command = buy(2 * user, 0, 1, origin(key, "buy"), None);
        let submitted = self.journal().buy(&command).expect("the log takes it");
        match submitted.outcome {
            Ok(BuyOutcome::PaymentStarted(id)) => Some(id),
            Err(_) => None,
            other => panic!("{other:?}"),
        }
    }

    fn record(&self, id: PurchaseId, step: PaymentStep) {
        let recorded = self.journal().record(id, step, Audit::Nothing);
        recorded.expect("its state allows it");
    }

    fn authorized(&mut self, user: u8) -> PurchaseId {
        let id = self.buys(user).expect("the limits leave room");
        let (view, _) = self.journal().reads().purchase(id).expect("it was begun");
        for step in [0, 2] {
            self.record(id, payment_step(step, view.quote));
        }
        id
    }

    fn captured(&mut self, user: u8) -> PurchaseId {
        let id = self.authorized(user);
        self.record(id, captured(PRICE));
        id
    }

    /// Gives back so much of a purchase, as its refund of this number.
    fn refund(&mut self, id: PurchaseId, number: u32, of: u32) {
        let (view, _) = self.journal().reads().purchase(id).expect("it was begun");
        let key = self.key();
        let command = StartRefund {
            purchase: id,
            amount: Some(amount(of)),
            previously_refunded: view.refunded,
            note: "asked for".to_owned(),
            restock: Restock::No,
            key: origin(key, "refund").key.expect("it has one"),
            by: AdminAct {
                request: RequestId(9),
                owner: KeyOwner::parse("admin").expect("a name"),
            },
        };
        let submitted = self.journal().start_refund(&command, Audit::Nothing);
        let outcome = submitted.expect("the log takes it").outcome;
        assert!(
            matches!(outcome, Ok(RefundOutcome::Started(_))),
            "{outcome:?}"
        );
        self.record(id, PaymentStep::Refunded(number));
    }

    /// How many units the card still buys, each by another buyer.
    fn room(&mut self) -> usize {
        let bought: Vec<_> = (10..20).map_while(|user| self.buys(user)).collect();
        for id in &bought {
            self.record(*id, payment_step(1, self.quote(*id)));
        }
        bought.len()
    }

    /// A dispute about all of it, as a webhook says.
    fn dispute(&self, id: PurchaseId, number: usize, kind: WebhookKind) {
        let said = ReceiveWebhook {
            format: WebhookFormat::Holdfast,
            event_id: WebhookEventId::parse(&format!("evt_{number}")).expect("an id"),
            kind,
            nonce: None,
            happened_at: self.clock.wall().plus_ms(number as u64),
            purchase: Some(id),
            dispute: None,
            amount: None,
            currency: NamedCurrency::None,
            code: None,
            request: RequestId(3),
        };
        let taken = self.journal().webhooks().receive(&said);
        let _ = taken.map_err(|error| error.refusal().expect("the log takes it"));
    }

    fn quote(&self, id: PurchaseId) -> Quote {
        let (view, _) = self.journal().reads().purchase(id).expect("it was begun");
        view.quote
    }
}

fn usd() -> Currency {
    Currency::parse("USD").expect("listed")
}

fn amount(of: u32) -> Amount {
    Amount::new(i64::from(of)).expect("an amount")
}

fn captured(of: u32) -> PaymentStep {
    PaymentStep::Captured {
        capture: CaptureId::parse("cap").expect("an id"),
        amount: amount(of),
        currency: usd(),
        receipt_key: ReceiptKeyId::parse("r1").expect("an id"),
        signing_key: None,
    }
}

#[test]
fn a_refund_that_comes_back_long_after_its_day_counts_in_all_and_goes_back_again() {
    let mut shop = Shop::new();
    let (first, second) = (shop.captured(0), shop.captured(1));
    shop.refund(first, 1, 200);
    shop.clock.advance_ms(LONG_AFTER_MS);
    shop.reopen();
    shop.record(first, PaymentStep::RefundReturned(1));
    assert_eq!(shop.room(), 1, "two are paid for again");
    shop.refund(first, 2, PRICE);
    assert_eq!(shop.room(), 2);
    shop.reopen();
    assert_eq!(shop.room(), 2, "as before");
    shop.refund(second, 1, PRICE);
    assert_eq!(shop.room(), 3);
}

#[test]
fn a_refund_that_comes_back_on_its_day_counts_on_it_again() {
    let mut shop = Shop::new();
    let id = shop.captured(0);
    shop.refund(id, 1, PRICE);
    assert_eq!(shop.room(), 3);
    shop.record(id, PaymentStep::RefundReturned(1));
    assert_eq!(shop.room(), 2);
    shop.reopen();
    assert_eq!(shop.room(), 2);
    shop.refund(id, 2, PRICE);
    assert_eq!(shop.room(), 3);
}

#[test]
fn a_capture_of_more_that_is_settled_long_after_its_day_can_go_back() {
    let mut shop = Shop::new();
    let id = shop.authorized(0);
    let differed = PaymentStep::CaptureDiffered {
        difference: CaptureDifference::Amount,
        capture: CaptureId::parse("cap").expect("an id"),
        captured: amount(2 * PRICE),
        currency: Some(usd()),
        refunded: Amount::ZERO,
    };
    shop.record(id, differed);
    shop.clock.advance_ms(LONG_AFTER_MS);
    shop.reopen();
    shop.record(id, captured(2 * PRICE));
    assert_eq!(
        shop.room(),
        1,
        "what was taken counts, whatever was asked for"
    );
    shop.refund(id, 1, 2 * PRICE);
    assert_eq!(shop.room(), 3);
    shop.reopen();
    assert_eq!(shop.room(), 3);
}

#[test]
fn a_dispute_that_is_lost_and_won_moves_no_sum_of_a_card() {
    let mut shop = Shop::new();
    let id = shop.captured(0);
    shop.clock.advance_ms(LONG_AFTER_MS);
    shop.reopen();
    for (number, kind) in [WebhookKind::DisputeLost, WebhookKind::DisputeWon]
        .into_iter()
        .enumerate()
    {
        shop.dispute(id, number, kind);
        assert_eq!(shop.room(), 2, "{kind:?}");
    }
    shop.refund(id, 1, PRICE);
    assert_eq!(shop.room(), 3);
}
