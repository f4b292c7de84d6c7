//! Owns the effect of a report about a dispute on its purchase: which dispute it means, whether it
//! counts, and the purchase's state afterwards. Pure.
//!
//! Invariants:
//! 1. The latest report of a dispute counts, by the instant at which the gateway says it happened. At
//!    the same instant an end outranks a beginning, and a win outranks a loss. A lost dispute is
//!    never opened again, but may be won. The order of arrival makes no difference if the gateway
//!    gives its disputes ids. One exception: before the first end arrives, a beginning that changes
//!    nothing visible is not kept, so neither its instant nor its amount outranks a later arrival.
//! 2. All lost disputes together take at most the captured amount; each takes its own amount.
//! 3. A dispute with an id is found by its id. Disputes without one are distinguished by their
//!    amounts, and a beginning after an end is another dispute.
//!
//! Deliberately absent: reward tokens and events (`decide`).

use crate::engine::state::purchase::Purchase;
use crate::engine::words::dispute::{
    AmountFrom, Dispute, DisputeEnd, DisputeOutcome, DisputeStatus,
};
use crate::engine::words::lifecycle::PaidState;
use crate::ids::DisputeId;
use crate::money::{Amount, Tokens};
use crate::time::UnixMs;

/// Maximum number of disputes of one purchase. Every one counts, so more are refused.
pub const DISPUTES_MAX: usize = 32;

/// A gateway's report of a dispute.
#[derive(Copy, Clone, Debug)]
pub(in crate::engine) struct Word<'a> {
    /// Its id, if it has one.
    pub(in crate::engine) id: Option<&'a DisputeId>,
    pub(in crate::engine) status: DisputeStatus,
    /// When it happened.
    pub(in crate::engine) at: UnixMs,
    /// The disputed amount, if the gateway names it.
    pub(in crate::engine) amount: Option<Amount>,
}

/// The effect of a report on a purchase's disputes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum DisputeChange {
    /// This dispute changes or is new: its index, from 0, and its new value.
    Changes(usize, Dispute),
    /// The same, but nothing visible changes.
    Noted(usize, Dispute),
    /// A later report is known already.
    TooLate,
    /// The purchase has the maximum number of disputes.
    TooMany,
}

impl Purchase {
    /// Its disputes, in the order in which they were first reported.
    pub(in crate::engine) fn disputes(&self) -> &[Dispute] {
        self.post_capture.as_ref().map_or(&[], |it| &it.disputes)
    }

    /// The amount that lost disputes took.
    pub(in crate::engine) fn charged_back(&self) -> Amount {
        charged_back(self.quote().amount, self.disputes())
    }

    /// The captured money that is neither refunded nor disputed, nor lost in a dispute.
    pub(in crate::engine) fn left(&self) -> Amount {
        self.left_beside(None)
    }

    /// The same, leaving out the dispute at `place`.
    fn left_beside(&self, place: Option<usize>) -> Amount {
        let others = self.disputes().iter().enumerate();
        let others = others
            .filter(|(at, it)| Some(*at) != place && it.status() != DisputeStatus::Won)
            .map(|(_, it)| it);
        self.not_refunded().saturating_minus(sum(others))
    }

    /// The captured money that is neither refunded nor lost in a dispute; it may be disputed.
    pub(in crate::engine) fn kept(&self) -> Amount {
        self.not_refunded().saturating_minus(self.charged_back())
    }

    fn not_refunded(&self) -> Amount {
        self.quote().amount.saturating_minus(self.refunded)
    }

    /// The state after `amount` more was refunded.
    pub(in crate::engine) fn paid_state_after(&self, amount: Amount) -> PaidState {
        let captured = self.quote().amount;
        if captured == Amount::ZERO {
            // A free order ends with its refund.
            return PaidState::Refunded;
        }
        paid_state(captured, plus(self.refunded, amount), self.disputes())
    }

    /// The state after `amount` of the refunded money came back.
    pub(in crate::engine) fn paid_state_less(&self, amount: Amount) -> PaidState {
        let refunded = self.refunded.saturating_minus(amount);
        paid_state(self.quote().amount, refunded, self.disputes())
    }

    /// The state with these disputes.
    pub(in crate::engine) fn paid_state_with(&self, disputes: &[Dispute]) -> PaidState {
        paid_state(self.quote().amount, self.refunded, disputes)
    }

    /// The effect of `word` on its disputes.
    pub(in crate::engine) fn effect_of(&self, word: Word<'_>) -> DisputeChange {
        let disputes = self.disputes();
        let captured = self.quote().amount;
        // No dispute takes more than was captured, whatever the report says.
        let word = Word {
            amount: word.amount.map(|it| it.min(captured)),
            ..word
        };
        let Some(place) = find(disputes, word) else {
            if disputes.len() >= DISPUTES_MAX {
                return DisputeChange::TooMany;
            }
            return DisputeChange::Changes(disputes.len(), word.begun(self.left()));
        };
        let known = &disputes[place];
        let mut changed = known.clone();
        match word.end() {
            // The first beginning that is told says when it was opened; until then an end does.
            None => {
                let earliest = known.opened_last.map(|_| known.opened_at.min(word.at));
                changed.opened_at = earliest.unwrap_or(word.at);
                changed.opened_last = known.opened_last.max(Some(word.at));
            }
            Some(end) => {
                if known.opened_last.is_none() {
                    changed.opened_at = known.opened_at.min(word.at);
                }
                changed.ended = known.ended.max(Some(end));
            }
        }
        let counts = |it: &Dispute| (it.status(), it.reported_at());
        match (word.amount, known.amount_from) {
            (Some(amount), from) if word.outranks(from) => {
                changed.amount = amount;
                changed.amount_from = word.tells_amount();
            }
            (None, AmountFrom::Assumed) if counts(&changed) != counts(known) => {
                changed.amount = self.left_beside(Some(place));
            }
            _ => {}
        }
        // The same end of a later instant may be what outranks another one that comes after it.
        let decides = word.end().is_some() && counts(&changed) != counts(known);
        let shown = |it: &Dispute| (it.status(), it.amount, it.opened_at);
        // Of beginnings alone the first one is enough: gateways report most disputes twice.
        let may_count = word.end().is_some() || known.ended.is_some();
        if decides || shown(&changed) != shown(known) {
            DisputeChange::Changes(place, changed)
        } else if may_count && changed != *known {
            DisputeChange::Noted(place, changed)
        } else {
            DisputeChange::TooLate
        }
    }
}

impl Word<'_> {
    /// The end that it tells; `None`: it tells a beginning.
    fn end(&self) -> Option<DisputeEnd> {
        let outcome = match self.status {
            DisputeStatus::Opened => return None,
            DisputeStatus::Lost => DisputeOutcome::Lost,
            DisputeStatus::Won => DisputeOutcome::Won,
        };
        Some(DisputeEnd {
            at: self.at,
            outcome,
        })
    }

    /// The dispute of which it is the first word, about `left` where it has no amount.
    fn begun(&self, left: Amount) -> Dispute {
        Dispute {
            id: self.id.cloned(),
            opened_at: self.at,
            opened_last: self.end().is_none().then_some(self.at),
            ended: self.end(),
            amount: self.amount.unwrap_or(left),
            amount_from: match self.amount {
                Some(_) => self.tells_amount(),
                None => AmountFrom::Assumed,
            },
            asked_back: Tokens::NONE,
        }
    }

    fn tells_amount(&self) -> AmountFrom {
        AmountFrom::Gateway {
            at: self.at,
            status: self.status,
        }
    }

    /// Whether its amount counts rather than the one that is known from there.
    fn outranks(&self, known: AmountFrom) -> bool {
        match known {
            AmountFrom::Gateway { at, status } => (self.at, self.status) > (at, status),
            AmountFrom::Assumed => true,
        }
    }
}

/// How much of the captured money these disputes took.
pub(in crate::engine) fn charged_back(captured: Amount, disputes: &[Dispute]) -> Amount {
    let lost = disputes.iter();
    sum(lost.filter(|it| it.status() == DisputeStatus::Lost)).min(captured)
}

/// The state of a purchase with this much captured and refunded, and these disputes.
fn paid_state(captured: Amount, refunded: Amount, disputes: &[Dispute]) -> PaidState {
    let open = |it: &Dispute| it.status() == DisputeStatus::Opened;
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

/// The dispute that `word` is about; `None`: a new one.
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
    let open = latest(&|it| it.status() == DisputeStatus::Opened);
    match word.status {
        // It began before it ended; what begins later is another one.
        DisputeStatus::Opened => open.or_else(|| latest(&|it| word.at <= it.reported_at())),
        DisputeStatus::Won | DisputeStatus::Lost => open.or_else(|| latest(&|_| true)),
    }
}
