//! The webhooks sink: each endpoint of the shop is a sink of its own, to which events are sent as
//! signed requests, as Standard Webhooks describes them.
//!
//! Invariants: 1. the events of one buyer arrive in the order of the log, and a buyer whose delivery
//! fails holds no other buyer back; 2. the cursor passes an event only once it is delivered or durably
//! kept to be tried again; 3. a repeat has the same `webhook-id`; 4. a delivery that was tried for long
//! enough is among the dead letters, and the next one follows; 5. no connection goes to a private
//! address, unless the endpoint's settings allow it.
//!
//! `messages` makes bodies and ids, `keys` signs them, `credentials` are what a reload changes, `address` says where they may go, `post` sends
//! one, `lanes` keeps the order, `courier` delivers, `keeping` keeps what waits, `redrive` delivers dead letters again, `endpoint` is what operators see and do.
//! Deliberately absent: webhooks that come in (`webhooks` of the crate), and reading the log.

mod address;
mod courier;
mod credentials;
mod endpoint;
mod keeping;
mod keys;
mod lanes;
mod messages;
mod post;
mod redrive;
mod settings;

pub use courier::Courier;
pub use credentials::EndpointCredentials;
pub use endpoint::{DeliveryRecord, PingResult, Renewed, WebhookEndpoint};
pub use keys::{BadOutgoingKey, OutgoingKey};
pub use messages::{ShopMessages, is_for_shops, kinds_by_default, may_be_sent};
pub use settings::{
    AddressRule, BadEndpointUrl, EndpointSettings, EndpointUrl, PlainRule, sink_name,
};

use super::feed::sink::{Batching, Begins, Kept, Sink};
use crate::journal::{Directory, Journal};
use std::sync::Arc;

/// Events in one batch, so that the cursor of a slow endpoint moves often.
const BATCH_EVENTS_MAX: usize = 100;

/// The sink of `endpoint`. `folder` is where the cursors are.
pub fn sink(
    endpoint: Arc<WebhookEndpoint>,
    batching: Batching,
    journal: Arc<Journal>,
    folder: Arc<Directory>,
) -> Sink<ShopMessages, Courier> {
    let settings = endpoint.settings();
    Sink {
        name: settings.sink,
        convert: ShopMessages::new(settings.kinds.clone()),
        cursor: Kept::InFile,
        begins: Begins::AtTheEnd,
        batching: Batching {
            events_max: batching.events_max.min(BATCH_EVENTS_MAX),
            ..batching
        },
        deliver: Courier::new(endpoint, journal, folder),
    }
}
