//! Owns what every background job has: its own thread, which a timer or a request wakes.
//!
//! Invariants: a request is never missed, also during a run; stopping ends a run at its next wait.
//! Deliberately absent: what a job does, what is requested of it, and its status.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What wakes and ends one job.
#[derive(Debug, Default)]
pub struct Alarm {
    woken: Notify,
    stopped: Notify,
}

impl Alarm {
    /// Starts a thread called `name`, which goes on with what `going_on` makes until [`Alarm::stop`].
    pub fn start<F: Future<Output = ()>>(
        self: &Arc<Self>,
        name: &str,
        going_on: impl FnOnce() -> F + Send + 'static,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let alarm = Arc::clone(self);
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = going_on() => {}
                    () = alarm.stopped.notified() => {}
                }
            });
        })?;
        Ok(())
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.stopped.notify_one();
    }

    /// Has [`Alarm::due`] look again whether anything is asked.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Waits until something is `asked`, or `wait` is over; without `wait`, until something is asked.
    pub async fn due(&self, wait: Option<Duration>, asked: impl Fn() -> bool) {
        let asking = async {
            while !asked() {
                self.woken.notified().await;
            }
        };
        match wait {
            // Which of the two it was makes no difference.
            Some(wait) => drop(tokio::time::timeout(wait, asking).await),
            None => asking.await,
        }
    }
}
