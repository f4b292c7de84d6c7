//! Owns the one classification of Stripe's responses: a pure function.
//!
//! Invariants:
//! 1. A request that may have moved money and has no readable response is unknown, never retriable.
//! 2. A request that moves no money is at worst retriable.
//! 3. A key that Stripe does not accept is never a buyer's decline: nothing happened, and an
//!    operator must fix it.
//!
//! Deliberately absent: what to do next, and reading intents (`intent`).

use super::client::{NoResponse, ResendAllowed, ResponseOrigin};
use super::wire::ApiError;
use crate::ids::GatewayCode;
use crate::payments::gateway::{CallResult, Decline, DeclinedBy, Trouble};

/// Whether a request can move money.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// Creating an unconfirmed intent, and reading.
    Nothing,
    /// Confirming, capturing, canceling, refunding.
    Money,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Back<'a> {
    /// A response.
    Answer {
        status: u16,
        /// Whether it is a stored response.
        told: ResponseOrigin,
        /// Whether the same request may be sent again.
        again: ResendAllowed,
        /// Its `error`, if it could be read.
        error: Option<&'a ApiError>,
    },
    /// No response.
    Lost(NoResponse),
}

/// The meaning of an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Classification {
    /// It was done, now or earlier under the same key.
    Done,
    /// It was not done and will not be.
    Declined(Decline),
    /// It was not done; the same may be sent again.
    Retriable(Trouble),
    /// It may have been done.
    Unknown(Trouble),
    /// Stripe failed internally when the key was first used, and the key repeats that for ever: it
    /// may have been done, and this key leads no further.
    KeySpent,
    /// The key was used for another request.
    KeyMismatch,
    /// Nothing was done: Stripe refuses our secret key, or refuses it for this request.
    KeyRefused,
}

/// The meaning of `back` for a request that can move what `moves` says.
pub(super) fn classify(back: &Back<'_>, moves: Moves) -> Classification {
    let unknown = |trouble| match moves {
        Moves::Money => Classification::Unknown(trouble),
        Moves::Nothing => Classification::Retriable(trouble),
    };
    let (status, told, again, error) = match back {
        Back::Lost(NoResponse::Unsent(trouble)) => return Classification::Retriable(*trouble),
        Back::Lost(NoResponse::Sent(trouble)) => return unknown(*trouble),
        Back::Answer {
            status,
            told,
            again,
            error,
        } => (*status, *told, *again, *error),
    };
    let is = |kind: &str| error.is_some_and(|error| error.kind.as_deref() == Some(kind));
    let code = error.and_then(|error| error.code.as_deref());
    match status {
        200..=299 => Classification::Done,
        401 | 403 => Classification::KeyRefused,
        // A refusal without a reason is not trusted: it may be cut off, or come from a proxy.
        400 | 402 | 404..=408 | 410..=428 | 430..=499 if error.is_none() => {
            unknown(Trouble::Internal)
        }
        402 => Classification::Declined(declined(DeclinedBy::Issuer, error)),
        // If a repeat may succeed, it is not a refusal.
        400..=428 | 430..=499 if again == ResendAllowed::Yes => unknown(Trouble::Busy),
        // Another request with this key, or about this object, is in progress.
        409 => unknown(Trouble::Busy),
        429 if code == Some("lock_timeout") => unknown(Trouble::Busy),
        // The same key would repeat this response, so look up first.
        429 if again == ResendAllowed::No => unknown(Trouble::Busy),
        429 => Classification::Retriable(Trouble::Busy),
        400..=499 if is("idempotency_error") => Classification::KeyMismatch,
        408 | 424 => unknown(Trouble::Internal),
        400..=499 => Classification::Declined(declined(DeclinedBy::Gateway, error)),
        500..=599 if told == ResponseOrigin::Again => Classification::KeySpent,
        _ => unknown(Trouble::Internal),
    }
}

/// A decline with Stripe's code, the issuer's if there is one.
pub(super) fn declined(by: DeclinedBy, error: Option<&ApiError>) -> Decline {
    let word = |error: &ApiError| {
        let word = error.decline_code.as_deref().or(error.code.as_deref())?;
        GatewayCode::parse(word)
    };
    Decline {
        by,
        code: error.and_then(word),
    }
}

impl Classification {
    /// The result of a call that ends with this. Never called with `Done`, whose callers read what
    /// was done.
    pub(super) fn answer<T>(self) -> CallResult<T> {
        match self {
            Self::Declined(decline) => CallResult::Declined(decline),
            Self::Retriable(trouble) => CallResult::Retriable(trouble),
            Self::KeyRefused => CallResult::Retriable(Trouble::KeyRefused),
            Self::Unknown(trouble) => CallResult::Unknown(trouble),
            Self::Done | Self::KeySpent | Self::KeyMismatch => {
                CallResult::Unknown(Trouble::Internal)
            }
        }
    }

    /// The trouble of a look-up that ends with this.
    pub(super) const fn trouble(&self) -> Trouble {
        match self {
            Self::Retriable(trouble) | Self::Unknown(trouble) => *trouble,
            Self::KeyRefused => Trouble::KeyRefused,
            Self::Done | Self::Declined(_) | Self::KeySpent | Self::KeyMismatch => {
                Trouble::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(verdict: &Classification) -> String {
        match verdict {
            Classification::Done => "done".to_owned(),
            Classification::Declined(Decline { by, code }) => {
                let by = match by {
                    DeclinedBy::Issuer => "issuer",
                    DeclinedBy::Gateway => "gateway",
                };
                let code = code.as_ref().map_or("-", GatewayCode::as_str);
                format!("declined:{by}:{code}")
            }
            Classification::Retriable(trouble) => format!("retriable:{trouble:?}").to_lowercase(),
            Classification::Unknown(trouble) => format!("unknown:{trouble:?}").to_lowercase(),
            Classification::KeySpent => "key-spent".to_owned(),
            Classification::KeyMismatch => "key-mismatch".to_owned(),
            Classification::KeyRefused => "not-let-in".to_owned(),
        }
    }

    // status, stored or now (and whether it may be sent again), type, code, decline code; of a request that moves money, and of one
    // that does not.
    const TABLE: &str = "
        200 now   - - -                                     done  done
        201 now   - - -                                     done  done
        200 again - - -                                     done  done
        400 now   invalid_request_error parameter_missing -  declined:gateway:parameter_missing =
        400 now   invalid_request_error payment_intent_unexpected_state - declined:gateway:payment_intent_unexpected_state =
        400 now   invalid_request_error - -                 declined:gateway:- =
        400 now   - - -                                     unknown:internal retriable:internal
        404 now   - - -                                     unknown:internal retriable:internal
        400 now   idempotency_error - -                     key-mismatch =
        401 now   invalid_request_error - -                 not-let-in =
        403 now   invalid_request_error - -                 not-let-in =
        402 now   card_error card_declined insufficient_funds declined:issuer:insufficient_funds =
        402 again card_error card_declined insufficient_funds declined:issuer:insufficient_funds =
        402 now   card_error expired_card -                 declined:issuer:expired_card =
        402 now   - - -                                     unknown:internal retriable:internal
        402 now   card_error - -                            declined:issuer:- =
        404 now   invalid_request_error resource_missing -  declined:gateway:resource_missing =
        408 now   - - -                                     unknown:internal retriable:internal
        409 now   invalid_request_error idempotency_key_in_use - unknown:busy retriable:busy
        424 now   api_error - -                             unknown:internal retriable:internal
        429 now   invalid_request_error rate_limit -        retriable:busy =
        429 now   invalid_request_error lock_timeout -      unknown:busy retriable:busy
        429 now   - - -                                     retriable:busy =
        429 now/yes - - -                                   retriable:busy =
        429 now/no  - - -                                   unknown:busy retriable:busy
        400 now/yes invalid_request_error - -               unknown:busy retriable:busy
        402 now/yes card_error card_declined -              declined:issuer:card_declined =
        500 now   api_error - -                             unknown:internal retriable:internal
        500 again api_error - -                             key-spent =
        503 again - - -                                     key-spent =
        502 now   - - -                                     unknown:internal retriable:internal
        301 now   - - -                                     unknown:internal retriable:internal
        101 now   - - -                                     unknown:internal retriable:internal
    ";

    #[test]
    fn every_answer_has_its_class() {
        for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
            let row: Vec<&str> = line.split_whitespace().collect();
            let some = |text: &str| (text != "-").then(|| text.to_owned());
            let error = ApiError {
                kind: some(row[2]),
                code: some(row[3]),
                decline_code: some(row[4]),
            };
            let back = Back::Answer {
                status: row[0].parse().expect("a status"),
                told: if row[1] == "again" {
                    ResponseOrigin::Again
                } else {
                    ResponseOrigin::Now
                },
                again: match row[1] {
                    "now/yes" => ResendAllowed::Yes,
                    "now/no" => ResendAllowed::No,
                    _ => ResendAllowed::Unsaid,
                },
                error: (error != ApiError::default()).then_some(&error),
            };
            let without = if row[6] == "=" { row[5] } else { row[6] };
            assert_eq!(word(&classify(&back, Moves::Money)), row[5], "{line}");
            assert_eq!(word(&classify(&back, Moves::Nothing)), without, "{line}");
        }
    }

    #[test]
    fn an_unsent_request_had_no_effect_and_a_sent_one_may_have() {
        for (lost, moves, expected) in [
            (
                NoResponse::Unsent(Trouble::Unreachable),
                Moves::Money,
                "retriable:unreachable",
            ),
            (
                NoResponse::Unsent(Trouble::Busy),
                Moves::Money,
                "retriable:busy",
            ),
            (
                NoResponse::Sent(Trouble::Internal),
                Moves::Money,
                "unknown:internal",
            ),
            (
                NoResponse::Unsent(Trouble::Unreachable),
                Moves::Nothing,
                "retriable:unreachable",
            ),
            (
                NoResponse::Sent(Trouble::Internal),
                Moves::Nothing,
                "retriable:internal",
            ),
        ] {
            let found = classify(&Back::Lost(lost), moves);
            assert_eq!(word(&found), expected, "{lost:?} {moves:?}");
        }
    }
}
