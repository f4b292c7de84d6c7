//! Owns the card networks' rules about trying a declined card again: from the gateway's decline code
//! to an advice that the engine stores.
//!
//! Invariants: a code is in at most one list; a code in neither list allows any number of tries.
//! Deliberately absent: counting tries and refusing them (`engine`), and the codes themselves, which
//! the operator configures.

use crate::engine::event::{DeclineCause, RetryAdvice};
use crate::ids::GatewayCode;

/// Maximum number of codes in one list.
pub const CODES_MAX: usize = 256;

/// Which declines forbid or limit another try with the same card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemeRules {
    never: Vec<GatewayCode>,
    limited: Vec<GatewayCode>,
}

/// Declines after which the networks forbid another try: the issuer will never approve.
pub const NEVER_BY_DEFAULT: [&str; 9] = [
    "invalid_account",
    "lost_card",
    "new_account_information_available",
    "pickup_card",
    "restricted_card",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "stolen_card",
    "stop_payment_order",
];

/// Declines that may be tried again a limited number of times in a window.
pub const LIMITED_BY_DEFAULT: [&str; 10] = [
    "call_issuer",
    "card_declined",
    "card_velocity_exceeded",
    "do_not_honor",
    "generic_decline",
    "insufficient_funds",
    "no_action_taken",
    "not_permitted",
    "transaction_not_allowed",
    "try_again_later",
];

/// Why a list of codes cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// A code stands in both lists.
    #[error("the code `{0}` is in both lists, never_retry_codes and limited_codes; keep it in one")]
    InBoth(GatewayCode),
    #[error("a list of decline codes has more than {CODES_MAX} entries")]
    TooMany,
}

impl SchemeRules {
    /// Rules from two lists.
    pub fn new(never: Vec<GatewayCode>, limited: Vec<GatewayCode>) -> Result<Self, SchemeError> {
        if never.len() > CODES_MAX || limited.len() > CODES_MAX {
            return Err(SchemeError::TooMany);
        }
        if let Some(both) = never.iter().find(|code| limited.contains(code)) {
            return Err(SchemeError::InBoth(both.clone()));
        }
        Ok(Self { never, limited })
    }

    /// What is said about another try after a decline for `cause` with the gateway's `code`.
    pub fn advice(&self, cause: DeclineCause, code: Option<&GatewayCode>) -> RetryAdvice {
        match (cause, code) {
            (DeclineCause::GatewayFailed | DeclineCause::GatewayUnavailable, _) | (_, None) => {
                RetryAdvice::OtherCard
            }
            (DeclineCause::DeclinedByIssuer, Some(code)) => {
                if self.never.contains(code) {
                    RetryAdvice::Never
                } else if self.limited.contains(code) {
                    RetryAdvice::Later
                } else {
                    RetryAdvice::OtherCard
                }
            }
        }
    }
}

impl Default for SchemeRules {
    fn default() -> Self {
        let code = |code: &&str| GatewayCode::parse(code).expect("the lists above hold codes");
        let listed = |codes: &[&str]| codes.iter().map(code).collect();
        Self::new(listed(&NEVER_BY_DEFAULT), listed(&LIMITED_BY_DEFAULT))
            .expect("no code is in both lists above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> GatewayCode {
        GatewayCode::parse(text).expect("a code")
    }

    #[test]
    fn the_issuers_code_decides() {
        let rules = SchemeRules::default();
        let issuer = DeclineCause::DeclinedByIssuer;
        for (cause, word, advice) in [
            (issuer, "stolen_card", RetryAdvice::Never),
            (issuer, "insufficient_funds", RetryAdvice::Later),
            (issuer, "incorrect_cvc", RetryAdvice::OtherCard),
            (
                DeclineCause::GatewayFailed,
                "stolen_card",
                RetryAdvice::OtherCard,
            ),
            (
                DeclineCause::GatewayUnavailable,
                "stolen_card",
                RetryAdvice::OtherCard,
            ),
        ] {
            assert_eq!(rules.advice(cause, Some(&code(word))), advice, "{word}");
        }
        assert_eq!(rules.advice(issuer, None), RetryAdvice::OtherCard);
    }

    #[test]
    fn a_code_in_both_lists_is_refused() {
        let both = SchemeRules::new(vec![code("a")], vec![code("b"), code("a")]);
        assert_eq!(both, Err(SchemeError::InBoth(code("a"))));
    }
}
