//! Owns the thread that collects figures of all shards, for `/metrics`, its export and
//! `/admin/status`.
//!
//! Invariants: a shard with a long turn delays a report, never an HTTP worker; reports are
//! collected one after the other, and at most [`WAITING_MAX`] wait.

use crate::engine::refusal::Refusal;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::oneshot;

/// Maximum number of waiting reports. Beyond it, requests get 503 `overloaded`.
const WAITING_MAX: usize = 64;

/// The thread of the reports; it ends with the last owner of this.
pub struct Reports {
    jobs: SyncSender<Box<dyn FnOnce() + Send>>,
}

impl Reports {
    pub fn start() -> std::io::Result<Arc<Self>> {
        let (jobs, waiting) = sync_channel::<Box<dyn FnOnce() + Send>>(WAITING_MAX);
        let thread = std::thread::Builder::new().name("reports".to_owned());
        thread.spawn(move || {
            for job in waiting {
                job();
            }
        })?;
        Ok(Arc::new(Self { jobs }))
    }

    /// Runs `gather` on that thread.
    pub async fn gather<T: Send + 'static>(
        &self,
        gather: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (done, gathered) = oneshot::channel();
        let job = move || {
            // The client may have disconnected.
            let _ = done.send(gather());
        };
        let queued = self.jobs.try_send(Box::new(job));
        queued.map_err(|_| Refusal::Overloaded)?;
        gathered.await.map_err(|_| Refusal::Overloaded)
    }

    /// Runs `gather` on that thread, for a thread that may wait; `None` if too many reports wait.
    pub fn gather_blocking<T: Send + 'static>(
        &self,
        gather: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, gathered) = sync_channel(1);
        let job = move || {
            let _ = done.send(gather());
        };
        self.jobs.try_send(Box::new(job)).ok()?;
        gathered.recv().ok()
    }
}
