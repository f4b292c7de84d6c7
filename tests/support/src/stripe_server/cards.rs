//! The issuers: what each of Stripe's test cards does when it is asked for money.

/// What an issuer says.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CardIssuer {
    Approves,
    /// `code` and `decline_code`.
    Declines(&'static str, &'static str),
    WantsAuthentication,
}

/// The issuer of a payment method; `None` where there is no such payment method.
pub fn issuer(payment_method: &str) -> Option<CardIssuer> {
    const CARD_DECLINED: &str = "card_declined";
    let name = payment_method.strip_prefix("pm_card_")?;
    let name = name.strip_prefix("visa_").unwrap_or(name);
    Some(match name {
        "visa" | "mastercard" | "amex" | "jcb" | "pendingRefund" | "refundFail" => {
            CardIssuer::Approves
        }
        "chargeDeclined" | "chargeCustomerFail" => {
            CardIssuer::Declines(CARD_DECLINED, "generic_decline")
        }
        "chargeDeclinedInsufficientFunds" => {
            CardIssuer::Declines(CARD_DECLINED, "insufficient_funds")
        }
        "chargeDeclinedLostCard" => CardIssuer::Declines(CARD_DECLINED, "lost_card"),
        "chargeDeclinedStolenCard" => CardIssuer::Declines(CARD_DECLINED, "stolen_card"),
        "chargeDeclinedFraudulent" => CardIssuer::Declines(CARD_DECLINED, "fraudulent"),
        "chargeDeclinedVelocityLimitExceeded" => {
            CardIssuer::Declines(CARD_DECLINED, "card_velocity_exceeded")
        }
        "chargeDeclinedExpiredCard" => CardIssuer::Declines("expired_card", ""),
        "chargeDeclinedIncorrectCvc" => CardIssuer::Declines("incorrect_cvc", ""),
        "chargeDeclinedProcessingError" => CardIssuer::Declines("processing_error", ""),
        "authenticationRequired" | "threeDSecure2Required" => CardIssuer::WantsAuthentication,
        _ => return None,
    })
}

/// How a refund to this card begins.
pub fn refund_status(payment_method: &str) -> &'static str {
    match payment_method {
        "pm_card_pendingRefund" => "pending",
        "pm_card_refundFail" => "failed",
        _ => "succeeded",
    }
}
