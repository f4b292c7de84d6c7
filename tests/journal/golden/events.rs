//! One event of each kind with every field filled in, from fixed data. The bytes that these were
//! written to stand beside this file; a field that changes its meaning needs a new version, never
//! another value here.

use holdfast::engine::dispute::{AmountFrom, Dispute, DisputeEnd, DisputeOutcome, DisputeStatus};
use holdfast::engine::event::CorrectedBy;
use holdfast::engine::event::{
    Act, Active, Actor, ActorRole, AdminAct, AdminActed, AdminRefused, AttemptRefused, BuyerPaused,
    BuyerRated, BuyerSegmented, CaptureDiffered, CaptureDifference, CaptureStarted, Clawback,
    ClockCorrected, CounterKept, Decider, DeclineCause, Discount, Disposition, DisputeClosed,
    DisputeOpened, Event, Flow, GivenBack, HeldQuote, HistoryAccepted, HoldAfter, HoldExpired,
    HoldPlaced, HoldReleased, HoldingsImported, IdempotencyKey, Judgement, KeyImported, LimitsSet,
    LogGeneration, ModelInForce, NoncesImported, Origin, Pause, PaymentAuthorized, PaymentCaptured,
    PaymentDeclined, PaymentSource, PaymentStarted, PaymentVoided, PaysFor, ProductSet,
    PromotionSet, PromotionUsesImported, Quote, Rating, ReceiptSigner, RefundExtent, RefundFailed,
    RefundFailure, RefundFound, RefundReturned, RefundStarted, RefundSucceeded, Restock,
    RetryAdvice, ReturnedMoney, ReviewDecided, ReviewOpened, ReviewVerdict, RiskRulesSet,
    RiskScoringSet, RuleHit, RuleName, RuleOutcome, RulesSource, Shown, StockImported, Target,
    TokensSpent, VoidCause, VoidStarted, VoidStuck, VoidStuckCause, WebhookFormat, WebhookKind,
    WebhookReceived,
};
use holdfast::engine::features::{Feature, Features};
use holdfast::engine::lifecycle::PaidState;
use holdfast::engine::metadata::Metadata;
use holdfast::engine::refusal::Refusal;
use holdfast::engine::rejection::RefusalFacts;
use holdfast::engine::score::{Appraisal, ModelScore, Score, Scored};
use holdfast::engine::settings::Limits;
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, DisputeId, GatewayCode, KeyOwner,
    Lsn, ProductId, PromotionCode, PurchaseId, PurchaseTag, ReceiptKeyId, RequestId, Segment,
    ShardId, UserId, WebhookEventId,
};
use holdfast::money::{Amount, Currency, Price, Tokens};
use holdfast::time::UnixMs;

/// The instant of every event: 2027-01-15T08:00:00.123Z.
pub const AT: UnixMs = UnixMs::new(1_800_000_000_123);

/// One event of each kind.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn all() -> Vec<Event> {
    vec![
        Event::ProductSet(product_set()),
        Event::PromotionSet(promotion_for_segments()),
        Event::LimitsSet(LimitsSet {
            limits: Limits {
                rate_count: 5,
                idempotency_retention_ms: 604_800_000,
                ended_keep_ms: 604_800_000,
                declines_keep_ms: 2_592_000_000,
            },
        }),
        Event::ClockCorrected(ClockCorrected {
            before: AT.plus_ms(3_600_000),
            after: AT,
            by: CorrectedBy::Settled,
        }),
        Event::HistoryAccepted(HistoryAccepted {
            generation: LogGeneration {
                number: 2,
                tag: 0x00c0_ffee_00c0_ffee,
            },
            first: Lsn(4_096),
            by: admin(),
        }),
        Event::AdminActed(AdminActed {
            act: Act::Refund.as_str().to_owned(),
            target: Target::parse("p_00000000000001075a17c0de5a17c0de"),
            before: Some(Shown::new(r#"{"status":"captured"}"#.to_owned())),
            after: Some(Shown::new(r#"{"refund":1}"#.to_owned())),
            by: Actor::of(admin(), ActorRole::Admin),
        }),
        Event::AdminRefused(AdminRefused {
            act: Act::ProductSet.as_str().to_owned(),
            target: Target::parse("drop-1"),
            reason: "forbidden".to_owned(),
            left_out: 3,
            by: Actor::of(admin(), ActorRole::Auditor),
        }),
        Event::AttemptRefused(attempt_refused()),
        Event::HoldPlaced(hold_placed()),
        Event::HoldReleased(HoldReleased {
            purchase: purchase(),
            user: user(),
            origin: origin(3),
        }),
        Event::HoldExpired(HoldExpired {
            purchase: purchase(),
            user: user(),
            product: product(),
            quantity: 2,
            card: Some(payment_source().card),
            ip: payment_source().ip,
            device: payment_source().device,
        }),
        Event::PaymentStarted(payment_started()),
        Event::PaymentAuthorized(PaymentAuthorized {
            purchase: purchase(),
            user: user(),
            authorization: AuthorizationId::parse("auth_0001").expect("an id"),
            capture_before: Some(AT.plus_ms(604_800_000)),
        }),
        Event::PaymentDeclined(PaymentDeclined {
            purchase: purchase(),
            user: user(),
            cause: DeclineCause::GatewayFailed,
            code: GatewayCode::parse("insufficient_funds"),
            advice: RetryAdvice::Later,
            hold: HoldAfter::Kept,
            payment_source: payment_source(),
        }),
        Event::CaptureStarted(CaptureStarted {
            purchase: purchase(),
            user: user(),
        }),
        Event::PaymentCaptured(PaymentCaptured {
            purchase: purchase(),
            user: user(),
            capture: CaptureId::parse("cap_0001").expect("an id"),
            receipt_key: ReceiptKeyId::parse("r1").expect("an id"),
            signing_key: ReceiptKeyId::parse("e1").map(ReceiptSigner::at_capture),
            tokens: Tokens::new(14),
            debt_paid: Tokens::new(3),
            payment_source: payment_source(),
            quantity: 1,
            quote: quote(),
            metadata: metadata(),
        }),
        Event::VoidStarted(VoidStarted {
            purchase: purchase(),
            user: user(),
            cause: VoidCause::Operator,
            code: GatewayCode::parse("capture_declined"),
            deadline: AT.plus_ms(86_400_000),
            by: Some(admin()),
        }),
        Event::PaymentVoided(PaymentVoided {
            purchase: purchase(),
            user: user(),
            hold: HoldAfter::Ended,
            returned: Some(ReturnedMoney {
                amount: amount(10_000),
                currency: Currency::parse("USD"),
            }),
        }),
        Event::VoidStuck(VoidStuck {
            purchase: purchase(),
            user: user(),
            cause: VoidStuckCause::Refused,
        }),
        Event::CaptureDiffered(CaptureDiffered {
            purchase: purchase(),
            user: user(),
            difference: CaptureDifference::Amount,
            capture: CaptureId::parse("cap_0002").expect("an id"),
            captured: amount(10_000),
            currency: Some(currency("KRW")),
            refunded: amount(1),
        }),
        Event::RefundStarted(refund_started()),
        Event::RefundSucceeded(RefundSucceeded {
            restock: Restock::Yes,
            purchase: purchase(),
            user: user(),
            number: 2,
            amount: amount(25_000),
            extent: RefundExtent::Full,
            leaves: PaidState::Refunded,
            clawback: clawback(),
            product: product(),
            quantity: 2,
            currency: currency("USD"),
        }),
        Event::RefundFound(RefundFound {
            purchase: purchase(),
            user: user(),
            amount: amount(5_000),
            extent: RefundExtent::Part,
            leaves: PaidState::PartiallyRefunded,
            clawback: clawback(),
            product: product(),
            quantity: 2,
            currency: currency("USD"),
        }),
        Event::RefundReturned(RefundReturned {
            purchase: purchase(),
            user: user(),
            number: Some(3),
            product: product(),
            quantity: 2,
            amount: amount(5_000),
            currency: currency("USD"),
            leaves: PaidState::Captured,
            given_back: GivenBack {
                tokens: Tokens::new(14),
                debt_paid: Tokens::new(3),
            },
        }),
        Event::RefundFailed(RefundFailed {
            purchase: purchase(),
            user: user(),
            number: 3,
            code: GatewayCode::parse("charge_disputed"),
            failure: RefundFailure::Refused,
        }),
        Event::DisputeOpened(DisputeOpened {
            purchase: purchase(),
            user: user(),
            number: 1,
            dispute: dispute(None),
            before: None,
            currency: currency("USD"),
            code: GatewayCode::parse("fraudulent"),
            charged_back: amount(500),
        }),
        Event::DisputeClosed(DisputeClosed {
            purchase: purchase(),
            user: user(),
            number: 1,
            dispute: dispute(Some(DisputeOutcome::Lost)),
            before: Some(DisputeStatus::Opened),
            currency: currency("USD"),
            charged_back_before: amount(500),
            charged_back: amount(25_500),
            leaves: PaidState::PartiallyRefunded,
            clawback: clawback(),
            given_back: GivenBack {
                tokens: Tokens::new(5),
                debt_paid: Tokens::new(2),
            },
        }),
        Event::TokensSpent(TokensSpent {
            user: user(),
            tokens: Tokens::new(11),
            origin: origin(4),
        }),
        Event::WebhookReceived(webhook_received()),
        Event::ReviewOpened(ReviewOpened {
            purchase: purchase(),
            user: user(),
            reasons: vec!["amount_over".to_owned(), "card testing".to_owned()],
            deadline: AT.plus_ms(86_400_000),
        }),
        Event::ReviewDecided(ReviewDecided {
            purchase: purchase(),
            user: user(),
            verdict: ReviewVerdict::Rejected(AT.plus_ms(3_600_000)),
            decider: Decider::Person(Judgement {
                by: admin(),
                note: "not who they say they are".to_owned(),
            }),
        }),
        Event::RiskRulesSet(RiskRulesSet {
            text: "[[rule]]\nname = \"ä\"\n".to_owned(),
            digest: Digest16([0x5a; 16]),
            source: RulesSource::Administration,
            kept: vec![CounterKept {
                counter: 11,
                depth: 21,
                since: AT,
            }],
            by: Some(admin()),
        }),
        Event::RiskScoringSet(RiskScoringSet {
            features: Some(1),
            model: Some(ModelInForce {
                digest: Digest16([0x6b; 16]),
                kind: "logistic".to_owned(),
                name: Some("spring drops".to_owned()),
            }),
            kept: vec![CounterKept {
                counter: 10,
                depth: 16,
                since: AT,
            }],
        }),
        Event::BuyerPaused(BuyerPaused {
            user: user(),
            pause: Some(Pause {
                until: AT.plus_ms(86_400_000),
                reason: "größere Mengen".to_owned(),
            }),
            by: admin(),
        }),
        Event::BuyerRated(BuyerRated {
            user: user(),
            rating: Rating {
                segment: Segment::parse("vip"),
                risk_score: Some(700),
                account_since: Some(UnixMs::new(1_700_000_000_000)),
            },
            by: admin(),
        }),
        Event::BuyerSegmented(buyer_segmented()),
        Event::StockImported(StockImported {
            product: product(),
            sold: 1_500_000,
        }),
        Event::PromotionUsesImported(PromotionUsesImported {
            code: promotion(),
            uses: 17,
        }),
        Event::HoldingsImported(HoldingsImported {
            user: user(),
            product: product(),
            units: 2,
        }),
        Event::KeyImported(KeyImported {
            user: user(),
            scope: Digest16([7; 16]),
        }),
        Event::NoncesImported(NoncesImported {
            nonces: vec![0x0123_4567_89ab_cdef, 1],
        }),
    ]
}

fn payment_source() -> PaymentSource {
    PaymentSource {
        card: CardToken::parse("tok_ok").expect("a token"),
        product: product(),
        ip: origin(2).ip,
        device: origin(2).device,
    }
}

fn hits() -> Vec<RuleHit> {
    vec![RuleHit {
        rule: RuleName::parse("card testing").expect("a name"),
        outcome: RuleOutcome::Review,
    }]
}

fn refund_started() -> RefundStarted {
    RefundStarted {
        restock: Restock::Yes,
        purchase: purchase(),
        user: user(),
        number: 2,
        amount: amount(25_000),
        previously_refunded: amount(1_000),
        note: "größer als bestellt".to_owned(),
        key: origin(5).key.expect("every origin has one"),
        by: admin(),
    }
}

fn webhook_received() -> WebhookReceived {
    WebhookReceived {
        format: WebhookFormat::Stripe,
        event_id: WebhookEventId::parse("evt_0001").expect("an id"),
        kind: WebhookKind::DisputeLost,
        nonce: Some(0x0123_4567_89ab_cdef),
        happened_at: AT,
        purchase: Some(purchase()),
        user: Some(user()),
        disposition: Disposition::Processed,
        request: RequestId(6),
    }
}

fn dispute(outcome: Option<DisputeOutcome>) -> Dispute {
    Dispute {
        id: DisputeId::parse("du_0001"),
        opened_at: AT,
        amount: amount(25_000),
        opened_last: Some(AT),
        ended: outcome.map(|outcome| DisputeEnd {
            at: AT.plus_ms(1_000),
            outcome,
        }),
        amount_from: AmountFrom::Gateway {
            at: AT,
            status: DisputeStatus::Opened,
        },
        asked_back: Tokens::new(14),
    }
}

fn clawback() -> Clawback {
    Clawback {
        requested: Tokens::new(14),
        recovered: Tokens::new(11),
        shortfall: Tokens::new(3),
    }
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).expect("not negative")
}

/// A product with two prices and a window.
pub fn product_set() -> ProductSet {
    ProductSet {
        product: product(),
        name: "Ein Paar Schuhe, größer als sein Preis".to_owned(),
        prices: vec![
            (currency("KRW"), Price::new(25_000).expect("in range")),
            (currency("USD"), Price::new(1_999).expect("in range")),
        ],
        stock: 2_097_151,
        per_user_limit: Some(4),
        starts_at: Some(UnixMs::new(1_799_999_000_000)),
        ends_at: Some(UnixMs::new(1_900_000_000_000)),
        active: Active::Yes,
        hold_ttl_ms: Some(300_000),
        reward_tokens: 7,
        by: admin(),
    }
}

/// A promotion of that product.
pub fn promotion_set() -> PromotionSet {
    let off = |sum| Amount::new(sum).expect("not negative");
    PromotionSet {
        code: promotion(),
        discount: Discount::Fixed(vec![
            (currency("KRW"), off(1_000)),
            (currency("USD"), off(100)),
        ]),
        uses_max: 1_000,
        uses_per_user_max: Some(2),
        products: vec![product()],
        segments: Vec::new(),
        starts_at: None,
        ends_at: Some(UnixMs::new(1_900_000_000_000)),
        active: Active::Yes,
        by: admin(),
    }
}

/// The same for some buyers only.
pub fn promotion_for_segments() -> PromotionSet {
    PromotionSet {
        code: PromotionCode::parse("REGULARS").expect("an id"),
        segments: ["champion", "loyal"]
            .map(|it| Segment::parse(it).expect("an id"))
            .into(),
        ..promotion_set()
    }
}

/// A segment that was computed for that buyer.
pub fn buyer_segmented() -> BuyerSegmented {
    BuyerSegmented {
        user: user(),
        segment: Segment::parse("loyal").expect("an id"),
        series: 0x0123_4567_89ab_cdef,
        change: 41,
        run: 7,
    }
}

fn hold_placed() -> HoldPlaced {
    HoldPlaced {
        purchase: purchase(),
        user: user(),
        product: product(),
        quantity: 2,
        quote: quote(),
        promotion: Some(promotion()),
        expires_at: AT.plus_ms(300_000),
        flow: Flow::Buy,
        origin: origin(1),
        hits: hits(),
        appraisal: appraisal(),
        other_quotes: other_quotes(),
        reward_tokens: 3,
        metadata: metadata(),
    }
}

fn payment_started() -> PaymentStarted {
    PaymentStarted {
        purchase: purchase(),
        user: user(),
        quote: quote(),
        card: CardToken::parse("tok_ok").expect("a token"),
        pays_for: PaysFor::EarlierHold,
        origin: origin(2),
        hits: hits(),
        appraisal: appraisal(),
        review: vec!["amount_over".to_owned(), "card testing".to_owned()],
        metadata: metadata(),
    }
}

fn attempt_refused() -> AttemptRefused {
    AttemptRefused {
        flow: Flow::Hold,
        reason: Refusal::SoldOut,
        facts: Some(Box::new(RefusalFacts::Stock {
            available: 2,
            requested: 3,
        })),
        user: Some(user()),
        product: Some(product()),
        quantity: 3,
        card: Some(CardToken::parse("tok_ok").expect("a token")),
        origin: origin(4),
        hits: hits(),
        appraisal: appraisal(),
        left_out: 5,
    }
}

/// Features from 1 up in the order of the list, but for one that is not known, and a score.
fn appraisal() -> Appraisal {
    let numbered = (1..).zip(Feature::ALL);
    let features = numbered.fold(Features::unknown(), |features, (number, feature)| {
        let known = feature != Feature::AccountAgeS;
        features.with(feature, known.then_some(number))
    });
    Appraisal::Taken(Box::new(Scored {
        features,
        score: Some(ModelScore {
            model: Digest16([0x6b; 16]),
            score: Score::new(437).expect("it is at most a thousand"),
        }),
    }))
}

/// One that can be paid and one that cannot.
fn other_quotes() -> Vec<HeldQuote> {
    let whole = Amount::new(50_000).expect("an amount");
    let payable = Quote {
        currency: currency("KRW"),
        unit_price: Price::new(25_000).expect("a price"),
        discount: whole.percent(10),
        amount: whole.saturating_minus(whole.percent(10)),
    };
    let refused = HeldQuote::Refused(currency("EUR"), Refusal::PromotionNotApplicable);
    vec![HeldQuote::Payable(payable), refused]
}

fn metadata() -> Metadata {
    let pairs = [("cart", "c-17"), ("gift", "")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Metadata::new(pairs.to_vec()).expect("it keeps the bounds")
}

fn quote() -> Quote {
    Quote {
        currency: currency("USD"),
        unit_price: Price::new(1_999).expect("in range"),
        discount: Amount::new(100).expect("not negative"),
        amount: Amount::new(3_898).expect("not negative"),
    }
}

/// Where request `number` came from: an IPv4 address for even ones, IPv6 for odd ones.
pub fn origin(number: u8) -> Origin {
    let ip = if number.is_multiple_of(2) {
        "192.0.2.7"
    } else {
        "2001:db8::7"
    };
    Origin {
        request: RequestId(0x0123_4567_89ab_cd00 + u64::from(number)),
        owner: KeyOwner::parse("shop").expect("an id"),
        key: Some(IdempotencyKey {
            scope: Digest16([number; 16]),
            fingerprint: Digest16([0xf0 | number; 16]),
        }),
        ip: Some(ip.parse().expect("an address")),
        // Longer than what a text id keeps within itself.
        device: Some(DeviceId::parse("device-0123456789abcdef0123456789").expect("an id")),
    }
}

pub fn admin() -> AdminAct {
    AdminAct {
        request: RequestId(0xfeed),
        owner: KeyOwner::parse("admin").expect("an id"),
    }
}

/// The buyer of everything.
pub fn user() -> UserId {
    UserId::parse("ana").expect("an id")
}

/// What they buy.
pub fn product() -> ProductId {
    ProductId::parse("drop-1").expect("an id")
}

/// What they type to get it cheaper.
pub fn promotion() -> PromotionCode {
    PromotionCode::parse("EARLY-BIRD").expect("an id")
}

/// The currency of this code.
pub fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("ISO 4217 lists it")
}

fn purchase() -> PurchaseId {
    PurchaseId::new(
        ShardId::of(&user()),
        300,
        PurchaseTag(0x5a17_c0de_5a17_c0de),
    )
}
