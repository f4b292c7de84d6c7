//! Owns the nonces and event ids of accepted webhooks.
//!
//! Invariants: the sets follow from the log alone, and adding an id again changes nothing; a look-up
//! adds nothing. Deliberately absent: deciding about a delivery (`webhooks`).

use super::axis::Axis;
use super::order::{LockRank, Ordered};
use crate::engine::cells::{Admission, Fingerprint, GenerationExport, GuardFull, ReplayGuard};
use crate::engine::command::ReceiveWebhook;
use crate::engine::event::{ClockCorrected, WebhookEvent, WebhookFormat, WebhookReceived};
use crate::engine::settings::WebhookMemory;
use crate::ids::WebhookEventId;
use crate::journal::time::clock::Moment;
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The nonces and event ids of accepted webhooks.
pub(in crate::journal) struct SeenWebhooks {
    nonces: ReplayGuard,
    events: ReplayGuard,
    axis: Ordered<Axis>,
}

/// The same in a snapshot.
#[derive(Archive, Serialize, Deserialize)]
pub(in crate::journal) struct SeenImage {
    /// An instant of the axis.
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
            axis: Ordered::new(LockRank::Axis, Axis::default()),
        }
    }

    /// Applies an event; applying it again changes nothing. Live and recovery call the same function.
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

    /// Whether a delivery was seen before. Adds nothing.
    pub(in crate::journal) fn look(&self, command: &ReceiveWebhook, at: Moment) -> DeliveryState {
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

    /// Whether a webhook with this nonce was accepted.
    pub(in crate::journal) fn knows_nonce(&self, nonce: Fingerprint, at: Moment) -> bool {
        let at_ms = self.axis.lock().at(at);
        self.nonces.look(nonce, at_ms) == Admission::Replayed
    }

    /// Adds `nonces` and returns those that are new; `None` if there is no room.
    pub(in crate::journal) fn fresh_nonces(
        &self,
        nonces: &[String],
        at: Moment,
    ) -> Option<Vec<u64>> {
        let at_ms = self.axis.lock().go_on(at);
        let mut fresh = Vec::new();
        for nonce in nonces {
            let nonce = nonce_fingerprint(nonce);
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

    /// Follows a correction of the clock: every id keeps its age or becomes younger.
    pub(in crate::journal) fn correct(&self, corrected: &ClockCorrected) {
        self.axis.lock().correct(corrected);
    }
}

/// Whether a delivery was seen before.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum DeliveryState {
    /// Neither the delivery nor its event.
    Nothing,
    /// The same delivery.
    Delivery,
    /// The same event, in another delivery.
    Event,
    /// Unknown, or it could not be remembered: no room is left, or the clock is before the instant up to
    /// which ids were forgotten.
    NoRoom,
}

/// The format is part of it, because two gateways may use the same id for different events.
fn event_fingerprint(format: WebhookFormat, event_id: &WebhookEventId) -> Fingerprint {
    match format {
        WebhookFormat::Holdfast | WebhookFormat::Standard => fingerprint_of(event_id.as_str()),
        WebhookFormat::Stripe => fingerprint_of(&format!("stripe/{event_id}")),
    }
}

/// The fingerprint of a text in a [`ReplayGuard`]: the first 64 bits of its SHA-256.
pub fn fingerprint_of(text: &str) -> Fingerprint {
    let digest = Sha256::digest(text.as_bytes());
    let (first, _) = digest
        .split_first_chunk()
        .expect("a digest has 32 bytes, of which the first 8 are taken");
    Fingerprint::new(u64::from_le_bytes(*first))
}

/// The fingerprint of a webhook's nonce in holdfast's own form.
pub fn nonce_fingerprint(nonce: &str) -> u64 {
    fingerprint_of(&format!("nonce/{nonce}")).get()
}
