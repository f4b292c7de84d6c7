//! Calls at a Stripe gateway, as the driver makes them, for payments that go by a number.
use holdfast::ids::{
    AuthorizationId, CardToken, GatewayCode, PurchaseId, PurchaseTag, RequestId, ShardId,
};
use holdfast::money::{Amount, Currency};
use holdfast::payments::gateway::{
    AuthorizationClaim, AuthorizeRequest, Decline, DeclinedBy, Inquiry, Reference, RefundRequest,
};
use holdfast::payments::stripe::{ApiBase, Stripe, StripeSettings};
use holdfast::time::UnixMs;
use secrecy::SecretString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is paid, in minor units.
pub const PRICE: i64 = 2_500;

pub const HOUR_MS: u64 = 3_600_000;

pub fn gateway(base: &str, key: &str) -> Stripe {
    Stripe::new(StripeSettings {
        secret_key: SecretString::from(key),
        api_base: ApiBase::parse(base).unwrap(),
        requests_per_s: None,
        connections_max: 8,
        connect_timeout: Duration::from_secs(5),
        body_bytes_max: 4 << 20,
    })
    .unwrap()
}

pub fn reference(number: u64) -> Reference {
    let purchase = PurchaseId::new(ShardId::new(3), number, PurchaseTag(0x5a17_c0de_5a17_c0de));
    Reference::new(0xfeed, purchase, RequestId(number))
}

pub fn now() -> UnixMs {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMs::new(u64::try_from(now.as_millis()).unwrap())
}

pub fn hours_ago(hours: u64) -> UnixMs {
    UnixMs::new(now().get() - hours * HOUR_MS)
}

pub fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

pub fn usd() -> Currency {
    Currency::parse("USD").unwrap()
}

pub fn card(token: &str) -> CardToken {
    CardToken::parse(token).unwrap()
}

pub fn order(number: u64, token: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        reference: reference(number),
        amount: amount(PRICE),
        currency: usd(),
        card: card(token),
        started_at: now(),
    }
}

pub fn claim(number: u64, authorization: Option<&AuthorizationId>) -> AuthorizationClaim {
    AuthorizationClaim {
        reference: reference(number),
        authorization: authorization.cloned(),
        amount: amount(PRICE),
        currency: usd(),
        card: card("pm_card_visa"),
        started_at: now(),
    }
}

pub fn inquiry(number: u64, authorization: Option<&AuthorizationId>) -> Inquiry {
    inquiry_with(number, authorization, "pm_card_visa")
}

pub fn inquiry_with(number: u64, authorization: Option<&AuthorizationId>, token: &str) -> Inquiry {
    Inquiry {
        reference: reference(number),
        authorization: authorization.cloned(),
        amount: amount(PRICE),
        currency: usd(),
        card: card(token),
        started_at: now(),
    }
}

pub fn refund(
    payment: u64,
    authorization: &AuthorizationId,
    number: u32,
    sum: i64,
) -> RefundRequest {
    RefundRequest {
        reference: reference(payment),
        capture: None,
        authorization: Some(authorization.clone()),
        number,
        amount: amount(sum),
        currency: usd(),
    }
}

pub fn declined(by: DeclinedBy, code: &str) -> Decline {
    Decline {
        by,
        code: GatewayCode::parse(code),
    }
}
