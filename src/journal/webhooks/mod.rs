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

use crate::engine::cells::{Admission, Fingerprint, GenerationExport, GuardFull, ReplayGuard};
use crate::engine::command::ReceiveWebhook;
use crate::engine::decide::{Claims, DisputeWord, Unplaced, decide_dispute};
use crate::engine::event::{
    ClockCorrected, Disposition, Event, WebhookEvent, WebhookFormat, WebhookKind, WebhookReceived,
};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::Rejection;
use crate::engine::settings::WebhookMemory;
use crate::engine::stamp::Settled;
use crate::ids::{AuthorizationId, Lsn, PurchaseId, ShardId, UserId, WebhookEventId};
use crate::journal::Journal;
use crate::journal::format::fault::StorageFault;
use crate::journal::time::clock::Moment;
use crate::time::UnixMs;
use parking_lot::Mutex;
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;

/// What became of a webhook, and from when on it may be told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct WebhookAccepted {
    /// What was made of it.
    pub disposition: Disposition,
    /// The purchase whose payment or refund is to be looked at now.
    pub look_at: Option<PurchaseId>,
    /// Why a dispute cannot be placed, where it is one that our books have no place for.
    pub unplaced: Option<Unplaced>,
    /// The LSN that must be durable before it is answered.
    pub durable_at: Lsn,
}

/// Why a webhook is not let in, and from when on that may be told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct WebhookNotAccepted {
    /// Why, and what it is about.
    pub rejection: Rejection,
    /// The LSN that must be durable before it is told; `None`: it reveals nothing.
    pub durable_at: Option<Lsn>,
}

/// Purchases that one turn of a shard looks at, while one is searched for.
const PURCHASES_A_TURN: usize = 4_096;

/// Nonces and event ids seen.
pub(in crate::journal) struct SeenWebhooks {
    nonces: ReplayGuard,
    events: ReplayGuard,
    axis: Mutex<Axis>,
}

/// What is seen, as a snapshot keeps it.
#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct SeenImage {
    /// By the axis.
    at_ms: u64,
    axis: Axis,
    nonces: Vec<GenerationImage>,
    events: Vec<GenerationImage>,
}

#[derive(Archive, Serialize, Deserialize)]
struct GenerationImage {
    last_ms: u64,
    fingerprints: Vec<u64>,
}

impl SeenWebhooks {
    pub(in crate::journal) fn new(memory: WebhookMemory) -> Self {
        Self {
            nonces: ReplayGuard::new(memory.nonces_max, memory.nonce_retention_ms()),
            events: ReplayGuard::new(memory.events_max, memory.event_retention_ms),
            axis: Mutex::default(),
        }
    }

    /// Applies what an event changes in it; doing so again changes nothing. Live and recovery alike.
    pub(in crate::journal) fn apply(
        &self,
        change: WebhookEvent<'_>,
        at: Moment,
    ) -> Result<(), GuardFull> {
        let at_ms = self.axis.lock().go_on(at);
        match change {
            WebhookEvent::WebhookReceived(received) => self.remember(received, at_ms),
            WebhookEvent::NoncesImported(imported) => imported
                .nonces
                .iter()
                .try_for_each(|nonce| self.nonces.insert(Fingerprint::new(*nonce), at_ms)),
        }
    }

    fn remember(&self, seen: &WebhookReceived, at_ms: u64) -> Result<(), GuardFull> {
        if let Some(nonce) = seen.nonce {
            self.nonces.insert(Fingerprint::new(nonce), at_ms)?;
        }
        self.events
            .insert(event_fingerprint(seen.format, &seen.event_id), at_ms)
    }

    /// What is known of a delivery; nothing is remembered.
    fn look(&self, command: &ReceiveWebhook, at: Moment) -> DeliveryState {
        let at_ms = self.axis.lock().at(at);
        let nonce = command.nonce.map_or(Admission::Fresh, |nonce| {
            self.nonces.look(Fingerprint::new(nonce), at_ms)
        });
        match nonce {
            Admission::Fresh => {}
            Admission::Replayed => return DeliveryState::Delivery,
            Admission::Full | Admission::Late => return DeliveryState::NoRoom,
        }
        let event = event_fingerprint(command.format, &command.event_id);
        match self.events.look(event, at_ms) {
            Admission::Fresh => DeliveryState::Nothing,
            Admission::Replayed => DeliveryState::Event,
            Admission::Full | Admission::Late => DeliveryState::NoRoom,
        }
    }

    /// Those of `nonces` that were not known, which are from now on; `None` where there is no room.
    pub(in crate::journal) fn fresh_nonces(
        &self,
        nonces: &[String],
        at: Moment,
    ) -> Option<Vec<u64>> {
        let at_ms = self.axis.lock().go_on(at);
        let mut fresh = Vec::new();
        for nonce in nonces {
            let nonce = crate::journal::recovery::import::nonce_fingerprint(nonce);
            match self.nonces.admit(Fingerprint::new(nonce), at_ms) {
                Admission::Fresh => fresh.push(nonce),
                Admission::Replayed => {}
                Admission::Full | Admission::Late => return None,
            }
        }
        Some(fresh)
    }

    pub(in crate::journal) fn image(&self, at: Moment) -> SeenImage {
        let axis = *self.axis.lock();
        let image = |guard: &ReplayGuard| -> Vec<GenerationImage> {
            let generations = guard.export().into_iter();
            generations
                .map(|it| GenerationImage {
                    last_ms: it.last_ms,
                    fingerprints: it.fingerprints.into_iter().map(Fingerprint::get).collect(),
                })
                .collect()
        };
        SeenImage {
            at_ms: axis.at(at),
            axis,
            nonces: image(&self.nonces),
            events: image(&self.events),
        }
    }

    pub(in crate::journal) fn import(&self, image: SeenImage) -> Result<(), GuardFull> {
        let exports = |images: Vec<GenerationImage>| -> Vec<GenerationExport> {
            let images = images.into_iter();
            images
                .map(|it| GenerationExport {
                    last_ms: it.last_ms,
                    fingerprints: it.fingerprints.into_iter().map(Fingerprint::new).collect(),
                })
                .collect()
        };
        *self.axis.lock() = image.axis;
        let at_ms = image.at_ms;
        self.nonces.import(&exports(image.nonces), at_ms)?;
        self.events.import(&exports(image.events), at_ms)
    }

    /// What is remembered keeps its age, or is younger than it was.
    pub(in crate::journal) fn correct(&self, corrected: &ClockCorrected) {
        self.axis.lock().correct(corrected);
    }
}

/// The time by which webhooks are remembered. It goes on with the core's time, but
///
/// 1. a correction of the clock does not move it;
/// 2. it stands still while webhooks come before the clock has settled after a start, and goes on
///    from the last of them: so a wrong clock at a start forgets nothing, and what was remembered
///    then is not older for the time that the process was off.
#[derive(Copy, Clone, Debug, Default, Archive, Serialize, Deserialize)]
struct Axis {
    /// Added to the core's time.
    offset_ms: i64,
    /// The latest that was reached; 0: nothing was ever remembered.
    latest_ms: u64,
    /// When something was last remembered before the clock had settled, where that was since the
    /// last start.
    unsettled_at: Option<UnixMs>,
}

impl Axis {
    /// The axis at `moment`.
    fn at(mut self, moment: Moment) -> u64 {
        self.go_on(moment)
    }

    /// The same, where something is remembered then.
    fn go_on(&mut self, moment: Moment) -> u64 {
        let reached = self.of(moment.at);
        match moment.settled {
            Settled::No if self.latest_ms == 0 => self.latest_ms = reached,
            Settled::No => {
                self.unsettled_at = Some(moment.at);
                return reached.min(self.latest_ms);
            }
            Settled::Yes => {
                if let Some(at) = self.unsettled_at.take() {
                    let ahead = self.of(at).saturating_sub(self.latest_ms);
                    self.offset_ms -= ahead.cast_signed();
                }
            }
        }
        let reached = self.of(moment.at);
        self.latest_ms = self.latest_ms.max(reached);
        reached
    }

    fn correct(&mut self, corrected: &ClockCorrected) {
        let offset_ms = corrected.offset_ms();
        self.unsettled_at = self.unsettled_at.map(|at| at.moved_ms(offset_ms));
        if offset_ms >= 0 {
            self.offset_ms -= offset_ms;
        } else {
            // What was remembered last is not from the future; it may be younger than it was.
            let ahead = self.latest_ms.saturating_sub(self.of(corrected.after));
            self.offset_ms += ahead.cast_signed();
        }
    }

    fn of(self, at: UnixMs) -> u64 {
        at.get().saturating_add_signed(self.offset_ms)
    }
}

/// What is known of a delivery.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum DeliveryState {
    /// Neither it nor what it reports.
    Nothing,
    /// This very delivery.
    Delivery,
    /// What it reports, from another delivery.
    Event,
    /// That cannot be told, or not be remembered: no room is left, or the clock stands before the
    /// time up to which has been forgotten.
    NoRoom,
}

/// Gateways do not agree on names, so that Stripe's stand apart from those of a gateway of ours.
fn event_fingerprint(format: WebhookFormat, event_id: &WebhookEventId) -> Fingerprint {
    match format {
        WebhookFormat::Holdfast | WebhookFormat::Standard => fingerprint_of(event_id.as_str()),
        WebhookFormat::Stripe => fingerprint_of(&format!("stripe/{event_id}")),
    }
}

/// Stands for a text in a [`ReplayGuard`]: the first 64 bits of its SHA-256.
pub fn fingerprint_of(text: &str) -> Fingerprint {
    let digest = Sha256::digest(text.as_bytes());
    let (first, _) = digest
        .split_first_chunk()
        .expect("a digest has 32 bytes, of which the first 8 are taken");
    Fingerprint::new(u64::from_le_bytes(*first))
}

impl Journal {
    /// Lets a webhook in whose signature and timestamp are good. Refused, with nothing left behind:
    /// [`Refusal::ReplayedNonce`]; [`Refusal::Overloaded`] where no more can be remembered just
    /// now; [`Refusal::WrongState`] for a dispute of a payment whose capture is not known yet.
    /// What could change nothing leaves nothing behind either: it is [`Disposition::Ignored`].
    ///
    /// The same delivery again is refused where its form has nonces. Elsewhere it is a duplicate
    /// like any other, only that nothing is written: whoever caught one could send it for ever.
    pub fn receive_webhook(
        &self,
        command: &ReceiveWebhook,
    ) -> Result<Result<WebhookAccepted, WebhookNotAccepted>, StorageFault> {
        let _one_at_a_time = self.webhook_turn.lock();
        let at = self.clock.moment();
        let duplicate = |durable_at| WebhookAccepted {
            disposition: Disposition::Duplicate,
            look_at: None,
            unplaced: None,
            durable_at,
        };
        match self.seen.look(command, at) {
            DeliveryState::Nothing | DeliveryState::NoRoom if self.changes_nothing(command) => {
                Ok(Ok(WebhookAccepted {
                    disposition: Disposition::Ignored,
                    look_at: None,
                    unplaced: None,
                    durable_at: self.appended(),
                }))
            }
            DeliveryState::Nothing => self.let_in(command, at),
            DeliveryState::Delivery if command.format == WebhookFormat::Holdfast => {
                Ok(Err(self.not_accepted(Refusal::ReplayedNonce)))
            }
            DeliveryState::Delivery => Ok(Ok(duplicate(self.appended()))),
            DeliveryState::Event => {
                let received = received(command, None, Disposition::Duplicate);
                self.append_received(received, at).map(duplicate).map(Ok)
            }
            DeliveryState::NoRoom => Ok(Err(WebhookNotAccepted {
                rejection: Refusal::Overloaded.into(),
                durable_at: None,
            })),
        }
    }

    /// Where a webhook with this nonce was let in: the LSN that must be durable before that is told.
    pub fn knows_nonce(&self, nonce: u64) -> Option<Lsn> {
        // Whoever remembers one appends it in the same turn.
        let _one_at_a_time = self.webhook_turn.lock();
        let nonce = Fingerprint::new(nonce);
        let moment = self.clock.moment();
        let at_ms = self.seen.axis.lock().at(moment);
        let seen = self.seen.nonces.look(nonce, at_ms);
        (seen == Admission::Replayed).then(|| self.appended())
    }

    /// Whether this delivery, or what it reports, was let in before.
    pub fn knows_webhook(&self, command: &ReceiveWebhook) -> bool {
        let moment = self.clock.moment();
        match self.seen.look(command, moment) {
            DeliveryState::Delivery | DeliveryState::Event => true,
            DeliveryState::Nothing | DeliveryState::NoRoom => false,
        }
    }

    /// The purchase whose payment the gateway calls `authorization`. Looks at every purchase, one
    /// shard after the other and some in each turn: for what is rare, on a thread that serves
    /// nobody.
    pub fn purchase_of(&self, authorization: &AuthorizationId) -> Option<PurchaseId> {
        ShardId::all().find_map(|id| {
            let mut from = 0;
            loop {
                let turn = self.shard(id);
                match turn.purchase_of(authorization, from, PURCHASES_A_TURN) {
                    ControlFlow::Break(found) => return found,
                    ControlFlow::Continue(next) => from = next,
                }
                drop(turn);
                std::thread::yield_now();
            }
        })
    }

    /// Whether the refund of this number, or the last one, succeeded by our books.
    pub fn refund_succeeded(&self, purchase: PurchaseId, number: Option<u32>) -> bool {
        let shard = self.shard(purchase.shard());
        shard.refund_succeeded(purchase, number)
    }

    /// Whether a payment is under way that was begun by this instant and of which it is not known
    /// what the gateway calls it. Takes each shard's turn.
    pub fn awaits_authorization(&self, begun_by: UnixMs) -> bool {
        ShardId::all().any(|id| self.shard(id).awaits_authorization(begun_by))
    }

    /// Whether a webhook changes nothing, however often it is told: it means nothing here, or is a
    /// hint about what is none of ours. A dispute that finds no purchase is worth a line of the log.
    fn changes_nothing(&self, command: &ReceiveWebhook) -> bool {
        let known = |id: PurchaseId| self.shard(id.shard()).owner_of(id).is_some();
        match command.kind {
            WebhookKind::Other => true,
            kind if kind.is_dispute() => false,
            _ => !command.purchase.is_some_and(known),
        }
    }

    fn not_accepted(&self, rejection: impl Into<Rejection>) -> WebhookNotAccepted {
        WebhookNotAccepted {
            rejection: rejection.into(),
            durable_at: Some(self.appended()),
        }
    }

    fn let_in(
        &self,
        command: &ReceiveWebhook,
        at: Moment,
    ) -> Result<Result<WebhookAccepted, WebhookNotAccepted>, StorageFault> {
        let ignored = |durable_at| WebhookAccepted {
            disposition: Disposition::Ignored,
            look_at: None,
            unplaced: None,
            durable_at,
        };
        let unknown = || {
            let received = received(command, None, Disposition::Ignored);
            self.append_received(received, at).map(ignored).map(Ok)
        };
        let Some(purchase) = command.purchase else {
            return unknown();
        };
        let mut turn = self.turn(purchase.shard())?;
        let Some(user) = turn.shard.owner_of(purchase).cloned() else {
            drop(turn);
            return unknown();
        };
        let (changed, unplaced) = match decide_dispute(turn.context(), purchase, command) {
            Ok(DisputeWord::Changes(event)) => (Some(*event), None),
            Ok(DisputeWord::Unplaced(why)) => (None, Some(why)),
            Ok(DisputeWord::Nothing) => (None, None),
            Err(refusal) => return Ok(Err(self.not_accepted(refusal))),
        };
        let look_at = hints(command.kind).then_some(purchase);
        let disposition = if changed.is_some() || look_at.is_some() {
            Disposition::Processed
        } else {
            Disposition::Ignored
        };
        let received = received(command, Some(user), disposition);
        let mut events = vec![Event::WebhookReceived(received)];
        events.extend(changed);
        let durable_at = turn.commit_events(&events, Claims::default())?;
        Ok(Ok(WebhookAccepted {
            disposition,
            look_at,
            unplaced,
            durable_at,
        }))
    }

    fn append_received(&self, received: WebhookReceived, at: Moment) -> Result<Lsn, StorageFault> {
        self.remember(WebhookEvent::WebhookReceived(&received), at);
        self.append_one(&Event::WebhookReceived(received), at)
    }

    /// Within the turn of the webhooks that found room for it.
    pub(in crate::journal) fn remember(&self, change: WebhookEvent<'_>, at: Moment) {
        self.seen
            .apply(change, at)
            .expect("there was room when this turn looked, and nobody else remembers in it");
    }
}

/// Whether such a webhook says that the gateway's books are worth a look.
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
