//! Owns the signals that end the process, or have it read its configuration again.
//!
//! Invariant: they are caught from the moment [`Signals`] is made, so none is lost between two waits.
//! Deliberately absent: what happens then (`serve`, `reload`).

use super::reload::Reloader;
use super::serve::Failure;
use super::watch::{Health, HealthWatch};
use crate::telemetry::logging;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often clock, disk and log are checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why serving ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum ServeEnd {
    /// A signal, or the time to leave is over.
    Ordered,
    /// The log stopped.
    Fault,
}

/// The signals that end the process or have it read its configuration again, caught from the moment this is made.
pub(super) struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    _file_size: Signal,
}

impl Signals {
    pub(super) fn caught() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        // Exceeding a limit on file sizes must fail the write, which names the file and stops the
        // log, instead of killing the process silently.
        let file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        drop(entered);
        Ok(Self {
            runtime,
            terminate,
            interrupt,
            hangup,
            _file_size: file_size,
        })
    }

    /// Runs `recovery`. A signal ends the process at once: that changes nothing that a crash would
    /// not, and the next start recovers again.
    pub(super) fn ending_at_once<T>(&mut self, recovery: impl FnOnce() -> T) -> std::io::Result<T> {
        let Self {
            runtime,
            terminate,
            interrupt,
            ..
        } = self;
        let (recovering, recovered) = tokio::sync::oneshot::channel::<()>();
        let wait = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = recovered => return,
                }
                tracing::info!(
                    event = "stopped",
                    "stopped during recovery, before any request was accepted; the next start recovers again"
                );
                logging::flush();
                std::process::exit(0);
            });
        };
        std::thread::scope(|scope| {
            let waiting = std::thread::Builder::new().name("signals".to_owned());
            waiting.spawn_scoped(scope, wait)?;
            let done = recovery();
            drop(recovering);
            Ok(done)
        })
    }

    /// Waits until a signal ends the process, the log stops, or `at_most` passes, which counts as a
    /// signal; reloads meanwhile on SIGHUP.
    pub(super) fn wait(
        &mut self,
        watch: &mut HealthWatch<'_>,
        reloader: &mut Reloader<'_>,
        at_most: Option<Duration>,
    ) -> ServeEnd {
        self.runtime.block_on(async {
            let mut look = tokio::time::interval(LOOK_EVERY);
            let over = async {
                match at_most {
                    Some(at_most) => tokio::time::sleep(at_most).await,
                    None => std::future::pending().await,
                }
            };
            let mut over = std::pin::pin!(over);
            loop {
                tokio::select! {
                    _ = self.terminate.recv() => return ServeEnd::Ordered,
                    _ = self.interrupt.recv() => return ServeEnd::Ordered,
                    () = &mut over => return ServeEnd::Ordered,
                    _ = self.hangup.recv() => reloader.reload(),
                    _ = look.tick() => match watch.look() {
                        Health::Good => {}
                        Health::Fault => return ServeEnd::Fault,
                    },
                }
            }
        })
    }
}
