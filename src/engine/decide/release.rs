//! Decides how holds end without a payment: released by the buyer, or expired.

use super::{Context, Decision, Events, OwnedPurchase};
use crate::engine::decide::command::ReleaseHold;
use crate::engine::event::{Event, HoldExpired, HoldReleased};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::purchase::Purchase;
use crate::engine::state::shard::Shard;
use crate::engine::words::lifecycle::{PurchaseState, Step};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection};
use crate::ids::PurchaseId;
use crate::time::UnixMs;

/// Whether the hold may be released, and its event; `None` if it already is.
pub fn decide_release(
    context: Context<'_>,
    command: &ReleaseHold,
) -> Result<Option<Decision>, Rejection> {
    let shard = context.shard;
    let purchase = shard.find(command.hold).ok_or(Refusal::HoldNotFound)?;
    let user = shard.owner_of(command.hold).ok_or(Refusal::HoldNotFound)?;
    // Another buyer's hold is answered as unknown.
    if command.user.as_ref().is_some_and(|asked| asked != user) {
        return Err(Refusal::HoldNotFound.into());
    }
    match purchase.state() {
        PurchaseState::Released => Ok(None),
        PurchaseState::Expired => Err(expired(command.hold, purchase)),
        PurchaseState::Held if context.at >= purchase.expires_at => {
            Err(expired(command.hold, purchase))
        }
        _ if !purchase.may(Step::HoldReleased) => Err(closed(command.hold, purchase)),
        _ => Ok(Some(Decision::without_claims(Event::HoldReleased(
            HoldReleased {
                purchase: command.hold,
                user: user.clone(),
                origin: command.origin.clone(),
            },
        )))),
    }
}

/// The refusal because the hold has expired.
pub(super) fn expired(hold: PurchaseId, purchase: &Purchase) -> Rejection {
    Refusal::HoldExpired.about(RefusalFacts::HoldExpired {
        hold,
        expires_at: purchase.expires_at,
    })
}

/// The refusal because the hold was released, or is paid or being paid.
pub(super) fn closed(hold: PurchaseId, purchase: &Purchase) -> Rejection {
    Refusal::HoldClosed.about(RefusalFacts::HoldClosed {
        hold,
        status: purchase.state(),
    })
}

/// The holds of `shard` that have expired by `at`, the first due first, at most `most`.
pub fn decide_expiries(
    shard: &mut Shard,
    catalogue: &Catalogue,
    at: UnixMs,
    most: usize,
) -> Events {
    let mut events = Events::new();
    while events.len() < most
        && let Some(id) = shard.take_due_hold(at)
        && let Some(hold) = OwnedPurchase::find(shard, id)
    {
        events.push(Event::HoldExpired(expiry(catalogue, hold)));
    }
    events
}

/// The event of an expired hold.
pub(super) fn expiry(catalogue: &Catalogue, hold: OwnedPurchase<'_>) -> HoldExpired {
    let OwnedPurchase { id, owner, stored } = hold;
    let extras = stored.extras.as_ref();
    let product = &catalogue.product_at(stored.product).terms.product;
    HoldExpired {
        purchase: id,
        user: owner.clone(),
        product: product.clone(),
        quantity: stored.quantity,
        card: stored.card_tried().cloned(),
        ip: extras.and_then(|it| it.ip),
        device: extras.and_then(|it| it.device.clone()),
    }
}
