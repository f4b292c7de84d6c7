//! What others do to a payment while we are busy with it: somebody in a hurry at the company's own
//! site, and cardholders who dispute a part. Each does only what the company would let them do.

use super::books::{RefundMade, StripeBooks, now_s};
use super::hooks::Event;
use serde_json::{Map, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Somebody at the company's own site who is sometimes faster with a capture than we are.
#[derive(Clone, Debug)]
pub struct Hasty {
    pub seed: u64,
    /// Of 1,000 authorizations so many are captured there at once.
    pub per_mille: u64,
    /// How much is captured, one of these.
    pub amounts: Vec<i64>,
}

/// What is told of a dispute, in the order in which it happens.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Opened,
    Withdrawn,
    Won,
    Lost,
    Reinstated,
}

impl Told {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Opened => ("charge.dispute.created", "needs_response"),
            Self::Withdrawn => ("charge.dispute.funds_withdrawn", "needs_response"),
            Self::Won => ("charge.dispute.closed", "won"),
            Self::Lost => ("charge.dispute.closed", "lost"),
            Self::Reinstated => ("charge.dispute.funds_reinstated", "won"),
        }
    }
}

/// Seconds between two things that happen to a dispute: their order is told by their times.
const APART_S: u64 = 10;

impl StripeBooks {
    /// Somebody captures so much of it at the company's own site.
    pub(super) fn capture_at_site(&mut self, reference: &str, amount: i64) {
        for at in self.of_reference(reference) {
            self.captured_at_site(at, amount);
        }
    }

    fn captured_at_site(&mut self, at: usize, amount: i64) {
        let it = &mut self.intents[at].booked;
        assert_eq!(it.status, "requires_capture");
        "succeeded".clone_into(&mut it.status);
        it.captures += 1;
        it.captured = amount;
        it.by_hand = true;
        self.happened(at, "payment_intent.succeeded");
    }

    /// Somebody gives so much of it back at the company's own site.
    pub(super) fn refund_at_site(&mut self, reference: &str, amount: i64) {
        for at in self.of_reference(reference) {
            self.refunded_at_site(at, amount);
        }
    }

    fn refunded_at_site(&mut self, at: usize, amount: i64) {
        let it = &mut self.intents[at].booked;
        assert!(amount <= it.left());
        it.refunded += amount;
        it.by_hand = true;
        self.refunds.push(RefundMade {
            id: format!("re_{:016x}", self.refunds.len()),
            intent: at,
            amount,
            status: "succeeded".to_owned(),
            metadata: Map::new(),
            created: now_s(),
        });
        self.happened(at, "charge.refunded");
    }

    /// What was given back under `reference` comes back: the refunds failed after they had succeeded.
    pub(super) fn fail_refunds(&mut self, reference: &str) {
        for at in self.of_reference(reference) {
            let done = |it: &&mut RefundMade| it.intent == at && it.status == "succeeded";
            for made in self.refunds.iter_mut().filter(done) {
                "failed".clone_into(&mut made.status);
                self.intents[at].booked.refunded -= made.amount;
            }
        }
        self.tell_failed_refunds(reference);
    }

    /// Tells of all refunds under `reference` that failed, once more where that was told before.
    pub(super) fn tell_failed_refunds(&mut self, reference: &str) {
        for at in self.of_reference(reference) {
            let failed = |it: &&RefundMade| it.intent == at && it.status == "failed";
            let shown = self.refunds.iter().filter(failed);
            let shown: Vec<_> = shown.map(|it| self.refund_shown(it)).collect();
            for refund in shown {
                self.told("refund.failed", refund, 0);
            }
        }
    }

    /// What somebody in a hurry captures of an intent that was just authorized.
    pub(super) fn hurry(&mut self, at: usize) {
        let (Some(hasty), Some(reference)) = (&self.hasty, &self.intents[at].booked.reference)
        else {
            return;
        };
        let drawn = xxh3_64_with_seed(reference.as_bytes(), hasty.seed);
        if (drawn >> 32) % 1_000 >= hasty.per_mille {
            return;
        }
        let choices = hasty.amounts.len() as u64;
        let choice = usize::try_from(drawn % choices).expect("one of a few");
        let amount = hasty.amounts[choice];
        self.captured_at_site(at, amount);
    }

    /// Gives back up to so much of what is left of an intent; how much that was.
    pub(super) fn some_back(&mut self, id: &str, most: i64) -> i64 {
        let at = self.known(id);
        let amount = most.min(self.intents[at].booked.left());
        if amount > 0 {
            self.refunded_at_site(at, amount);
        }
        amount
    }

    /// The cardholder disputes up to so much of what is left, once, and this is what comes of it.
    /// The money is away from the first word on, and back where the last one says so. How much it
    /// was about.
    pub(super) fn part_disputed(&mut self, id: &str, most: i64, told: &[Told]) -> i64 {
        let at = self.known(id);
        let it = &mut self.intents[at];
        let amount = most.min(it.booked.left());
        if amount <= 0 || it.disputed {
            return 0;
        }
        it.disputed = true;
        let last = told.last().expect("something is told");
        if !matches!(last, Told::Won | Told::Reinstated) {
            it.booked.charged_back = amount;
        }
        let object = |status: &str| {
            json!({
                "id": format!("du_{at:016x}"), "object": "dispute", "amount": amount,
                "currency": it.booked.currency, "charge": it.charge,
                "payment_intent": it.booked.id, "status": status, "reason": "fraudulent",
            })
        };
        let happened = told.iter().map(|it| (it.words(), object(it.words().1)));
        let happened: Vec<_> = happened.collect();
        let ago = APART_S * happened.len() as u64;
        for (step, ((kind, _), object)) in happened.into_iter().enumerate() {
            let since = ago - APART_S * step as u64;
            self.told(kind, object, since);
        }
        amount
    }
}

impl Event {
    /// Whether it is told until it is taken: of a dispute nobody hears in another way.
    pub(super) fn is_insisted_on(&self) -> bool {
        self.kind.starts_with("charge.dispute.")
    }
}
