//! Owns accepting webhooks: each once, in any order of arrival, and what each changes.
//!
//! Invariants:
//! 1. Of all deliveries with one nonce, and of all with one event id, at most one is accepted
//!    within the retention, across restarts: the remembered ids follow from the log.
//! 2. One delivery is decided at a time, so a duplicate is answered only after the first one is in
//!    the log.
//! 3. A delivery that is not accepted leaves nothing behind: everything is checked first and
//!    remembered last, so a delivery that found no room may be sent again unchanged.
//! 4. A webhook that can change nothing is not remembered: gateways send many events that are not
//!    about our payments, and the room for those that are is limited.
//!
//! Deliberately absent: signatures and timestamps (`webhooks`), and the look-up at the gateway
//! (`payments`), which most webhooks cause: they are hints, and the gateway's books are the truth.

use crate::engine::cells::Fingerprint;
use crate::engine::command::ReceiveWebhook;
use crate::engine::decide::{Claims, DisputeWord, Unplaced, decide_dispute};
use crate::engine::event::{
    Disposition, Event, WebhookEvent, WebhookFormat, WebhookKind, WebhookReceived,
};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::Rejection;
use crate::ids::{AuthorizationId, Lsn, PurchaseId, ShardId, UserId};
use crate::journal::core::JournalCore;
use crate::journal::core::seen::DeliveryState;
use crate::journal::format::fault::{StorageFault, WriteError};
use crate::journal::time::clock::Moment;
use crate::journal::turn::shard_turn::Turn;
use crate::time::UnixMs;
use std::ops::ControlFlow;

/// The effect of an accepted webhook, and when it may be answered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct WebhookAccepted {
    pub disposition: Disposition,
    /// The purchase whose payment or refund must be looked up at the gateway now.
    pub look_at: Option<PurchaseId>,
    /// Why a dispute cannot be booked, if it is one that our books have no place for.
    pub unplaced: Option<Unplaced>,
    /// The LSN that must be durable before it is answered.
    pub durable_at: Lsn,
}

/// Why a webhook is refused, and when that may be answered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct WebhookNotAccepted {
    pub rejection: Rejection,
    /// The LSN that must be durable before the answer; `None`: the answer reveals nothing.
    pub durable_at: Option<Lsn>,
}

/// Maximum number of purchases that one turn of a shard reads during a search.
const PURCHASES_A_TURN: usize = 4_096;

/// Accepts webhooks.
pub struct WebhookIntake<'a> {
    core: &'a JournalCore,
}

impl<'a> WebhookIntake<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl WebhookIntake<'_> {
    /// Accepts a webhook with a valid signature and timestamp. A refusal changes nothing:
    /// [`Refusal::ReplayedNonce`]; [`Refusal::Overloaded`] if no more can be remembered now;
    /// [`Refusal::WrongState`] for a dispute of a payment whose capture is not known yet. A webhook that
    /// can change nothing is not recorded: it is [`Disposition::Ignored`].
    ///
    /// A repeated delivery is refused if its form has nonces. In other forms it is a duplicate that is
    /// not recorded, because an attacker who captured a delivery could send it for ever.
    pub fn receive(
        &self,
        command: &ReceiveWebhook,
    ) -> Result<WebhookAccepted, WriteError<WebhookNotAccepted>> {
        let _one_at_a_time = self.core.webhook_turn.lock();
        let at = self.core.clock.moment();
        let duplicate = |durable_at| WebhookAccepted {
            disposition: Disposition::Duplicate,
            look_at: None,
            unplaced: None,
            durable_at,
        };
        match self.core.seen.look(command, at) {
            DeliveryState::Nothing | DeliveryState::NoRoom if self.changes_nothing(command) => {
                Ok(WebhookAccepted {
                    disposition: Disposition::Ignored,
                    look_at: None,
                    unplaced: None,
                    durable_at: self.core.appended(),
                })
            }
            DeliveryState::Nothing => self.let_in(command, at),
            DeliveryState::Delivery if command.format == WebhookFormat::Holdfast => {
                Err(self.not_accepted(Refusal::ReplayedNonce))
            }
            DeliveryState::Delivery => Ok(duplicate(self.core.appended())),
            DeliveryState::Event => {
                let received = received(command, None, Disposition::Duplicate);
                Ok(duplicate(self.append_received(received, at)?))
            }
            DeliveryState::NoRoom => Err(WriteError::Refused(WebhookNotAccepted {
                rejection: Refusal::Overloaded.into(),
                durable_at: None,
            })),
        }
    }

    /// If a webhook with this nonce was accepted: the LSN that must be durable before that is revealed.
    pub fn knows_nonce(&self, nonce: u64) -> Option<Lsn> {
        // A nonce is remembered and its event appended within one turn of webhooks, so the end of the log
        // read within a turn covers the event.
        let _one_at_a_time = self.core.webhook_turn.lock();
        let moment = self.core.clock.moment();
        let known = self.core.seen.knows_nonce(Fingerprint::new(nonce), moment);
        known.then(|| self.core.appended())
    }

    /// Whether this delivery, or its event in another delivery, was accepted before.
    pub fn knows(&self, command: &ReceiveWebhook) -> bool {
        let moment = self.core.clock.moment();
        match self.core.seen.look(command, moment) {
            DeliveryState::Delivery | DeliveryState::Event => true,
            DeliveryState::Nothing | DeliveryState::NoRoom => false,
        }
    }

    /// The purchase whose authorization has this id at the gateway. Reads every purchase, shard by shard
    /// and some in each turn: call it rarely, and on a background thread.
    pub fn purchase_of(&self, authorization: &AuthorizationId) -> Option<PurchaseId> {
        ShardId::all().find_map(|id| {
            let mut from = 0;
            loop {
                let turn = self.core.shard(id);
                match turn.purchase_of(authorization, from, PURCHASES_A_TURN) {
                    ControlFlow::Break(found) => return found,
                    ControlFlow::Continue(next) => from = next,
                }
                drop(turn);
                std::thread::yield_now();
            }
        })
    }

    /// Whether the refund with this number, or the last one, succeeded by our books.
    pub fn refund_succeeded(&self, purchase: PurchaseId, number: Option<u32>) -> bool {
        let shard = self.core.shard(purchase.shard());
        shard.refund_succeeded(purchase, number)
    }

    /// Whether a payment is in progress that started at or before this instant and whose authorization is
    /// not known yet. Takes each shard's turn.
    pub fn awaits_authorization(&self, begun_by: UnixMs) -> bool {
        ShardId::all().any(|id| self.core.shard(id).awaits_authorization(begun_by))
    }

    /// Whether a webhook can never change anything: it has no meaning here, or is a hint about a payment
    /// that is not ours. A dispute without a purchase does not count: it must be logged.
    fn changes_nothing(&self, command: &ReceiveWebhook) -> bool {
        let known = |id: PurchaseId| self.core.shard(id.shard()).owner_of(id).is_some();
        match command.kind {
            WebhookKind::Other => true,
            kind if kind.is_dispute() => false,
            _ => !command.purchase.is_some_and(known),
        }
    }

    fn not_accepted(&self, rejection: impl Into<Rejection>) -> WriteError<WebhookNotAccepted> {
        WriteError::Refused(WebhookNotAccepted {
            rejection: rejection.into(),
            durable_at: Some(self.core.appended()),
        })
    }

    fn let_in(
        &self,
        command: &ReceiveWebhook,
        at: Moment,
    ) -> Result<WebhookAccepted, WriteError<WebhookNotAccepted>> {
        let ignored = |durable_at| WebhookAccepted {
            disposition: Disposition::Ignored,
            look_at: None,
            unplaced: None,
            durable_at,
        };
        let unknown = || {
            let received = received(command, None, Disposition::Ignored);
            Ok(ignored(self.append_received(received, at)?))
        };
        let Some(purchase) = command.purchase else {
            return unknown();
        };
        let mut turn = Turn::take(self.core, purchase.shard())?;
        let Some(user) = turn.shard.owner_of(purchase).cloned() else {
            drop(turn);
            return unknown();
        };
        let word = decide_dispute(turn.context(), purchase, command);
        let word = word.map_err(|refusal| self.not_accepted(refusal))?;
        let look_at = hints(command.kind).then_some(purchase);
        let disposition = match word {
            DisputeWord::Changes(_) => Disposition::Processed,
            _ if look_at.is_some() => Disposition::Processed,
            DisputeWord::Noted(_) | DisputeWord::Unplaced(_) | DisputeWord::Nothing => {
                Disposition::Ignored
            }
        };
        let (changed, unplaced) = match word {
            DisputeWord::Changes(event) | DisputeWord::Noted(event) => (Some(*event), None),
            DisputeWord::Unplaced(why) => (None, Some(why)),
            DisputeWord::Nothing => (None, None),
        };
        let received = received(command, Some(user), disposition);
        let mut events = vec![Event::WebhookReceived(received)];
        events.extend(changed);
        let durable_at = turn.commit_events(&events, Claims::default())?;
        Ok(WebhookAccepted {
            disposition,
            look_at,
            unplaced,
            durable_at,
        })
    }

    fn append_received(&self, received: WebhookReceived, at: Moment) -> Result<Lsn, StorageFault> {
        self.core
            .remember(WebhookEvent::WebhookReceived(&received), at);
        self.core.append_one(&Event::WebhookReceived(received), at)
    }
}

/// Whether a webhook of this kind is a reason to look up the gateway's books.
const fn hints(kind: WebhookKind) -> bool {
    match kind {
        WebhookKind::PaymentAuthorized
        | WebhookKind::PaymentCaptured
        | WebhookKind::PaymentVoided
        | WebhookKind::PaymentFailed
        | WebhookKind::RefundSucceeded
        | WebhookKind::RefundFailed => true,
        WebhookKind::DisputeOpened
        | WebhookKind::DisputeWon
        | WebhookKind::DisputeLost
        | WebhookKind::Other => false,
    }
}

fn received(
    command: &ReceiveWebhook,
    user: Option<UserId>,
    disposition: Disposition,
) -> WebhookReceived {
    WebhookReceived {
        format: command.format,
        event_id: command.event_id.clone(),
        kind: command.kind,
        nonce: command.nonce,
        happened_at: command.happened_at,
        purchase: command.purchase,
        user,
        disposition,
        request: command.request,
    }
}
