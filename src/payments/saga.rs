//! Owns the next step of a payment: a pure function of the purchase's state and of what is known
//! of the gateway's. It calls nothing, waits for nothing and records nothing.
//!
//! Invariants:
//! 1. After an unknown outcome the only action is a look-up: a call that may have had an effect is
//!    not sent again.
//! 2. A call is sent to the gateway only in the state whose intent is in the log.
//! 3. Every pair of state and knowledge has its action; there is no fallback arm, so a new state
//!    or a new thing to know must be placed here.
//!
//! Deliberately absent: how often and how long to try (`calls`, `driver`), and refunds of what was
//! captured (`refund`).

use crate::engine::command::Verdict;
use crate::engine::event::{CaptureDifference, DeclineCause, Quote, VoidCause};
use crate::engine::lifecycle::PurchaseState;
use crate::ids::GatewayCode;
use crate::payments::gateway::{Authorization, CapturedMoney, LookupResult};

/// What is known about one payment at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayState {
    /// No call that may have had an effect was made since the last step was recorded: known only to
    /// the task that recorded the intent, if the process has not crashed since.
    Unasked,
    /// A call with an unknown outcome may have been made: after a crash, a timeout or an unknown
    /// answer.
    InDoubt,
    /// The state at the gateway, from its answer or a look-up; a captured amount is the requested one.
    Has(LookupResult),
    /// The gateway captured a different amount than requested, and some of it is left.
    Differs(CaptureDifference, CapturedMoney),
    /// The gateway will never capture, with its word for why.
    CaptureRefused(Option<GatewayCode>),
    /// The gateway has nothing, and no further authorization is sent: it did not answer within
    /// `payments.give_up_after_s`.
    GivenUp(Late),
}

impl GatewayState {
    /// The knowledge from the look-up result `found` of a payment for which `asked` was requested.
    pub fn of(found: LookupResult, asked: Quote) -> Self {
        match found {
            LookupResult::Captured(money) => match difference(&money, asked) {
                Some(difference) => Self::Differs(difference, money),
                None => Self::Has(LookupResult::Captured(money)),
            },
            LookupResult::Nothing
            | LookupResult::Declined(_)
            | LookupResult::Authorized(_)
            | LookupResult::Voided
            | LookupResult::Refunded(_) => Self::Has(found),
        }
    }
}

/// What differs between a capture and the request.
pub fn difference(money: &CapturedMoney, asked: Quote) -> Option<CaptureDifference> {
    if money.currency != Some(asked.currency) {
        Some(CaptureDifference::Currency)
    } else if money.captured != asked.amount {
        Some(CaptureDifference::Amount)
    } else {
        None
    }
}

/// The state of a payment's review.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// No review.
    No,
    /// A person must decide before the capture.
    Wanted,
    /// The deadline has passed, and decides.
    Due(Verdict),
}

/// Whether an authorization without an answer may still take effect.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Late {
    /// None is in progress, or the reference is closed.
    Impossible,
    /// One may.
    Possible,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Call the gateway.
    Ask(Ask),
    /// Record what is known, or what is about to be called.
    Record(Record),
    /// Nothing for the saga to do.
    Rest(RestReason),
}

/// The calls of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Look up what it has.
    LookUp,
    /// Authorize.
    Authorize,
    /// Capture.
    Capture,
    /// Close the reference, under which it has nothing, so that no authorization still in transit
    /// takes effect later.
    Close,
    /// Void the authorization, and close the reference.
    Void,
    /// Refund what is left of the captured money.
    GiveBack(CapturedMoney),
}

/// The records of the saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The authorization.
    Authorized(Authorization),
    /// Nothing was charged, with the gateway's reason code; the units are free.
    Declined(DeclineCause, Option<GatewayCode>),
    /// A review is opened.
    OpenReview,
    /// The decision of the deadline, because no person decided in time.
    DecideReview(Verdict),
    /// The intent to capture; the gateway is called once this is durable.
    StartCapture,
    /// The capture, which sells the units.
    Captured(CapturedMoney),
    /// A capture of a different amount, which a person must settle.
    Differs(CaptureDifference, CapturedMoney),
    /// The intent to void, with the gateway's word for why it refused the capture.
    StartVoid(VoidCause, Option<GatewayCode>),
    /// The gateway has nothing of it any more; what it had captured and refunded, if anything.
    Voided(Option<CapturedMoney>),
}

/// Why there is nothing to do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RestReason {
    /// Captured; refunds and disputes may have followed.
    Captured,
    /// Ended with nothing charged.
    Declined,
    /// Ended with the authorization voided.
    Voided,
    /// A person must act first.
    Waiting,
    /// There is no payment: an open or ended hold.
    NoPayment,
}

/// The next action for a purchase in `state`, given what is `known` of the gateway, and the state
/// of its review.
pub fn next(state: PurchaseState, review: Review, known: &GatewayState) -> Action {
    use PurchaseState as S;
    match state {
        S::Authorizing => authorizing(known),
        S::Authorized => authorized(review, known),
        S::Capturing => capturing(known),
        S::Voiding | S::Stuck => voiding(known),
        S::Captured | S::PartiallyRefunded | S::Refunded | S::Disputed | S::ChargedBack => {
            Action::Rest(RestReason::Captured)
        }
        S::Declined => Action::Rest(RestReason::Declined),
        S::Voided => Action::Rest(RestReason::Voided),
        S::CaptureDiffers => Action::Rest(RestReason::Waiting),
        S::UnderReview => match review {
            Review::Due(verdict) => Action::Record(Record::DecideReview(verdict)),
            Review::No | Review::Wanted => Action::Rest(RestReason::Waiting),
        },
        S::Held | S::Expired | S::Released => Action::Rest(RestReason::NoPayment),
    }
}

fn authorizing(known: &GatewayState) -> Action {
    match known {
        GatewayState::Unasked | GatewayState::Has(LookupResult::Nothing) => {
            Action::Ask(Ask::Authorize)
        }
        GatewayState::InDoubt | GatewayState::CaptureRefused(_) => Action::Ask(Ask::LookUp),
        GatewayState::Has(LookupResult::Authorized(authorization)) => {
            Action::Record(Record::Authorized(authorization.clone()))
        }
        // Captured already: a crash lost the steps, so they are recorded again one by one.
        GatewayState::Has(LookupResult::Captured(money)) | GatewayState::Differs(_, money) => {
            Action::Record(Record::Authorized(money.authorization.clone()))
        }
        GatewayState::Has(LookupResult::Declined(decline)) => {
            Action::Record(Record::Declined(decline.cause(), decline.code.clone()))
        }
        GatewayState::GivenUp(Late::Possible) => Action::Ask(Ask::Close),
        // Voided without a record of it: the reference was closed and the answer was lost, or it
        // was voided at the gateway's own site. No issuer declined.
        GatewayState::Has(LookupResult::Voided | LookupResult::Refunded(_))
        | GatewayState::GivenUp(Late::Impossible) => {
            Action::Record(Record::Declined(DeclineCause::GatewayUnavailable, None))
        }
    }
}

fn authorized(review: Review, known: &GatewayState) -> Action {
    match known {
        GatewayState::Unasked
        | GatewayState::Has(LookupResult::Authorized(_) | LookupResult::Captured(_))
        | GatewayState::Differs(..) => match review {
            Review::No => Action::Record(Record::StartCapture),
            // Even if it is captured already, a person decides whether it stays.
            Review::Wanted | Review::Due(_) => Action::Record(Record::OpenReview),
        },
        GatewayState::InDoubt | GatewayState::GivenUp(_) => Action::Ask(Ask::LookUp),
        GatewayState::CaptureRefused(code) => start_void(VoidCause::CaptureRefused, code.clone()),
        GatewayState::Has(
            LookupResult::Nothing
            | LookupResult::Declined(_)
            | LookupResult::Voided
            | LookupResult::Refunded(_),
        ) => start_void(VoidCause::AuthorizationLapsed, None),
    }
}

fn capturing(known: &GatewayState) -> Action {
    match known {
        GatewayState::Has(LookupResult::Authorized(_)) => Action::Ask(Ask::Capture),
        GatewayState::Unasked | GatewayState::InDoubt | GatewayState::GivenUp(_) => {
            Action::Ask(Ask::LookUp)
        }
        GatewayState::Has(LookupResult::Captured(money)) => {
            Action::Record(Record::Captured(money.clone()))
        }
        // A receipt is sealed only over what was requested and confirmed.
        GatewayState::Differs(difference, money) => {
            Action::Record(Record::Differs(*difference, money.clone()))
        }
        GatewayState::CaptureRefused(code) => start_void(VoidCause::CaptureRefused, code.clone()),
        GatewayState::Has(
            LookupResult::Nothing
            | LookupResult::Declined(_)
            | LookupResult::Voided
            | LookupResult::Refunded(_),
        ) => start_void(VoidCause::AuthorizationLapsed, None),
    }
}

fn start_void(cause: VoidCause, code: Option<GatewayCode>) -> Action {
    Action::Record(Record::StartVoid(cause, code))
}

fn voiding(known: &GatewayState) -> Action {
    match known {
        // If it has nothing, an authorization may still be in transit: voiding closes the
        // reference.
        GatewayState::Has(LookupResult::Authorized(_) | LookupResult::Nothing)
        | GatewayState::CaptureRefused(_) => Action::Ask(Ask::Void),
        GatewayState::Unasked | GatewayState::InDoubt | GatewayState::GivenUp(_) => {
            Action::Ask(Ask::LookUp)
        }
        // The gateway captured although it refused, or a person captured at its site. No money
        // without goods, so any amount is refunded.
        GatewayState::Has(LookupResult::Captured(money)) | GatewayState::Differs(_, money) => {
            Action::Ask(Ask::GiveBack(money.clone()))
        }
        GatewayState::Has(LookupResult::Refunded(money)) => {
            Action::Record(Record::Voided(Some(money.clone())))
        }
        GatewayState::Has(LookupResult::Declined(_) | LookupResult::Voided) => {
            Action::Record(Record::Voided(None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AuthorizationId, CaptureId};
    use crate::money::{Amount, Currency, Price};
    use crate::payments::gateway::Decline;

    /// Every kind of knowledge, by the words of the table.
    fn every_known() -> [(&'static str, GatewayState); 12] {
        let authorization = || Authorization {
            id: AuthorizationId::parse("a").expect("an id"),
            capture_before: None,
        };
        let money = || CapturedMoney {
            authorization: authorization(),
            capture: CaptureId::parse("c").expect("an id"),
            captured: Amount::new(5).expect("an amount"),
            currency: None,
            refunded: Amount::ZERO,
        };
        [
            ("unasked", GatewayState::Unasked),
            ("doubt", GatewayState::InDoubt),
            ("nothing", GatewayState::Has(LookupResult::Nothing)),
            (
                "declined",
                GatewayState::Has(LookupResult::Declined(Decline::BY_ISSUER)),
            ),
            (
                "authorized",
                GatewayState::Has(LookupResult::Authorized(authorization())),
            ),
            (
                "captured",
                GatewayState::Has(LookupResult::Captured(money())),
            ),
            (
                "differs",
                GatewayState::Differs(CaptureDifference::Amount, money()),
            ),
            ("voided", GatewayState::Has(LookupResult::Voided)),
            (
                "refunded",
                GatewayState::Has(LookupResult::Refunded(money())),
            ),
            ("refused", GatewayState::CaptureRefused(None)),
            ("given-up", GatewayState::GivenUp(Late::Impossible)),
            ("late", GatewayState::GivenUp(Late::Possible)),
        ]
    }

    fn word(action: &Action) -> String {
        match action {
            Action::Ask(Ask::LookUp) => "LOOK-UP".into(),
            Action::Ask(Ask::Authorize) => "AUTHORIZE".into(),
            Action::Ask(Ask::Capture) => "CAPTURE".into(),
            Action::Ask(Ask::Close) => "CLOSE".into(),
            Action::Ask(Ask::Void) => "VOID".into(),
            Action::Ask(Ask::GiveBack(_)) => "GIVE-BACK".into(),
            Action::Record(Record::Authorized(_)) => "authorized".into(),
            Action::Record(Record::Declined(cause, _)) => format!("declined:{}", cause.as_str()),
            Action::Record(Record::OpenReview) => "open-review".into(),
            Action::Record(Record::DecideReview(verdict)) => format!("decide:{verdict:?}"),
            Action::Record(Record::StartCapture) => "start-capture".into(),
            Action::Record(Record::Captured(_)) => "captured".into(),
            Action::Record(Record::Differs(difference, _)) => {
                format!("stuck:{}", difference.as_str())
            }
            Action::Record(Record::StartVoid(cause, _)) => format!("start-void:{}", cause.as_str()),
            Action::Record(Record::Voided(None)) => "voided".into(),
            Action::Record(Record::Voided(Some(_))) => "voided:returned".into(),
            Action::Rest(rest) => format!("rest:{rest:?}"),
        }
    }

    /// Calls to the gateway in capitals, records in small letters.
    const TABLE: &str = "
        authorizing  unasked     AUTHORIZE
        authorizing  doubt       LOOK-UP
        authorizing  nothing     AUTHORIZE
        authorizing  declined    declined:declined_by_issuer
        authorizing  authorized  authorized
        authorizing  captured    authorized
        authorizing  differs     authorized
        authorizing  voided      declined:gateway_unavailable
        authorizing  refunded    declined:gateway_unavailable
        authorizing  refused     LOOK-UP
        authorizing  given-up    declined:gateway_unavailable
        authorizing  late        CLOSE

        authorized   unasked     start-capture
        authorized   doubt       LOOK-UP
        authorized   nothing     start-void:authorization_lapsed
        authorized   declined    start-void:authorization_lapsed
        authorized   authorized  start-capture
        authorized   captured    start-capture
        authorized   differs     start-capture
        authorized   voided      start-void:authorization_lapsed
        authorized   refunded    start-void:authorization_lapsed
        authorized   refused     start-void:capture_refused
        authorized   given-up    LOOK-UP
        authorized   late        LOOK-UP

        capturing    unasked     LOOK-UP
        capturing    doubt       LOOK-UP
        capturing    nothing     start-void:authorization_lapsed
        capturing    declined    start-void:authorization_lapsed
        capturing    authorized  CAPTURE
        capturing    captured    captured
        capturing    differs     stuck:captured_amount_differs
        capturing    voided      start-void:authorization_lapsed
        capturing    refunded    start-void:authorization_lapsed
        capturing    refused     start-void:capture_refused
        capturing    given-up    LOOK-UP
        capturing    late        LOOK-UP

        voiding      unasked     LOOK-UP
        voiding      doubt       LOOK-UP
        voiding      nothing     VOID
        voiding      declined    voided
        voiding      authorized  VOID
        voiding      captured    GIVE-BACK
        voiding      differs     GIVE-BACK
        voiding      voided      voided
        voiding      refunded    voided:returned
        voiding      refused     VOID
        voiding      given-up    LOOK-UP
        voiding      late        LOOK-UP

        stuck        unasked     LOOK-UP
        stuck        doubt       LOOK-UP
        stuck        nothing     VOID
        stuck        declined    voided
        stuck        authorized  VOID
        stuck        captured    GIVE-BACK
        stuck        differs     GIVE-BACK
        stuck        voided      voided
        stuck        refunded    voided:returned
        stuck        refused     VOID
        stuck        given-up    LOOK-UP
        stuck        late        LOOK-UP

        held                *    rest:NoPayment
        expired             *    rest:NoPayment
        released            *    rest:NoPayment
        under_review        *    rest:Waiting
        declined            *    rest:Declined
        voided              *    rest:Voided
        captured            *    rest:Captured
        partially_refunded  *    rest:Captured
        refunded            *    rest:Captured
        disputed            *    rest:Captured
        charged_back        *    rest:Captured
        differs             *    rest:Waiting
    ";

    #[test]
    fn the_table_says_what_to_do_in_every_state_with_everything_known() {
        let rows: Vec<Vec<&str>> = TABLE
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|row| !row.is_empty())
            .collect();
        for state in PurchaseState::ALL {
            for (known_word, known) in every_known() {
                // Two states share the word `stuck`.
                let state_word = match state {
                    PurchaseState::CaptureDiffers => "differs",
                    _ => state.as_str(),
                };
                let row = rows
                    .iter()
                    .find(|row| row[0] == state_word && ["*", known_word].contains(&row[1]))
                    .unwrap_or_else(|| panic!("no row for {} {known_word}", state.as_str()));
                let found = word(&next(state, Review::No, &known));
                assert_eq!(found, row[2], "{} {known_word}", state.as_str());
            }
        }
    }

    #[test]
    fn a_capture_is_compared_in_currency_amount_and_refunds() {
        let usd = Currency::parse("USD").expect("a currency");
        let amount = |minor| Amount::new(minor).expect("an amount");
        let asked = Quote {
            currency: usd,
            unit_price: Price::new(1_999).expect("a price"),
            discount: Amount::ZERO,
            amount: amount(1_999),
        };
        for (captured, currency, refunded, expected) in [
            (1_999, Some("USD"), 0, "captured"),
            (1_999, Some("USD"), 500, "captured"),
            (1_999, Some("USD"), 1_999, "refunded"),
            (1_998, Some("USD"), 0, "differs"),
            (1, Some("USD"), 0, "differs"),
            (2_000, Some("USD"), 0, "differs"),
            (0, Some("USD"), 0, "differs"),
            (1_000, Some("USD"), 1_000, "refunded"),
            (1_999, Some("EUR"), 0, "differs"),
            (1_999, None, 0, "differs"),
        ] {
            let money = CapturedMoney {
                authorization: Authorization {
                    id: AuthorizationId::parse("a").expect("an id"),
                    capture_before: None,
                },
                capture: CaptureId::parse("c").expect("an id"),
                captured: amount(captured),
                currency: currency.and_then(Currency::parse),
                refunded: amount(refunded),
            };
            let word = match GatewayState::of(LookupResult::taken(money), asked) {
                GatewayState::Has(LookupResult::Captured(_)) => "captured",
                GatewayState::Has(LookupResult::Refunded(_)) => "refunded",
                GatewayState::Differs(..) => "differs",
                other => panic!("{other:?}"),
            };
            assert_eq!(word, expected, "{captured} {currency:?} {refunded}");
        }
    }

    #[test]
    fn exactly_the_open_states_of_the_life_cycle_are_driven() {
        for state in PurchaseState::ALL {
            let rests = matches!(
                next(state, Review::No, &GatewayState::InDoubt),
                Action::Rest(_)
            );
            assert_eq!(rests, !state.is_open_payment(), "{}", state.as_str());
        }
    }
    /// With a review, only these pairs differ from the table above.
    #[test]
    fn what_is_to_be_reviewed_is_never_captured_before_it_is_decided() {
        use PurchaseState as S;
        let due = Review::Due;
        let reviews = [Review::Wanted, due(Verdict::Approve), due(Verdict::Reject)];
        for state in PurchaseState::ALL {
            for (known_word, known) in every_known() {
                let plain = next(state, Review::No, &known);
                for review in reviews {
                    let expected = match (state, review, &plain) {
                        (S::Authorized, _, Action::Record(Record::StartCapture)) => {
                            Action::Record(Record::OpenReview)
                        }
                        (S::UnderReview, Review::Due(verdict), _) => {
                            Action::Record(Record::DecideReview(verdict))
                        }
                        _ => plain.clone(),
                    };
                    let found = next(state, review, &known);
                    assert_eq!(
                        found,
                        expected,
                        "{} {known_word} {review:?}",
                        state.as_str()
                    );
                }
            }
        }
    }
}
