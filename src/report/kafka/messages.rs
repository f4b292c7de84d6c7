//! Owns the messages of the sink: the content and key of each event's message.

use super::producer::Producing;
use super::settings::KafkaSettings;
use crate::journal::{Directory, Journal};
use crate::report::event_bytes;
use crate::report::feed::sink::{Batching, Begins, Convert, Fed, Kept, Sink, Unfit};
use crate::report::types::event_type;
use compact_str::{CompactString, ToCompactString};
use std::sync::Arc;
use std::time::Duration;

/// Size of a message without key and value, for the limit of a batch.
const OVERHEAD_BYTES: usize = 384;

/// The sink. It uses nine tenths of the runner's timeout, so that it can report itself what it
/// waited for.
pub fn sink(
    settings: KafkaSettings,
    batching: Batching,
    deliver_timeout: Duration,
    journal: Arc<Journal>,
    folder: Arc<Directory>,
) -> Sink<Messages, Producing> {
    let patience = deliver_timeout * 9 / 10;
    let own = SinkContext { journal, folder };
    Sink {
        name: super::NAME,
        convert: Messages,
        deliver: Producing::new(settings, batching, patience, own),
        cursor: Kept::InFile,
        begins: Begins::AtTheBeginning,
        batching,
    }
}

/// What the sink has of this process.
pub(super) struct SinkContext {
    /// The log, to compare with what the topic has.
    pub(super) journal: Arc<Journal>,
    /// Where what was taken back is listed.
    pub(super) folder: Arc<Directory>,
}

/// An event as it goes to the broker; its LSN stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaMessage {
    /// Events with the same key keep their order.
    pub(super) key: CompactString,
    pub(super) ce_type: &'static str,
    pub(super) ce_time: CompactString,
    pub(super) at_ms: u64,
    pub(super) traceparent: Option<CompactString>,
    pub(super) json: Vec<u8>,
}

/// Converts an event into a message.
#[derive(Debug)]
pub struct Messages;

impl Convert for Messages {
    type Item = KafkaMessage;

    fn convert(&mut self, fed: &Fed) -> Result<Option<KafkaMessage>, Unfit> {
        let (event, at) = (&fed.entry.event, fed.entry.at);
        let key = match (event.user(), event.step()) {
            (Some(user), _) => user.as_str().into(),
            (None, Some((purchase, _))) => purchase.to_compact_string(),
            (None, None) => event.kind().into(),
        };
        Ok(Some(KafkaMessage {
            key,
            ce_type: event_type(event.kind()),
            ce_time: at.to_compact_string(),
            at_ms: at.get(),
            traceparent: fed.entry.trace.map(|it| it.to_compact_string()),
            json: event_bytes(&fed.entry),
        }))
    }

    fn bytes(message: &KafkaMessage) -> usize {
        message.key.len() + message.json.len() + OVERHEAD_BYTES
    }
}
