//! The saga's table, row by row: every state with everything that can be known of the gateway.

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
