//! Owns the facts: every event that can stand in the log, with its outcome in it.
//!
//! [`event_table`] is the one list of kinds. From it follow [`Event`] with its words, buyers, keys and
//! steps, the groups ([`Group`]) and, in `journal`'s codec, the numbers, versions and bytes in the log.
//!
//! Invariants: an event says all that `apply` needs (price, discount, expiry, reason), so that
//! applying never decides; a field, once written to a log, keeps its meaning: a change of shape is
//! a new version beside the old one; a number is never given twice.
//! Deliberately absent: the instant and the LSN, which belong to the record around an event.

mod attempt;
mod audited;
mod catalogue;
mod clock;
mod history;
mod hold;
mod imported;
mod limits;
mod part;
mod payment;
mod post_capture;
mod review;
mod risk;
mod segment;
mod webhook;

use crate::engine::words::lifecycle::Step;
use crate::ids::{KeyOwner, PurchaseId, UserId};

pub use attempt::{AdminAct, AttemptRefused, Flow, HeldQuote, IdempotencyKey, Origin, Quote};
pub use audited::{Act, Actor, ActorRole, AdminActed, AdminRefused, Shown, Target};
pub use catalogue::{Active, Discount, ProductSet, PromotionSet};
pub use clock::{ClockCorrected, CorrectedBy};
pub use history::{HistoryAccepted, LogGeneration};
pub use hold::{HoldExpired, HoldPlaced, HoldReleased};
pub use imported::{
    HoldingsImported, KeyImported, NoncesImported, PromotionUsesImported, StockImported,
};
pub use limits::LimitsSet;
pub use part::{Part, ShardChange};
pub use payment::{
    CaptureDiffered, CaptureDifference, CaptureStarted, DeclineCause, HoldAfter, PaymentAuthorized,
    PaymentCaptured, PaymentDeclined, PaymentStarted, PaymentVoided, PaysFor, ReceiptSigner,
    RetryAdvice, ReturnedMoney, SignWhen, VoidCause, VoidStarted, VoidStuck, VoidStuckCause,
};
pub use post_capture::{
    Clawback, DisputeClosed, DisputeOpened, GivenBack, RefundExtent, RefundFailed, RefundFailure,
    RefundFound, RefundReturned, RefundStarted, RefundSucceeded, Restock, TokensSpent,
};
pub use review::{Decider, Judgement, ReviewDecided, ReviewOpened, ReviewVerdict};
pub use risk::{
    BuyerPaused, BuyerRated, CounterKept, ModelInForce, Pause, PaymentSource, RULE_NAME_CHARS_MAX,
    Rating, RiskRulesSet, RiskScoringSet, RuleHit, RuleName, RuleOutcome, RulesSource,
};
pub use segment::BuyerSegmented;
pub use webhook::{Disposition, WebhookFormat, WebhookKind, WebhookReceived};

/// Every kind of event, one line each; hands the list to the macro `$then`.
///
/// A group is what a reader of events looks at or leaves out as a whole; `Event::part` says which
/// part of the state owns it. A line's columns:
///
/// 1. the number in the log, never given to another kind, and the version of its shape;
/// 2. the word outside: `holdfast log --kind`, `/admin/audit?kind=`, and the name of its schema;
/// 3. the kind, which is also the name of its struct;
/// 4. whether it names a buyer: `always` or `maybe` (a field `user`), or `never`;
/// 5. where it names the API key that it came by: in its `origin`, in its `by`, as its struct says
///    (`own`: `fn owner`), or nowhere;
/// 6. the step that it is in its purchase's life: a [`Step`]; `own` where its struct says which one
///    (`fn step`); or `none`.
macro_rules! event_table {
    ($then:ident) => {
        $then! {
            /// Units are reserved for a buyer; a purchase begins or ends.
            Hold(HoldEvent) {
                /// Units were reserved for a buyer.
                17 1 "hold_placed"              HoldPlaced              always  origin  HoldPlaced;
                /// A hold was released.
                18 1 "hold_released"            HoldReleased            always  origin  HoldReleased;
                /// A hold expired.
                19 1 "hold_expired"             HoldExpired             always  none    HoldExpired;
            }
            /// A payment, until it is captured, declined or voided.
            Payment(PaymentEvent) {
                /// The intent to authorize and capture.
                32 1 "payment_started"          PaymentStarted          always  origin  PaymentStarted;
                /// The gateway authorized the amount.
                33 1 "payment_authorized"       PaymentAuthorized       always  none    PaymentAuthorized;
                /// The payment ended with nothing charged.
                34 1 "payment_declined"         PaymentDeclined         always  none    own;
                /// The intent to capture; the gateway is called once this is durable.
                35 1 "capture_started"          CaptureStarted          always  none    CaptureStarted;
                /// The gateway captured.
                36 1 "payment_captured"         PaymentCaptured         always  none    PaymentCaptured;
                /// The gateway captured a different amount.
                47 1 "capture_differed"         CaptureDiffered         always  none    CaptureDiffered;
                /// The intent to void an authorization.
                37 1 "void_started"             VoidStarted             always  own     VoidStarted;
                /// The gateway voided the authorization.
                38 1 "payment_voided"           PaymentVoided           always  none    own;
                /// Voiding an authorization is overdue.
                39 1 "void_stuck"               VoidStuck               always  none    VoidStuck;
            }
            /// Reviews by a person.
            Review(ReviewEvent) {
                /// A review was opened.
                45 1 "review_opened"            ReviewOpened            always  none    ReviewOpened;
                /// A review was decided.
                46 1 "review_decided"           ReviewDecided           always  own     own;
            }
            /// Captured money is refunded.
            Refund(RefundEvent) {
                /// The intent to refund.
                40 1 "refund_started"           RefundStarted           always  by      RefundStarted;
                /// The gateway made a refund.
                41 1 "refund_succeeded"         RefundSucceeded         always  none    own;
                /// The gateway refused a refund.
                42 1 "refund_failed"            RefundFailed            always  none    RefundFailed;
                /// The gateway made a refund that was not requested here.
                48 1 "refund_found"             RefundFound             always  none    own;
                /// Refunded money came back.
                49 1 "refund_returned"          RefundReturned          always  none    own;
            }
            /// A cardholder disputes a payment.
            Dispute(DisputeEvent) {
                /// The cardholder disputes the payment.
                43 1 "dispute_opened"           DisputeOpened           always  none    DisputeOpened;
                /// A dispute was decided.
                44 1 "dispute_closed"           DisputeClosed           always  none    own;
            }
            /// Refused attempts.
            Attempt(AttemptEvent) {
                /// An attempt was refused.
                16 1 "attempt_refused"          AttemptRefused          maybe   origin  none;
            }
            /// A buyer, besides their purchases.
            Buyer(BuyerEvent) {
                /// A buyer spent reward tokens.
                20 1 "tokens_spent"             TokensSpent             always  origin  none;
                /// A buyer was paused, or the pause was lifted.
                21 1 "buyer_paused"             BuyerPaused             always  by      none;
                /// The operator rated a buyer.
                22 1 "buyer_rated"              BuyerRated              always  by      none;
                /// A buyer's segment was computed from their purchases.
                52 1 "buyer_segmented"          BuyerSegmented          always  none    none;
                /// Units that a buyer bought in the system before were imported.
                66 1 "holdings_imported"        HoldingsImported        always  none    none;
                /// An idempotency key of the system before was imported.
                67 1 "key_imported"             KeyImported             always  none    none;
            }
            /// Products and promotions.
            Catalogue(CatalogueEvent) {
                /// The operator set a product.
                1 1 "product_set"               ProductSet              never   by      none;
                /// The operator set a promotion.
                2 1 "promotion_set"             PromotionSet            never   by      none;
                /// Units sold by the system before were imported.
                64 1 "stock_imported"           StockImported           never   none    none;
                /// Promotion uses of the system before were imported.
                65 1 "promotion_uses_imported"  PromotionUsesImported   never   none    none;
            }
            /// Risk rules and scoring.
            Risk(RiskEvent) {
                /// Risk rules were set.
                6 1 "risk_rules_set"            RiskRulesSet            never   own     none;
                /// The scoring of attempts was set.
                9 1 "risk_scoring_set"          RiskScoringSet          never   none    none;
            }
            /// Webhooks of the gateway.
            Webhook(WebhookEvent) {
                /// A genuine webhook was accepted.
                5 1 "webhook_received"          WebhookReceived         maybe   none    none;
                /// Webhook nonces of the system before were imported.
                68 1 "nonces_imported"          NoncesImported          never   none    none;
            }
            /// The core itself.
            Core(CoreEvent) {
                /// The process started with other limits than before.
                4 1 "limits_set"                LimitsSet               never   none    none;
                /// The core's time was corrected.
                10 1 "clock_corrected"          ClockCorrected          never   none    none;
                /// The operator accepted a restored or copied history of the log.
                11 1 "history_accepted"         HistoryAccepted         never   by      none;
            }
            /// The audit trail of administrative acts. It changes nothing.
            Trail(TrailEvent) {
                /// An administrative act.
                3 1 "admin_acted"               AdminActed              never   by      none;
                /// An administrative act was refused.
                7 1 "admin_refused"             AdminRefused            never   by      none;
            }
        }
    };
}
pub(crate) use event_table;

macro_rules! user_in {
    ($event:ident always) => {
        Some(&$event.user)
    };
    ($event:ident maybe) => {
        $event.user.as_ref()
    };
    ($event:ident never) => {
        None
    };
}

macro_rules! owner_of {
    ($event:ident none) => {
        None
    };
    ($event:ident own) => {
        $event.owner()
    };
    ($event:ident $named:ident) => {
        Some(&$event.$named.owner)
    };
}

macro_rules! step_of {
    ($event:ident none) => {
        None
    };
    ($event:ident own) => {
        Some(($event.purchase, $event.step()))
    };
    ($event:ident $step:ident) => {
        Some(($event.purchase, Step::$step))
    };
}

macro_rules! events {
    ($(
        $(#[$about_group:meta])*
        $group:ident($of_group:ident) {
            $(
                $(#[$about:meta])*
                $number:literal $version:literal $word:literal $kind:ident $user:ident $owner:ident $step:ident;
            )*
        }
    )*) => {
        /// A fact that stands in the log.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $($($(#[$about])* $kind($kind),)*)*
        }

        /// An event by its group.
        #[derive(Copy, Clone, Debug)]
        pub enum Group<'a> {
            $($(#[$about_group])* $group($of_group<'a>),)*
        }

        $(
            $(#[$about_group])*
            #[derive(Copy, Clone, Debug)]
            pub enum $of_group<'a> {
                $($(#[$about])* $kind(&'a $kind),)*
            }
        )*

        impl Event {
            /// The words for all kinds.
            pub const KINDS: [&str; [$($($word,)*)*].len()] = [$($($word,)*)*];

            /// The word for its kind, as `holdfast log --kind` and `/admin/audit?kind=` take it.
            pub const fn kind(&self) -> &'static str {
                match self {
                    $($(Self::$kind(_) => $word,)*)*
                }
            }

            /// The event as one of its group.
            pub const fn group(&self) -> Group<'_> {
                match self {
                    $($(Self::$kind(event) => Group::$group($of_group::$kind(event)),)*)*
                }
            }

            /// The buyer that this event is about.
            #[allow(unused_variables, reason = "some kinds are about no buyer")]
            pub const fn user(&self) -> Option<&UserId> {
                match self {
                    $($(Self::$kind(event) => user_in!(event $user),)*)*
                }
            }

            /// The name of the key that this event came by, where one is known.
            #[allow(unused_variables, reason = "some kinds come by no key")]
            pub const fn owner(&self) -> Option<&KeyOwner> {
                match self {
                    $($(Self::$kind(event) => owner_of!(event $owner),)*)*
                }
            }

            /// The step that this event is in some purchase's life.
            #[allow(unused_variables, reason = "some kinds are no step")]
            pub fn step(&self) -> Option<(PurchaseId, Step)> {
                match self {
                    $($(Self::$kind(event) => step_of!(event $step),)*)*
                }
            }
        }
    };
}

event_table!(events);
