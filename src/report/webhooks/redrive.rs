//! Owns redriving dead letters to one endpoint.
//!
//! Invariants: each is tried once; buyers are served side by side, each one's events in order; once a
//! buyer's event fails, the buyer's later ones are not tried; no try begins after the time is over.
//! Deliberately absent: removing what arrived from the dead letters, which the feed does.

use super::endpoint::WebhookEndpoint;
use super::messages::{message_body, message_id};
use super::post::Poster;
use crate::ids::UserId;
use crate::report::feed::sink::{Delivered, Fed, Placed, RejectedItem};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[derive(Clone)]
pub(super) struct Redriver {
    poster: Poster,
    endpoint: Arc<WebhookEndpoint>,
    log_id: u64,
}

impl Redriver {
    pub(super) const fn new(poster: Poster, endpoint: Arc<WebhookEndpoint>, log_id: u64) -> Self {
        Self {
            poster,
            endpoint,
            log_id,
        }
    }

    pub(super) async fn redrive(self, items: &[Placed<Fed>], until: Instant) -> Delivered {
        let mut buyers: HashMap<Option<UserId>, Vec<(usize, Fed)>> = HashMap::new();
        for (index, placed) in items.iter().enumerate() {
            let key = placed.item.entry.event.user().cloned();
            let of_buyer = buyers.entry(key).or_default();
            of_buyer.push((index, placed.item.clone()));
        }
        let mut waiting: Vec<_> = buyers.into_values().collect();
        // The oldest one first, since what is left is named by the oldest.
        waiting.sort_by_key(|events| std::cmp::Reverse(events[0].0));
        let mut running = JoinSet::new();
        let mut delivered = Delivered::default();
        loop {
            while running.len() < self.endpoint.settings().parallel_max
                && let Some(events) = waiting.pop()
            {
                running.spawn(self.clone().one_buyer(events, until));
            }
            let Some(ended) = running.join_next().await else {
                return delivered;
            };
            let of_buyer = ended.expect("sending does not panic and is not aborted");
            delivered.rejected.extend(of_buyer.rejected);
            delivered.left.extend(of_buyer.left);
        }
    }

    async fn one_buyer(self, events: Vec<(usize, Fed)>, until: Instant) -> Delivered {
        let mut delivered = Delivered::default();
        for (index, fed) in events {
            let cause = if !delivered.rejected.is_empty() {
                Some("an earlier event of this buyer failed".to_owned())
            } else if Instant::now() >= until {
                delivered.left.push(index);
                None
            } else {
                let id = message_id(self.log_id, &fed.entry);
                let message = self.endpoint.signed(id, message_body(&fed.entry));
                self.poster.post(message).await.failure
            };
            let rejected = cause.map(|cause| RejectedItem { index, cause });
            delivered.rejected.extend(rejected);
        }
        delivered
    }
}
