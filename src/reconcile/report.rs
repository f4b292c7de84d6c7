//! Owns what a run found: counts, each difference with what either side says, and its JSON.
//!
//! Invariant: the words here are an interface (`docs/openapi.yaml`). Nothing here names a buyer or
//! a card.

use crate::engine::lifecycle::PurchaseState;
use crate::engine::view::PaymentView;
use crate::ids::{Lsn, PurchaseId};
use crate::money::{Amount, Currency};
use crate::payments::gateway::{Charged, Reference};
use crate::reconcile::books::Has;
use crate::time::UnixMs;
use serde_json::{Value, json};

/// In which way the two sides differ.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DifferenceKind {
    /// We captured, and the gateway has no money taken for it.
    MissingAtGateway,
    /// The gateway has a charge under our log's reference that we do not know.
    UnknownHere,
    /// What was captured, what went back, or the currency is not the same.
    AmountDiffers,
    /// Money is set aside at the gateway though our purchase ended.
    AuthorizedLeft,
    /// A second charge stands under the reference of one payment.
    ChargedTwice,
}

impl DifferenceKind {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::MissingAtGateway,
        Self::UnknownHere,
        Self::AmountDiffers,
        Self::AuthorizedLeft,
        Self::ChargedTwice,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingAtGateway => "missing_at_gateway",
            Self::UnknownHere => "unknown_here",
            Self::AmountDiffers => "amount_differs",
            Self::AuthorizedLeft => "authorized_left",
            Self::ChargedTwice => "charged_twice",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In which way.
    pub kind: DifferenceKind,
    /// Our name for the payment.
    pub reference: Reference,
    /// What we say; `None`: we do not know it.
    pub ours: Option<Ours>,
    /// What the gateway says.
    pub theirs: Theirs,
}

/// What we say of a payment.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Where the purchase is.
    pub state: PurchaseState,
    /// What it costs.
    pub amount: Amount,
    /// What went back.
    pub refunded: Amount,
    pub currency: Currency,
}

/// What the gateway says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Theirs {
    Listed(Charged),
    /// It does not list it, and says this when asked.
    Unlisted(Has),
}

impl From<&PaymentView> for Ours {
    fn from(view: &PaymentView) -> Self {
        Self {
            state: view.state,
            amount: view.amount,
            refunded: view.refunded,
            currency: view.currency,
        }
    }
}

/// How much was looked at.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcileCounts {
    /// Charges that the gateway listed.
    pub charges: u64,
    /// Charges that are as we say.
    pub agree: u64,
    /// Charges of payments that were not decided on our side, or changed while we looked.
    pub open: u64,
    /// Charges without money: declined, or voided.
    pub empty: u64,
    /// Charges under the reference of another log.
    pub foreign: u64,
    /// Charges without a reference of ours.
    pub without_reference: u64,
    /// Captures of ours that the gateway confirmed when asked, though it did not list them.
    pub unlisted: u64,
    /// Payments of ours that were looked at.
    pub payments: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Everything was compared.
    Complete,
    /// There were more differences than are listed, so it ended early.
    TooManyDifferences,
    /// The gateway or the log failed, in these words.
    Failed(String),
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileReport {
    /// Which run of this process, from 1.
    pub run: u64,
    /// Whose payments are ours.
    pub log_id: u64,
    /// When it began.
    pub started_at: UnixMs,
    pub ended_at: UnixMs,
    /// Payments begun before were not compared; `None`: all were.
    pub since: Option<UnixMs>,
    /// Our side as it was before the first page; what was captured later is for the next run.
    pub as_of: Lsn,
    /// How it ended.
    pub outcome: RunOutcome,
    /// How much was looked at.
    pub counts: ReconcileCounts,
    pub differences: Vec<Difference>,
}

impl ReconcileReport {
    /// Whether the whole of both sides was compared and is the same.
    pub fn agrees(&self) -> bool {
        self.succeeded() && self.differences.is_empty()
    }

    /// Whether it says something of the books: it did not fail.
    pub fn succeeded(&self) -> bool {
        !matches!(self.outcome, RunOutcome::Failed(_))
    }

    /// Differences of one kind.
    pub fn count(&self, kind: DifferenceKind) -> usize {
        self.differences.iter().filter(|it| it.kind == kind).count()
    }

    /// `agrees`, `differs` or `failed`.
    pub fn word(&self) -> &'static str {
        match (self.succeeded(), self.differences.is_empty()) {
            (false, _) => "failed",
            (true, true) => "agrees",
            (true, false) => "differs",
        }
    }

    pub fn to_json(&self) -> Value {
        let counts = &self.counts;
        json!({
            "run": self.run,
            "result": self.word(),
            "complete": self.outcome == RunOutcome::Complete,
            "error": match &self.outcome {
                RunOutcome::Failed(why) => Some(why),
                RunOutcome::Complete | RunOutcome::TooManyDifferences => None,
            },
            "log_id": format!("{:016x}", self.log_id),
            "started_at": self.started_at.to_string(),
            "ended_at": self.ended_at.to_string(),
            "since": self.since.map(|since| since.to_string()),
            "as_of_lsn": self.as_of.0,
            "counts": {
                "charges": counts.charges,
                "agree": counts.agree,
                "open": counts.open,
                "empty": counts.empty,
                "foreign": counts.foreign,
                "without_reference": counts.without_reference,
                "unlisted": counts.unlisted,
                "payments": counts.payments,
            },
            "differences": self.differences.iter().map(Difference::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Difference {
    fn purchase(&self) -> PurchaseId {
        self.reference.purchase()
    }

    fn to_json(&self) -> Value {
        let ours = self.ours.map(|ours| {
            json!({
                "status": ours.state.as_str(),
                "amount": ours.amount.get(),
                "refunded": ours.refunded.get(),
                "currency": ours.currency.as_str(),
            })
        });
        let theirs = match &self.theirs {
            Theirs::Listed(charge) => json!({
                "status": "listed",
                "gateway_id": charge.gateway_id,
                "authorized": charge.authorized.get(),
                "captured": charge.captured.get(),
                "refunded": charge.refunded.get(),
                "currency": charge.currency.as_str(),
            }),
            Theirs::Unlisted(has) => json!({ "status": has.as_str() }),
        };
        json!({
            "kind": self.kind.as_str(),
            "purchase_id": self.purchase().to_string(),
            "reference": self.reference.to_string(),
            "ours": ours,
            "gateway": theirs,
        })
    }
}
