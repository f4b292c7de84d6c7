//! Owns what a delivery says: its body, its id, and which events shops hear of.
//!
//! Invariants: body and id follow from the event and the log's id alone, so a repeat has the same, also
//! when the log has removed the event; events of different histories of a log differ in their time, so
//! they have different ids.

use crate::engine::event::{BuyerEvent, Event, Group};
use crate::journal::AuditEntry;
use crate::json::Object;
use crate::report::feed::cursor::log_id_text;
use crate::report::feed::sink::{Convert, Fed, Unfit};
use crate::report::types::event_type;
use crate::report::write_event;
use crate::time::UnixMs;
use bytes::Bytes;
use serde_json::json;

/// What a shop needs to know of each purchase, unless the settings say otherwise.
const BY_DEFAULT: [&str; 14] = [
    "hold_expired",
    "payment_captured",
    "payment_declined",
    "payment_voided",
    "review_opened",
    "review_decided",
    "capture_differed",
    "refund_succeeded",
    "refund_failed",
    "refund_found",
    "refund_returned",
    "dispute_opened",
    "dispute_closed",
    "void_stuck",
];

/// The kinds that are the operator's; [`is_for_shops`] says the same of events.
const OPERATORS: [&str; 14] = [
    "buyer_paused",
    "buyer_rated",
    "buyer_segmented",
    "holdings_imported",
    "key_imported",
    "risk_rules_set",
    "risk_scoring_set",
    "webhook_received",
    "nonces_imported",
    "limits_set",
    "clock_corrected",
    "history_accepted",
    "admin_acted",
    "admin_refused",
];

/// About the size of an event, for the limit of a batch.
const EVENT_BYTES: usize = 1_024;

/// Whether shops may read it.
pub fn is_for_shops(event: &Event) -> bool {
    match event.group() {
        Group::Hold(_)
        | Group::Payment(_)
        | Group::Review(_)
        | Group::Refund(_)
        | Group::Dispute(_)
        | Group::Attempt(_)
        | Group::Catalogue(_)
        | Group::Buyer(BuyerEvent::TokensSpent(_)) => true,
        // Verdicts about buyers, gateway noise and administration are the operator's.
        Group::Buyer(_) | Group::Risk(_) | Group::Webhook(_) | Group::Core(_) | Group::Trail(_) => {
            false
        }
    }
}

/// Whether events of this kind may be sent to a shop.
pub fn may_be_sent(kind: &str) -> bool {
    Event::KINDS.contains(&kind) && !OPERATORS.contains(&kind)
}

pub fn kinds_by_default() -> Vec<String> {
    BY_DEFAULT.map(str::to_owned).to_vec()
}

/// Picks the events of one endpoint.
#[derive(Debug)]
pub struct ShopMessages {
    kinds: Vec<String>,
}

impl ShopMessages {
    pub fn new(kinds: Vec<String>) -> Self {
        Self { kinds }
    }
}

impl Convert for ShopMessages {
    type Item = Fed;

    fn convert(&mut self, fed: &Fed) -> Result<Option<Fed>, Unfit> {
        let event = &fed.entry.event;
        let wanted = is_for_shops(event) && self.kinds.iter().any(|it| it == event.kind());
        Ok(wanted.then(|| fed.clone()))
    }

    fn bytes(_: &Fed) -> usize {
        EVENT_BYTES
    }
}

/// `LOG-LSN-TIME`: the same for every try, and another one in every history.
pub(super) fn message_id(log_id: u64, entry: &AuditEntry) -> String {
    let (lsn, at_ms) = (entry.lsn.0, entry.at.get());
    format!("{}-{lsn}-{at_ms}", log_id_text(log_id))
}

/// `{"type": …, "timestamp": …, "data": the event as in GET /events}`.
pub(super) fn message_body(entry: &AuditEntry) -> Bytes {
    let mut body = Vec::with_capacity(EVENT_BYTES);
    Object::write(&mut body, |object| {
        object
            .put("type", event_type(entry.event.kind()))
            .text("timestamp", entry.at)
            .with("data", |out| write_event(entry, out));
    });
    body.into()
}

/// The body of a ping.
pub(super) fn ping_body(sink: &str, at: UnixMs) -> Bytes {
    let body = json!({
        "type": "holdfast.ping",
        "timestamp": at.to_string(),
        "data": { "sink": sink },
    });
    body.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_by_default_may_be_sent() {
        for kind in BY_DEFAULT {
            assert!(may_be_sent(kind), "{kind}");
        }
        for kind in &OPERATORS {
            assert!(Event::KINDS.contains(kind) && !may_be_sent(kind), "{kind}");
        }
        assert!(!may_be_sent("nothing"));
    }
}
