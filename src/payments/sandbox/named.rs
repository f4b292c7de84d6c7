//! Owns the sandbox's own ids of authorizations and captures, and the answers that name them.
//!
//! Invariant: an id follows from our reference alone, so a repeated call gets the same one.

use super::charge::ChargeRecord;
use crate::ids::{AuthorizationId, CaptureId};
use crate::money::Amount;
use crate::payments::gateway::{
    Authorization, AuthorizationClaim, CallResult, CapturedMoney, Reference,
};

pub(super) fn approve_authorization(reference: Reference) -> CallResult<Authorization> {
    CallResult::Approved(authorization(reference))
}

pub(super) fn authorization(reference: Reference) -> Authorization {
    Authorization {
        id: std::str::from_utf8(&named(*b"sa_", reference))
            .ok()
            .and_then(AuthorizationId::parse)
            .expect(IDS),
        capture_before: None,
    }
}

pub(super) fn money(
    reference: Reference,
    kept: &ChargeRecord,
    captured: Amount,
    refunded: Amount,
) -> CapturedMoney {
    CapturedMoney {
        authorization: authorization(reference),
        capture: capture_id(reference),
        captured,
        currency: Some(kept.currency),
        refunded,
    }
}

pub(super) fn goes(kept: &ChargeRecord, claim: &AuthorizationClaim) -> bool {
    (kept.amount, kept.currency) == (claim.amount, claim.currency)
        && claim
            .authorization
            .as_ref()
            .is_none_or(|it| it.as_str().as_bytes() == named(*b"sa_", claim.reference))
}

fn capture_id(reference: Reference) -> CaptureId {
    std::str::from_utf8(&named(*b"sc_", reference))
        .ok()
        .and_then(CaptureId::parse)
        .expect(IDS)
}

const IDS: &str = "two letters, an underline and 16 hexadecimal digits are an id";

/// The sandbox's id for something of `reference`: short, so that it needs no heap allocation, and
/// different for each payment of a log.
fn named(prefix: [u8; 3], reference: Reference) -> [u8; 19] {
    let purchase = reference.purchase();
    // All parts except the position are random; where tests count them instead, they must not
    // cancel out.
    let number = reference.log_id()
        ^ purchase.tag().0
        ^ purchase.place().rotate_left(16)
        ^ reference.request().0.rotate_left(40);
    let mut name = [0; 19];
    name[..3].copy_from_slice(&prefix);
    hex::encode_to_slice(number.to_be_bytes(), &mut name[3..])
        .expect("eight bytes are 16 hexadecimal digits");
    name
}
