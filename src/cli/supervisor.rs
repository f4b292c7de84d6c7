//! Owns what the process tells the supervisor that started it, by systemd's protocol: datagrams to
//! the socket that `NOTIFY_SOCKET` names.
//!
//! Invariants: 1. `READY=1` comes after the first moment at which requests are accepted; 2.
//! `WATCHDOG=1` is sent only while every HTTP thread answers and the log makes durable what was
//! appended; 3. a supervisor that does not listen never delays the process; without `NOTIFY_SOCKET`
//! nothing is sent. Deliberately absent: passing of sockets and vsock addresses.

use crate::http::server::pulse::Pulse;
use crate::ids::Lsn;
use crate::journal::{Journal, Progress};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How much longer the start or the stop may take after each report of progress.
const MORE_TIME: Duration = Duration::from_mins(1);

/// The supervisor, if there is one.
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear from the process.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment says.
    pub(super) fn of_process() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let connected = connect(&name);
            if let Err(error) = &connected {
                tracing::warn!(
                    event = "supervisor_unreachable",
                    %error,
                    "cannot send to the socket in NOTIFY_SOCKET; the supervisor will not hear that the process is ready"
                );
            }
            connected.ok()
        });
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_meant = |pid| pid == u64::from(std::process::id());
        let meant = number("WATCHDOG_PID").is_none_or(is_meant);
        let watchdog = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && meant);
        Self {
            watchdog: watchdog.map(Duration::from_micros),
            socket,
        }
    }

    /// Recovery is in progress.
    pub(super) fn recovering(&self, progress: Progress) {
        let Progress { stage, done, total } = progress;
        self.send(&format!(
            "STATUS=recovering: {stage}, {done} of {total}\nEXTEND_TIMEOUT_USEC={}",
            MORE_TIME.as_micros()
        ));
    }

    /// Requests are accepted.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// The configuration is read again; [`Supervisor::ready`] follows.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The process stops, within `at_most` and the time to sync.
    pub(super) fn stopping(&self, at_most: Duration) {
        self.send(&format!(
            "STOPPING=1\nSTATUS=stopping: finishing requests and payments in progress\nEXTEND_TIMEOUT_USEC={}",
            (at_most + MORE_TIME).as_micros()
        ));
    }

    /// One line for `systemctl status`.
    fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    /// A full socket drops the message: the process never waits for its supervisor.
    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A name that begins with `@` is in Linux's abstract namespace.
fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// Tells the supervisor regularly that the process works, and how it does.
pub(super) struct Heartbeat<'a> {
    supervisor: &'a Supervisor,
    journal: &'a Journal,
    watchdog: Option<Watchdog>,
    status: String,
}

struct Watchdog {
    /// How often a sign of life is due: several times in the supervisor's interval.
    every: Duration,
    asked: Instant,
    threads: Pulse,
    /// What the log has to make durable to have answered.
    appended: Lsn,
    withheld: bool,
}

impl<'a> Heartbeat<'a> {
    /// Watches `journal` and the HTTP threads behind `threads`.
    pub(super) fn new(supervisor: &'a Supervisor, journal: &'a Journal, threads: Pulse) -> Self {
        let watchdog = supervisor.watchdog.map(|interval| {
            threads.ask();
            Watchdog {
                every: interval / 4,
                asked: Instant::now(),
                threads,
                appended: journal.figures().appended(),
                withheld: false,
            }
        });
        Self {
            supervisor,
            journal,
            watchdog,
            status: String::new(),
        }
    }

    /// Called regularly; `not_ready` is the reason in `/readyz`.
    pub(super) fn beat(&mut self, not_ready: Option<&str>) {
        let status = match not_ready {
            None => "taking requests".to_owned(),
            Some(reason) => format!("not ready: {reason}"),
        };
        if status != self.status {
            self.supervisor.status(&status);
            self.status = status;
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.look(self.supervisor, self.journal);
        }
    }
}

impl Watchdog {
    /// Asks again only after every part has answered, so a part that hangs is asked once.
    fn look(&mut self, supervisor: &Supervisor, journal: &Journal) {
        let waited = self.asked.elapsed();
        if waited < self.every {
            return;
        }
        let figures = journal.figures();
        let log_answers = figures.durable() >= self.appended;
        let threads_answer = self.threads.is_answered();
        if log_answers && threads_answer {
            supervisor.send("WATCHDOG=1");
            self.threads.ask();
            self.appended = figures.appended();
            self.asked = Instant::now();
            self.withheld = false;
        } else if waited > self.every * 2 && !self.withheld {
            self.withheld = true;
            tracing::error!(
                event = "watchdog_withheld",
                log_answers,
                threads_answer,
                waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                "a part of the process does not answer, so the supervisor gets no sign of life and will restart it"
            );
        }
    }
}
