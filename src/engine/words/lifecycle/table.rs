//! Owns the one table of transitions, and whether a purchase stands.
//!
//! Invariants: [`next_state`] is the only place that knows a transition; it names every pair it
//! allows and has no default arm that moves a state. A purchase's state is the fold of its steps.
//! Deliberately absent: who decides that a step happens (`decide`, the saga) and what else it
//! changes.

use super::state::PurchaseState;
use super::step::Step;

/// The state after `step` in `state`; `None` if the step is not allowed there.
///
/// `state` is `None` before the first step.
#[allow(
    clippy::match_same_arms,
    reason = "a row of the table is one step in one group of states"
)]
pub const fn next_state(state: Option<PurchaseState>, step: Step) -> Option<PurchaseState> {
    use PurchaseState as S;
    let Some(state) = state else {
        return match step {
            Step::HoldPlaced => Some(S::Held),
            _ => None,
        };
    };
    match (state, step) {
        (S::Held, Step::HoldReleased) => Some(S::Released),
        (S::Held, Step::HoldExpired) => Some(S::Expired),
        (S::Held, Step::PaymentStarted) => Some(S::Authorizing),

        (S::Authorizing, Step::PaymentAuthorized) => Some(S::Authorized),
        (S::Authorizing, Step::PaymentDeclined) => Some(S::Declined),
        (S::Authorizing, Step::PaymentDeclinedHoldKept) => Some(S::Held),

        (S::Authorized, Step::ReviewOpened) => Some(S::UnderReview),
        (S::UnderReview, Step::ReviewApproved) => Some(S::Capturing),
        (S::UnderReview, Step::ReviewRejected) => Some(S::Voiding),
        (S::Authorized, Step::CaptureStarted) => Some(S::Capturing),
        (
            S::Authorizing
            | S::Authorized
            | S::UnderReview
            | S::Capturing
            | S::CaptureDiffers
            | S::Stuck,
            Step::VoidStarted,
        ) => Some(S::Voiding),

        (S::Capturing, Step::PaymentCaptured) => Some(S::Captured),
        (S::Capturing, Step::CaptureDiffered) => Some(S::CaptureDiffers),
        // An operator settles it: the gateway's amount is booked, or what is left there is
        // refunded.
        (S::CaptureDiffers | S::Stuck, Step::PaymentCaptured) => Some(S::Captured),

        (S::Voiding | S::Stuck, Step::PaymentVoided) => Some(S::Voided),
        (S::Voiding | S::Stuck, Step::PaymentVoidedHoldKept) => Some(S::Held),
        (S::Voiding, Step::VoidStuck) => Some(S::Stuck),

        // What an open dispute leaves can be refunded. A refund in progress when a dispute was lost
        // still ends.
        (S::Captured, Step::RefundStarted | Step::RefundFailed) => Some(S::Captured),
        (S::PartiallyRefunded, Step::RefundStarted | Step::RefundFailed) => {
            Some(S::PartiallyRefunded)
        }
        (S::Disputed, Step::RefundStarted | Step::RefundFailed) => Some(S::Disputed),
        (S::ChargedBack, Step::RefundFailed) => Some(S::ChargedBack),
        (
            S::Captured | S::PartiallyRefunded | S::Disputed | S::ChargedBack,
            Step::Refunded(then) | Step::RefundFound(then),
        ) => Some(then.state()),

        (
            S::PartiallyRefunded | S::Refunded | S::Disputed | S::ChargedBack,
            Step::RefundReturned(then),
        ) => Some(then.state()),

        // Reports of disputes arrive in any order, and a purchase may have several disputes: an
        // open one makes it disputed, and a lost one may be won later.
        (
            S::Captured | S::PartiallyRefunded | S::Refunded | S::Disputed | S::ChargedBack,
            Step::DisputeOpened,
        ) => Some(S::Disputed),
        (
            S::Captured | S::PartiallyRefunded | S::Refunded | S::Disputed | S::ChargedBack,
            Step::DisputeWon(then) | Step::DisputeLost(then),
        ) => Some(then.state()),

        // Every other pair is refused by name, so that a new state or step must be placed.
        (
            S::Held
            | S::Authorizing
            | S::Authorized
            | S::UnderReview
            | S::Capturing
            | S::Captured
            | S::Declined
            | S::Expired
            | S::Released
            | S::Voiding
            | S::Voided
            | S::Stuck
            | S::PartiallyRefunded
            | S::Refunded
            | S::Disputed
            | S::ChargedBack
            | S::CaptureDiffers,
            Step::HoldPlaced
            | Step::HoldReleased
            | Step::HoldExpired
            | Step::PaymentStarted
            | Step::PaymentAuthorized
            | Step::PaymentDeclined
            | Step::PaymentDeclinedHoldKept
            | Step::ReviewOpened
            | Step::CaptureStarted
            | Step::PaymentCaptured
            | Step::VoidStarted
            | Step::PaymentVoided
            | Step::PaymentVoidedHoldKept
            | Step::VoidStuck
            | Step::Refunded(_)
            | Step::RefundFound(_)
            | Step::RefundReturned(_)
            | Step::DisputeOpened
            | Step::DisputeWon(_)
            | Step::DisputeLost(_)
            | Step::RefundStarted
            | Step::RefundFailed
            | Step::CaptureDiffered
            | Step::ReviewApproved
            | Step::ReviewRejected,
        ) => None,
    }
}

/// Whether a purchase counts for its buyer's limit, and uses its promotion.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It always did.
    Always,
    /// It counts again, because a lost dispute was won or a refund came back. It counts for the
    /// limit; the promotion's use was given back, and another buyer may have it.
    Again,
    /// It does not.
    No,
}

/// Whether a purchase with these steps stands. A disputed one stands as it did before.
pub fn stands(steps: impl IntoIterator<Item = Step>) -> Stands {
    let mut state = None;
    let mut stands = Stands::Always;
    for step in steps {
        state = next_state(state, step).or(state);
        stands = match (state.map(PurchaseState::ends), stands) {
            (Some(Ends::Yes), _) => Stands::No,
            (Some(Ends::No), Stands::No) => Stands::Again,
            (Some(Ends::No | Ends::AsBefore) | None, before) => before,
        };
    }
    stands
}

/// Whether a purchase ends for its buyer in some state.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Ends {
    Yes,
    No,
    AsBefore,
}

impl PurchaseState {
    /// Whether a purchase ends for its buyer when it enters this state.
    const fn ends(self) -> Ends {
        match self {
            Self::Declined
            | Self::Expired
            | Self::Released
            | Self::Voided
            | Self::Refunded
            | Self::ChargedBack => Ends::Yes,
            Self::Held
            | Self::Authorizing
            | Self::Authorized
            | Self::UnderReview
            | Self::Capturing
            | Self::Voiding
            | Self::Stuck
            | Self::CaptureDiffers
            | Self::Captured
            | Self::PartiallyRefunded => Ends::No,
            Self::Disputed => Ends::AsBefore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Units;
    use super::*;

    /// A purchase's claims are read from its state alone on the strength of this.
    #[test]
    fn units_that_were_sold_or_given_back_are_never_held_again_and_their_end_is_an_end() {
        for state in PurchaseState::ALL {
            let ended = state.ends() == Ends::Yes;
            match state.units() {
                Units::Held => assert!(!ended, "{state:?} holds units"),
                Units::None => assert!(ended, "{state:?} has no units"),
                Units::Sold => {}
            }
            for step in Step::ALL {
                let Some(next) = next_state(Some(state), step) else {
                    continue;
                };
                if next.units() == Units::Held {
                    assert_eq!(state.units(), Units::Held, "{state:?}, {step:?}");
                }
            }
        }
    }
}
