//! The bare server's log: one buffer, one thread that writes and syncs, group commit.
//!
//! 1. `Ticket` resolves only after the record's bytes are written and synced.
//! 2. While one batch syncs, the next gathers.
//! 3. Each worker is woken once a batch and wakes its own waiters.
//!
//! Throw-away on purpose: no frames, no checksums, no recovery; the file is written over from its start when it is full. It
//! shows what durable costs when nothing else is done.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::Notify;

use crate::error::{During as _, Fault};

const FILE_BYTES: u64 = 128 << 20;
const ZEROES: usize = 1 << 20;

/// A log that many workers append to.
pub(crate) struct Log {
    pending: Mutex<Pending>,
    more: Condvar,
    durable: AtomicU64,
    workers: Vec<Waiters>,
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    end: u64,
}

#[derive(Default)]
struct Waiters {
    wake: Notify,
    queue: Mutex<VecDeque<(u64, Waker)>>,
}

impl Log {
    /// Makes the file (written zeroes, synced) and starts the log thread, which runs until the process ends.
    pub(crate) fn start(dir: &Path, workers: usize) -> Result<Arc<Self>, Fault> {
        let file = zeroed(&dir.join("bare.log"), FILE_BYTES)?;
        let log = Arc::new(Self {
            pending: Mutex::default(),
            more: Condvar::new(),
            durable: AtomicU64::new(0),
            workers: (0..workers).map(|_| Waiters::default()).collect(),
        });
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            if let Err(e) = writer.commit_for_ever(&file) {
                eprintln!("the bare server's log failed: {e}");
                std::process::exit(1);
            }
        });
        Ok(log)
    }

    /// Appends `record`; the answer must wait for the position returned.
    pub(crate) fn append(&self, record: &[u8]) -> u64 {
        let mut pending = lock(&self.pending);
        let was_empty = pending.bytes.is_empty();
        pending.bytes.extend_from_slice(record);
        pending.end += record.len() as u64;
        let end = pending.end;
        drop(pending);
        if was_empty {
            self.more.notify_one();
        }
        end
    }

    /// Waits on `worker` until everything before `position` is durable.
    pub(crate) async fn durable(&self, worker: usize, position: u64) {
        poll_fn(|cx| {
            if self.durable.load(Ordering::Acquire) >= position {
                return Poll::Ready(());
            }
            let waiter = (position, cx.waker().clone());
            lock(&self.workers[worker].queue).push_back(waiter);
            // The log thread may have passed between the look and the entry into the queue.
            if self.durable.load(Ordering::Acquire) >= position {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Wakes the waiters of `worker` after each sync; runs as a task on that worker.
    pub(crate) async fn wake_for_ever(&self, worker: usize) {
        let waiters = &self.workers[worker];
        loop {
            waiters.wake.notified().await;
            let durable = self.durable.load(Ordering::Acquire);
            let mut queue = lock(&waiters.queue);
            while queue.front().is_some_and(|(at, _)| *at <= durable) {
                if let Some((_, waker)) = queue.pop_front() {
                    waker.wake();
                }
            }
        }
    }

    fn commit_for_ever(&self, file: &File) -> std::io::Result<()> {
        let mut batch = Vec::new();
        let mut at = 0;
        loop {
            let mut pending = lock(&self.pending);
            while pending.bytes.is_empty() {
                pending = self
                    .more
                    .wait(pending)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            batch.clear();
            std::mem::swap(&mut batch, &mut pending.bytes);
            let end = pending.end;
            drop(pending);
            if at + batch.len() as u64 > FILE_BYTES {
                at = 0;
            }
            file.write_all_at(&batch, at)?;
            file.sync_data()?;
            at += batch.len() as u64;
            self.durable.store(end, Ordering::Release);
            for worker in &self.workers {
                worker.wake.notify_one();
            }
        }
    }
}

/// A file of `len` written, synced zeroes: a sync into it has no metadata to write.
pub(crate) fn zeroed(path: &Path, len: u64) -> Result<File, Fault> {
    let what = || format!("make {}", path.display());
    let file = File::create_new(path).during(what)?;
    let zeroes = vec![0; ZEROES];
    let mut at = 0;
    while at < len {
        file.write_all_at(&zeroes, at).during(what)?;
        at += ZEROES as u64;
    }
    file.sync_all().during(what)?;
    Ok(file)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; if it did, the figures would be gone but nobody's data.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_waiter_is_woken_after_its_record_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::start(dir.path(), 1).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let waker = Arc::clone(&log);
            tokio::spawn(async move { waker.wake_for_ever(0).await });
            let mut waiting = Vec::new();
            for n in 0..500_u32 {
                let log = Arc::clone(&log);
                waiting.push(tokio::spawn(async move {
                    let at = log.append(&n.to_be_bytes());
                    log.durable(0, at).await;
                    log.durable.load(Ordering::Acquire) >= at
                }));
            }
            for one in waiting {
                assert!(one.await.unwrap());
            }
        });
    }
}
