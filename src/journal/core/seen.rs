//! Owns the nonces and event ids of webhooks that were let in.
//!
//! Invariants: what is remembered follows from the log alone, and remembering it again changes nothing;
//! looking remembers nothing. Deliberately absent: what becomes of a delivery (`webhooks`).

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

/// Nonces and event ids seen.
pub(in crate::journal) struct SeenWebhooks {
    nonces: ReplayGuard,
    events: ReplayGuard,
    axis: Ordered<Axis>,
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
            axis: Ordered::new(LockRank::Axis, Axis::default()),
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

    /// Whether a webhook with this nonce was let in.
    pub(in crate::journal) fn knows_nonce(&self, nonce: Fingerprint, at: Moment) -> bool {
        let at_ms = self.axis.lock().at(at);
        self.nonces.look(nonce, at_ms) == Admission::Replayed
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

    /// What is remembered keeps its age, or is younger than it was.
    pub(in crate::journal) fn correct(&self, corrected: &ClockCorrected) {
        self.axis.lock().correct(corrected);
    }
}

/// What is known of a delivery.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum DeliveryState {
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

/// What stands for a nonce of a webhook in holdfast's own form.
pub fn nonce_fingerprint(nonce: &str) -> u64 {
    fingerprint_of(&format!("nonce/{nonce}")).get()
}
