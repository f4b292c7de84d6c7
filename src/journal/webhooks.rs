//! Owns letting webhooks in: each once, whatever its order of arrival, and what it changes.
//!
//! Invariants: of all deliveries with one nonce, and of all with one event id, one at most is let in
//! within the retention, across restarts: what is remembered follows from the log. One delivery at a
//! time is decided, so that a duplicate is told only once the first one stands in the log before it.
//! Deliberately absent: signatures and timestamps (`webhooks`), and asking the gateway (`payments`),
//! which is what most webhooks lead to: they are hints, and its books are the truth.

use super::Journal;
use super::fault::StorageFault;
use crate::engine::cells::{Admission, Fingerprint, GenerationExport, GuardFull, ReplayGuard};
use crate::engine::command::ReceiveWebhook;
use crate::engine::decide::decide_dispute;
use crate::engine::event::{Disposition, Event, WebhookKind, WebhookReceived};
use crate::engine::refusal::Refusal;
use crate::engine::settings::WebhookMemory;
use crate::ids::{Lsn, PurchaseId, WebhookEventId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What became of a webhook, and from when on it may be told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LetIn {
    /// What was made of it.
    pub disposition: Disposition,
    /// The purchase whose payment or refund is to be looked at now.
    pub look_at: Option<PurchaseId>,
    /// The LSN that must be durable before it is told.
    pub durable_at: Lsn,
}

/// Nonces and event ids seen.
pub(super) struct Seen {
    nonces: ReplayGuard,
    events: ReplayGuard,
}

/// What is seen, as a snapshot keeps it.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct SeenImage {
    at: UnixMs,
    nonces: Vec<GenerationImage>,
    events: Vec<GenerationImage>,
}

#[derive(Archive, Serialize, Deserialize)]
struct GenerationImage {
    last_ms: u64,
    fingerprints: Vec<u64>,
}

impl Seen {
    pub(super) fn new(memory: WebhookMemory) -> Self {
        Self {
            nonces: ReplayGuard::new(memory.nonces_max, memory.nonce_retention_ms),
            events: ReplayGuard::new(memory.events_max, memory.event_retention_ms),
        }
    }

    /// Remembers what a webhook in the log had; doing so again changes nothing.
    pub(super) fn remember(&self, seen: &WebhookReceived, at: UnixMs) -> Result<(), GuardFull> {
        if let Some(nonce) = seen.nonce {
            self.nonces.insert(Fingerprint::new(nonce), at.get())?;
        }
        self.events
            .insert(fingerprint_of(seen.event_id.as_str()), at.get())
    }

    /// Remembers nonces that were used elsewhere; likewise.
    pub(super) fn remember_nonces(&self, nonces: &[u64], at: UnixMs) -> Result<(), GuardFull> {
        nonces
            .iter()
            .try_for_each(|nonce| self.nonces.insert(Fingerprint::new(*nonce), at.get()))
    }

    /// Those of `nonces` that were not known, which are from now on; `None` where there is no room.
    pub(super) fn fresh_nonces(&self, nonces: &[String], at: UnixMs) -> Option<Vec<u64>> {
        let mut fresh = Vec::new();
        for nonce in nonces {
            let nonce = super::import::nonce_fingerprint(nonce);
            match self.nonces.admit(Fingerprint::new(nonce), at.get()) {
                Admission::Fresh => fresh.push(nonce),
                Admission::Replayed => {}
                Admission::Full | Admission::Late => return None,
            }
        }
        Some(fresh)
    }

    pub(super) fn image(&self, at: UnixMs) -> SeenImage {
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
            at,
            nonces: image(&self.nonces),
            events: image(&self.events),
        }
    }

    pub(super) fn import(&self, image: SeenImage) -> Result<(), GuardFull> {
        let exports = |images: Vec<GenerationImage>| -> Vec<GenerationExport> {
            let images = images.into_iter();
            images
                .map(|it| GenerationExport {
                    last_ms: it.last_ms,
                    fingerprints: it.fingerprints.into_iter().map(Fingerprint::new).collect(),
                })
                .collect()
        };
        let at_ms = image.at.get();
        self.nonces.import(&exports(image.nonces), at_ms)?;
        self.events.import(&exports(image.events), at_ms)
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
    /// Lets a webhook in whose signature and timestamp are good: [`Refusal::ReplayedNonce`], or
    /// [`Refusal::Overloaded`] where no more can be remembered just now.
    pub fn receive_webhook(
        &self,
        command: &ReceiveWebhook,
    ) -> Result<Result<LetIn, Refusal>, StorageFault> {
        let _one_at_a_time = self.webhook_turn.lock();
        if let Some(nonce) = command.nonce {
            let admitted = self
                .seen
                .nonces
                .admit(Fingerprint::new(nonce), self.now().get());
            match admitted {
                Admission::Fresh => {}
                Admission::Replayed => return Ok(Err(Refusal::ReplayedNonce)),
                Admission::Full | Admission::Late => return Ok(Err(Refusal::Overloaded)),
            }
        }
        let event = fingerprint_of(command.event_id.as_str());
        match self.seen.events.admit(event, self.now().get()) {
            Admission::Fresh => self.let_in(command).map(Ok),
            Admission::Replayed => {
                let received = received(command, None, Disposition::Duplicate);
                let durable_at = self.append_alone(&received, self.now())?;
                Ok(Ok(LetIn {
                    disposition: Disposition::Duplicate,
                    look_at: None,
                    durable_at,
                }))
            }
            Admission::Full | Admission::Late => Ok(Err(Refusal::Overloaded)),
        }
    }

    fn let_in(&self, command: &ReceiveWebhook) -> Result<LetIn, StorageFault> {
        let ignored = |durable_at| LetIn {
            disposition: Disposition::Ignored,
            look_at: None,
            durable_at,
        };
        let Some(purchase) = command.purchase else {
            let received = received(command, None, Disposition::Ignored);
            return self.append_alone(&received, self.now()).map(ignored);
        };
        let mut turn = self.turn(purchase.shard())?;
        let Some(user) = turn.shard.owner_of(purchase).cloned() else {
            let received = received(command, None, Disposition::Ignored);
            return self.append_alone(&received, self.now()).map(ignored);
        };
        let changed = decide_dispute(turn.context(), purchase, command);
        let look_at = hints(command.kind).then_some(purchase);
        let disposition = if changed.is_some() || look_at.is_some() {
            Disposition::Processed
        } else {
            Disposition::Ignored
        };
        let mut events = vec![received(command, Some(user), disposition)];
        events.extend(changed);
        let durable_at = turn.commit_events(&events, crate::engine::decide::Claims::default())?;
        Ok(LetIn {
            disposition,
            look_at,
            durable_at,
        })
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
    user: Option<crate::ids::UserId>,
    disposition: Disposition,
) -> Event {
    let event_id: WebhookEventId = command.event_id.clone();
    Event::WebhookReceived(WebhookReceived {
        format: command.format,
        event_id,
        kind: command.kind,
        nonce: command.nonce,
        happened_at: command.happened_at,
        purchase: command.purchase,
        user,
        disposition,
        request: command.request,
    })
}
