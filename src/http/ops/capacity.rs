//! Owns the metrics of limits that a start fixes: connections, pools, and the certificate's expiry.
//!
//! Invariant: each figure is the limit that requests meet, not what was configured. The limits of
//! `[engine]` are shown as shares, by the journal's figures.

use crate::http::call::worker::WorkerBounds;
use crate::http::server::tls::Tls;
use crate::telemetry::exposition::Exposition;
use crate::telemetry::families;
use crate::telemetry::metrics::Pool;
use std::sync::Arc;

/// The limits of the listeners.
pub struct Capacity {
    /// On all listeners.
    pub connections_max: usize,
    /// Of the main listener.
    pub threads: usize,
    /// Of each thread.
    pub bounds: WorkerBounds,
    pub tls: Option<Arc<Tls>>,
}

impl Capacity {
    pub fn render(&self, out: &mut Exposition) {
        out.single(&families::CONNECTIONS_MAX, self.connections_max as u64);
        let threads = self.threads as u64;
        let pools = Pool::ALL.into_iter();
        let bounded = pools.filter_map(|pool| Some((pool, self.bounds.in_flight_max(pool)?)));
        let bounded: Vec<(Pool, u64)> = bounded.collect();
        let in_flight = out.family(&families::POOL_IN_FLIGHT_MAX);
        for (pool, in_flight_max) in &bounded {
            let max = in_flight_max.saturating_mul(threads);
            in_flight.sample(&pool.label(), max);
        }
        let bodies = out.family(&families::POOL_BODY_BYTES_MAX);
        for (pool, _) in &bounded {
            let max = self.bounds.bodies_bytes_max.saturating_mul(threads);
            bodies.sample(&pool.label(), max);
        }
        let expires_at = self.tls.as_ref().and_then(|it| it.expires_at());
        if let Some(at) = expires_at {
            out.single(&families::CERTIFICATE_EXPIRY, at.get() / 1_000);
        }
    }
}
