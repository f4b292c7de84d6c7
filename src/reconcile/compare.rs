//! Owns the comparison of one payment in our books with one charge in the gateway's. Pure.
//!
//! Invariant: if both sides agree, or one is not decided yet, there is no difference; a charge
//! without authorized or captured money never differs.

use crate::engine::view::{PaymentView, Standing};
use crate::money::Amount;
use crate::payments::gateway::Charged;
use crate::reconcile::books::Has;
use crate::reconcile::report::DifferenceKind;

/// What comparing gave.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both say the same.
    Agrees,
    /// The charge moved no money: there is nothing to compare.
    Empty,
    /// Our side has not decided yet.
    Open,
    Differs(DifferenceKind),
}

/// Whether money was taken or is set aside.
pub fn moved(theirs: &Charged) -> bool {
    theirs.captured > Amount::ZERO || theirs.authorized > Amount::ZERO
}

/// Whether money of the buyer's is with the shop or set aside for it.
pub fn stands(theirs: &Charged) -> bool {
    theirs.captured > theirs.refunded || theirs.authorized > Amount::ZERO
}

/// Compares our capture with what the gateway says of it when asked, where it lists no charge.
pub fn compare_unlisted(ours: &PaymentView, has: Has) -> Option<DifferenceKind> {
    let given_back = ours.refunded == ours.amount;
    match has {
        Has::Captured if !given_back => None,
        Has::Refunded if given_back => None,
        Has::Captured | Has::Refunded => Some(DifferenceKind::AmountDiffers),
        Has::Nothing | Has::Declined | Has::Authorized | Has::Voided => {
            Some(DifferenceKind::MissingAtGateway)
        }
    }
}

/// Compares our payment, if there is one, with their charge under its reference.
pub fn compare(ours: Option<&PaymentView>, theirs: &Charged) -> Comparison {
    let Some(ours) = ours else {
        return if moved(theirs) {
            Comparison::Differs(DifferenceKind::UnknownHere)
        } else {
            Comparison::Empty
        };
    };
    match ours.standing {
        Standing::Open => Comparison::Open,
        Standing::NothingTaken | Standing::Captured(_) if !moved(theirs) => Comparison::Empty,
        Standing::NothingTaken => {
            if theirs.authorized > Amount::ZERO {
                Comparison::Differs(DifferenceKind::AuthorizedLeft)
            } else if theirs.captured == theirs.refunded {
                // Taken against what was agreed, and given back.
                Comparison::Agrees
            } else {
                Comparison::Differs(DifferenceKind::AmountDiffers)
            }
        }
        Standing::Captured(_) => {
            let of_ours = (ours.amount, ours.refunded, ours.currency);
            if of_ours != (theirs.captured, theirs.refunded, theirs.currency) {
                Comparison::Differs(DifferenceKind::AmountDiffers)
            } else if theirs.authorized > Amount::ZERO {
                Comparison::Differs(DifferenceKind::AuthorizedLeft)
            } else {
                Comparison::Agrees
            }
        }
    }
}
