//! Owns the way of log lines to stderr: a bounded queue and the thread that writes it out.
//!
//! Invariants: [`LogQueue::push`] never waits, also if stderr is blocked or closed; a line without
//! room, or that cannot be written, is counted; lines leave in the order in which they came; only
//! this thread writes to stderr, through its own handle, so a blocked write holds no lock that
//! others need. Deliberately absent: the form of lines, and their rates.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that wait to be written: several words' bursts.
const LINES_MAX: usize = 512;
/// Bytes of the lines that wait.
const BYTES_MAX: usize = 1 << 20;
/// How often what was left out is told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Between two tries of a stderr that somebody made non-blocking and that takes nothing now.
const AGAIN: Duration = Duration::from_millis(10);

enum LogMessage {
    Line(String),
    /// Answered once everything before is written.
    Flush(SyncSender<()>),
}

/// Where lines wait.
#[derive(Debug)]
pub(super) struct LogQueue {
    sender: SyncSender<LogMessage>,
    stderr: File,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// The end of the queue that the thread takes lines from.
pub(super) struct QueueReader(Receiver<LogMessage>);

impl LogQueue {
    /// An empty queue, with a handle of stderr.
    pub(super) fn new() -> std::io::Result<(Self, QueueReader)> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let queue = Self {
            sender,
            // Taken once: lines have to come out when no descriptor is left, too.
            stderr: File::from(std::io::stderr().as_fd().try_clone_to_owned()?),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        };
        Ok((queue, QueueReader(receiver)))
    }

    /// Puts `line` on its way, or drops it. A line of the writing thread itself is written at once:
    /// nobody else would take it from the queue.
    pub(super) fn push(&self, line: String) {
        if WRITES.get() {
            self.write(&line);
            return;
        }
        let bytes = line.len();
        let room = self.bytes.fetch_add(bytes, Relaxed) + bytes <= BYTES_MAX;
        if !room || self.sender.try_send(LogMessage::Line(line)).is_err() {
            self.bytes.fetch_sub(bytes, Relaxed);
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until everything pushed before is written, for `most` at most.
    pub(super) fn flush(&self, most: Duration) {
        let deadline = Instant::now() + most;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (done, wait) = sync_channel(1);
        let mut message = LogMessage::Flush(done);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(message) {
            if left().is_zero() {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(1).min(left()));
        }
        // Late, or the thread is gone: either way nothing more comes out.
        let _ = wait.recv_timeout(left());
    }

    /// Writes lines out for as long as the process lives; calls `tell` every second and before a
    /// flush ends, on this thread.
    pub(super) fn run(&self, waiting: &QueueReader, mut tell: impl FnMut()) {
        WRITES.set(true);
        let mut told = Instant::now();
        loop {
            match waiting.0.recv_timeout(TELL_EVERY) {
                Ok(LogMessage::Line(line)) => {
                    self.write(&line);
                    self.bytes.fetch_sub(line.len(), Relaxed);
                }
                Ok(LogMessage::Flush(done)) => {
                    tell();
                    // Whoever asked may have stopped waiting.
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                tell();
            }
        }
    }

    fn write(&self, line: &str) {
        // Not by `std::io::stderr`, whose lock would be held for as long as the write blocks.
        let (mut stderr, mut left) = (&self.stderr, line.as_bytes());
        while !left.is_empty() {
            match stderr.write(left) {
                Ok(written) if written > 0 => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
                // Nobody is there any more to take it.
                Ok(_) | Err(_) => {
                    self.dropped.fetch_add(1, Relaxed);
                    return;
                }
            }
        }
    }
}

thread_local! {
    /// Whether this thread is the one that writes.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}
