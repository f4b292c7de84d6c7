//! Owns what a word about a dispute makes of its purchase: which dispute it is about, whether it
//! counts, and where the purchase is then. Pure.
//!
//! Invariants:
//! 1. Of one dispute the latest word counts, by the instant at which the gateway says that it
//!    happened; of one instant an end outranks the beginning, and a win the loss. So the order of
//!    arrival makes no difference: a beginning that comes after its end still says when it was opened.
//!    A lost dispute is not opened again; it may be won.
//! 2. All lost disputes together take at most what was captured; each takes its own amount.
//! 3. A dispute that the gateway names is found by its name. Of those without one, amounts tell one
//!    from another, and a beginning after an end is another dispute.
//!
//! Deliberately absent: reward tokens and events (`decide`).

use crate::engine::state::purchase::Purchase;
use crate::engine::words::dispute::{AmountFrom, Dispute, DisputeStatus};
use crate::engine::words::lifecycle::PaidState;
use crate::ids::DisputeId;
use crate::money::{Amount, Tokens};
use crate::time::UnixMs;

/// Disputes of one purchase that are kept. Every one of them counts, so more are not taken.
pub const DISPUTES_MAX: usize = 32;

/// What a gateway says of a dispute.
#[derive(Copy, Clone, Debug)]
pub(in crate::engine) struct Word<'a> {
    /// Which one, where it has a name.
    pub(in crate::engine) id: Option<&'a DisputeId>,
    /// Where it is.
    pub(in crate::engine) status: DisputeStatus,
    /// When that happened.
    pub(in crate::engine) at: UnixMs,
    /// How much it is about, where the gateway says.
    pub(in crate::engine) amount: Option<Amount>,
}

/// What a word makes of a purchase's disputes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum DisputeChange {
    /// This one changes, or is new: its place, from 0, and what it is then.
    Changes(usize, Dispute),
    /// It comes too late to change anything.
    TooLate,
    /// There are more disputes than are kept.
    TooMany,
}

impl Purchase {
    /// Its disputes, in the order in which they were heard of.
    pub(in crate::engine) fn disputes(&self) -> &[Dispute] {
        self.post_capture.as_ref().map_or(&[], |it| &it.disputes)
    }

    /// What lost disputes took.
    pub(in crate::engine) fn charged_back(&self) -> Amount {
        charged_back(self.quote().amount, self.disputes())
    }

    /// What of the captured money is neither refunded nor under a dispute or lost in one.
    pub(in crate::engine) fn left(&self) -> Amount {
        self.left_beside(None)
    }

    /// The same, but for the dispute at `place`.
    fn left_beside(&self, place: Option<usize>) -> Amount {
        let others = self.disputes().iter().enumerate();
        let others = others
            .filter(|(at, it)| Some(*at) != place && it.status != DisputeStatus::Won)
            .map(|(_, it)| it);
        self.not_refunded().saturating_minus(sum(others))
    }

    /// What was neither refunded nor lost in a dispute, though a dispute may be open.
    pub(in crate::engine) fn kept(&self) -> Amount {
        self.not_refunded().saturating_minus(self.charged_back())
    }

    fn not_refunded(&self) -> Amount {
        self.quote().amount.saturating_minus(self.refunded)
    }

    /// Where it is once `amount` more went back.
    pub(in crate::engine) fn paid_state_after(&self, amount: Amount) -> PaidState {
        let captured = self.quote().amount;
        if captured == Amount::ZERO {
            // A free order ends by its refund.
            return PaidState::Refunded;
        }
        paid_state(captured, plus(self.refunded, amount), self.disputes())
    }

    /// Where it is once `amount` of what went back came back.
    pub(in crate::engine) fn paid_state_less(&self, amount: Amount) -> PaidState {
        let refunded = self.refunded.saturating_minus(amount);
        paid_state(self.quote().amount, refunded, self.disputes())
    }

    /// Where it is with these disputes.
    pub(in crate::engine) fn paid_state_with(&self, disputes: &[Dispute]) -> PaidState {
        paid_state(self.quote().amount, self.refunded, disputes)
    }

    /// What `word` makes of its disputes.
    pub(in crate::engine) fn effect_of(&self, word: Word<'_>) -> DisputeChange {
        let disputes = self.disputes();
        let captured = self.quote().amount;
        // No dispute takes more than was captured, whatever it says.
        let word = Word {
            amount: word.amount.map(|it| it.min(captured)),
            ..word
        };
        let Some(place) = find(disputes, word) else {
            if disputes.len() >= DISPUTES_MAX {
                return DisputeChange::TooMany;
            }
            let new = Dispute {
                id: word.id.cloned(),
                opened_at: word.at,
                amount: word.amount.unwrap_or_else(|| self.left()),
                amount_from: match word.amount {
                    Some(_) => AmountFrom::Gateway,
                    None => AmountFrom::Assumed,
                },
                status: word.status,
                reported_at: word.at,
                asked_back: Tokens::NONE,
            };
            return DisputeChange::Changes(disputes.len(), new);
        };
        let known = &disputes[place];
        let mut changed = known.clone();
        let newer = outranks(word, known);
        if newer {
            changed.status = word.status;
            changed.reported_at = word.at;
        }
        if word.status == DisputeStatus::Opened {
            changed.opened_at = known.opened_at.min(word.at);
        }
        let assumed = known.amount_from == AmountFrom::Assumed;
        match word.amount {
            Some(amount) if newer || assumed => {
                changed.amount = amount;
                changed.amount_from = AmountFrom::Gateway;
            }
            None if newer && assumed => changed.amount = self.left_beside(Some(place)),
            Some(_) | None => {}
        }
        // The same end of a later instant may be what outranks another one that comes after it.
        let decides = newer && word.status != DisputeStatus::Opened;
        let shown = |it: &Dispute| (it.status, it.amount, it.opened_at);
        if decides || shown(&changed) != shown(known) {
            DisputeChange::Changes(place, changed)
        } else {
            DisputeChange::TooLate
        }
    }
}

/// Whether `word` says something later of `known` than what is believed.
fn outranks(word: Word<'_>, known: &Dispute) -> bool {
    let reopens_lost = word.status == DisputeStatus::Opened && known.status == DisputeStatus::Lost;
    !reopens_lost && (word.at, word.status) > (known.reported_at, known.status)
}

/// What lost disputes among these take of what was captured.
pub(in crate::engine) fn charged_back(captured: Amount, disputes: &[Dispute]) -> Amount {
    let lost = disputes.iter();
    sum(lost.filter(|it| it.status == DisputeStatus::Lost)).min(captured)
}

/// Where a purchase is of which so much was captured and refunded, with these disputes.
fn paid_state(captured: Amount, refunded: Amount, disputes: &[Dispute]) -> PaidState {
    let open = |it: &Dispute| it.status == DisputeStatus::Opened;
    let taken = charged_back(captured, disputes);
    let left = captured.saturating_minus(refunded).saturating_minus(taken);
    if disputes.iter().any(open) {
        PaidState::Disputed
    } else if left == Amount::ZERO && taken > Amount::ZERO {
        PaidState::ChargedBack
    } else if refunded == Amount::ZERO {
        PaidState::Captured
    } else if left == Amount::ZERO {
        PaidState::Refunded
    } else {
        PaidState::PartiallyRefunded
    }
}

fn sum<'a>(disputes: impl Iterator<Item = &'a Dispute>) -> Amount {
    disputes.fold(Amount::ZERO, |sum, it| plus(sum, it.amount))
}

fn plus(a: Amount, b: Amount) -> Amount {
    let sum = a.get().saturating_add(b.get());
    Amount::new(sum).expect("amounts are not negative, nor is their sum")
}

/// The dispute that `word` is about; `None`: one that was not heard of.
fn find(disputes: &[Dispute], word: Word<'_>) -> Option<usize> {
    if word.id.is_some() {
        return disputes.iter().position(|it| it.id.as_ref() == word.id);
    }
    let fits = |it: &Dispute| {
        let alike = match word.amount {
            None => true,
            Some(amount) => it.amount == amount || it.amount_from == AmountFrom::Assumed,
        };
        it.id.is_none() && alike
    };
    let latest =
        |wanted: &dyn Fn(&Dispute) -> bool| disputes.iter().rposition(|it| fits(it) && wanted(it));
    let open = latest(&|it| it.status == DisputeStatus::Opened);
    match word.status {
        // It began before it ended; what begins later is another one.
        DisputeStatus::Opened => open.or_else(|| latest(&|it| word.at <= it.reported_at)),
        DisputeStatus::Won | DisputeStatus::Lost => open.or_else(|| latest(&|_| true)),
    }
}
