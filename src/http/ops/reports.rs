//! Owns the thread on which figures are gathered that look at every shard: for `/metrics` and
//! `/admin/status`.
//!
//! Invariants: a shard whose turn takes long keeps a report waiting and no HTTP worker; reports are
//! gathered one after the other, and no more than [`WAITING_MAX`] wait.

use crate::engine::refusal::Refusal;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::oneshot;

/// Reports that wait for the thread. Beyond, the answer is 503 `overloaded`.
const WAITING_MAX: usize = 64;

/// The thread; it ends with the last owner of this.
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

    /// What `gather` gathers there.
    pub async fn gather<T: Send + 'static>(
        &self,
        gather: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (done, gathered) = oneshot::channel();
        let job = move || {
            // Who asked may be gone.
            let _ = done.send(gather());
        };
        let queued = self.jobs.try_send(Box::new(job));
        queued.map_err(|_| Refusal::Overloaded)?;
        gathered.await.map_err(|_| Refusal::Overloaded)
    }
}
