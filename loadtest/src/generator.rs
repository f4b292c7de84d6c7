//! One generating thread: an epoll loop over keep-alive connections.
//!
//! 1. A connection carries one request at a time. Closed loop: an answer sends the next request. Open loop: a request
//!    leaves when the schedule says so, on the connection idle for longest; if none is idle it waits in the backlog,
//!    and its clock runs from its intended time.
//! 2. What falls into the warm-up is sent but not counted; what was sent in the measured time is waited for `GRACE`.
//! 3. Backlog and buffers have limits; a request beyond them is shed and said to be so.
//! 4. A lost connection is made anew, again and again while the server is away: a restart leaves errors, a gap and a report.
//!
//! It is a bare loop over `mio` and a `timerfd`, since a runtime's timer of one millisecond is coarser than what is
//! measured here, and since it shares the cores with the server.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::error::{During as _, Fault};
use crate::http::response::{self, Head};
use crate::schedule::Schedule;
use crate::stats::{Slice, nanos};
use crate::workload::Workload;

/// How long answers are waited for after the end.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// How often a thread hands over what it counted.
pub(crate) const SLICE: Duration = Duration::from_millis(200);
/// Requests waiting for an idle connection, a thread.
const BACKLOG_MAX: usize = 1 << 20;
const EVENTS_MAX: usize = 1024;
/// Between two attempts to connect to a server that is away.
const RECONNECT_EVERY: Duration = Duration::from_millis(20);
/// An attempt holds up the other connections; on a network that swallows packets it ends here.
const CONNECT_WAIT_MAX: Duration = Duration::from_millis(250);
const BUFFER_BYTES: usize = 4 << 10;
const POLL_MAX: Duration = Duration::from_millis(50);
const TIMER: Token = Token(usize::MAX);

/// When requests are sent.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    /// As soon as the answer before has come.
    Closed,
    /// By a schedule of the given rate; made when the thread starts.
    Open {
        /// Requests a second over all threads.
        rate: std::num::NonZeroU32,
        /// What this thread sends of them.
        share: crate::schedule::Share,
    },
}

/// The limits in time of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Sent but not counted.
    pub(crate) warmup: Duration,
    /// Counted.
    pub(crate) measured: Duration,
}

struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    written: usize,
    /// When the request in flight was meant to be sent.
    intended: Option<Instant>,
    lost: bool,
}

/// Whether the server was there at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Connected,
    /// Not one connection could be made anew.
    Gone,
}

/// Connections and requests of one thread, ready to run.
pub(crate) struct Generator {
    addr: SocketAddr,
    poll: Poll,
    conns: Vec<Conn>,
    idle: VecDeque<usize>,
    backlog: VecDeque<Instant>,
    workload: Workload,
    pace: Pace,
    span: Span,
    in_flight: usize,
    /// Connections that are lost, and when to try again.
    lost: usize,
    reconnect_at: Instant,
    slice: Slice,
    /// Set by `run`: where counting begins and where sending ends.
    count_from: Instant,
    end: Instant,
}

impl Generator {
    /// Opens `connections` connections to `addr`.
    pub(crate) fn connect(
        addr: SocketAddr,
        connections: usize,
        workload: Workload,
        pace: Pace,
        span: Span,
    ) -> Result<Self, Fault> {
        let poll = Poll::new().during(|| "create an epoll instance".to_owned())?;
        let mut conns = Vec::with_capacity(connections);
        for token in 0..connections {
            conns.push(Conn::open(addr, &poll, token)?);
        }
        let now = Instant::now();
        Ok(Self {
            addr,
            poll,
            idle: (0..connections).collect(),
            conns,
            backlog: VecDeque::new(),
            workload,
            pace,
            span,
            in_flight: 0,
            lost: 0,
            reconnect_at: now,
            slice: Slice::new(0),
            count_from: now,
            end: now,
        })
    }

    /// Sends until the time is over, waits for what is in flight, and hands slices to `to` all along.
    pub(crate) fn run(mut self, to: &Sender<Slice>) -> Result<Ending, Fault> {
        let start = Instant::now();
        self.count_from = start + self.span.warmup;
        self.end = self.count_from + self.span.measured;
        let mut schedule = None;
        // Lives as long as the loop: dropping it would stop the beat.
        let mut timer = None;
        match self.pace {
            Pace::Closed => {
                while let Some(conn) = self.idle.pop_front() {
                    self.send(conn, start);
                }
            }
            Pace::Open { rate, share } => {
                let made = Schedule::new(start, rate, share);
                timer = Some(beat_timer(&self.poll, made.beat())?);
                schedule = Some(made);
            }
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut slice_end = start + SLICE;
        loop {
            match self.poll.poll(&mut events, Some(POLL_MAX)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other.during(|| "wait for events".to_owned())?,
            }
            for event in &events {
                if event.token() == TIMER {
                    drain(timer.as_ref());
                } else {
                    self.on_ready(event.token().0);
                }
            }
            let now = Instant::now();
            self.reconnect(now);
            if let Some(schedule) = &mut schedule {
                self.release(schedule, now.min(self.end));
            }
            if now >= slice_end {
                slice_end = self.hand_over(to, start, now);
            }
            let idle = self.in_flight == 0 && self.backlog.is_empty();
            if now >= self.end && (idle || now >= self.end + GRACE) {
                self.give_up(now);
                self.hand_over(to, start, now);
                return Ok(if self.lost == self.conns.len() {
                    Ending::Gone
                } else {
                    Ending::Connected
                });
            }
        }
    }

    /// Sends everything that is due.
    fn release(&mut self, schedule: &mut Schedule, now: Instant) {
        while let Some(intended) = schedule.due(now) {
            if intended >= self.end {
                return;
            }
            self.slice.scheduled += self.counts(intended);
            match self.idle.pop_front() {
                Some(conn) => self.send(conn, intended),
                None if self.backlog.len() < BACKLOG_MAX => self.backlog.push_back(intended),
                None => self.shed(intended, now),
            }
        }
    }

    fn send(&mut self, at: usize, intended: Instant) {
        let conn = &mut self.conns[at];
        self.workload.next(&mut conn.output);
        conn.written = 0;
        conn.filled = 0;
        conn.intended = Some(intended);
        self.in_flight += 1;
        self.slice.sent += self.counts(intended);
        if matches!(self.pace, Pace::Closed) {
            self.slice.scheduled += self.counts(intended);
        }
        // A failed write is left to the event that the dead connection raises: one place loses connections.
        let _ = self.conns[at].flush();
    }

    fn on_ready(&mut self, at: usize) {
        if self.conns[at].lost {
            return;
        }
        match self.conns[at].advance() {
            Ok(Progress::Waiting) => {}
            Ok(Progress::Answered(head)) => self.answered(at, head),
            Err(reason) => self.lose(at, reason),
        }
    }

    fn answered(&mut self, at: usize, head: Head) {
        let now = Instant::now();
        let conn = &mut self.conns[at];
        let intended = conn.intended.take();
        if let Some(intended) = intended {
            self.in_flight -= 1;
            // Throughput asks when answers came, not when they were due: a server that is still busy with the warm-up's
            // requests answers all the same.
            self.slice.in_time += u64::from(now >= self.count_from && now < self.end);
            if intended >= self.count_from {
                let latency = nanos(now.saturating_duration_since(intended));
                self.slice.latencies.saturating_record(latency);
                self.slice.done += 1;
                let conn = &self.conns[at];
                let reason = if head.status < 400 {
                    ""
                } else {
                    response::reason(&conn.input[head.body_at..head.len()]).unwrap_or("")
                };
                self.slice.outcomes.count(head.status, reason);
            }
        }
        self.conns[at].filled = 0;
        if !head.close || self.reopen(at, now) {
            self.next_on(at, now);
        }
    }

    /// Finds the next work for a connection that has none.
    fn next_on(&mut self, at: usize, now: Instant) {
        match self.pace {
            Pace::Closed if now < self.end => self.send(at, now),
            Pace::Closed => {}
            Pace::Open { .. } => match self.backlog.pop_front() {
                Some(intended) => self.send(at, intended),
                None => self.idle.push_back(at),
            },
        }
    }

    fn lose(&mut self, at: usize, reason: &'static str) {
        let now = Instant::now();
        if let Some(intended) = self.conns[at].intended.take() {
            self.in_flight -= 1;
            self.count_error(intended, now, reason);
        } else {
            // An idle connection that the server closed: it must not be taken for a live one.
            self.idle.retain(|idle| *idle != at);
        }
        if self.reopen(at, now) {
            self.next_on(at, now);
        }
    }

    /// Replaces the connection; false if the server does not take another one now.
    fn reopen(&mut self, at: usize, now: Instant) -> bool {
        self.lost -= usize::from(self.conns[at].lost);
        if let Ok(conn) = Conn::open(self.addr, &self.poll, at) {
            self.conns[at] = conn;
            return true;
        }
        self.conns[at].lost = true;
        self.lost += 1;
        self.reconnect_at = now + RECONNECT_EVERY;
        false
    }

    /// Makes lost connections anew, until one cannot be.
    fn reconnect(&mut self, now: Instant) {
        if self.lost == 0 || now < self.reconnect_at {
            return;
        }
        for at in 0..self.conns.len() {
            if self.conns[at].lost {
                if !self.reopen(at, now) {
                    return;
                }
                self.next_on(at, now);
            }
        }
    }

    fn give_up(&mut self, now: Instant) {
        for at in 0..self.conns.len() {
            if let Some(intended) = self.conns[at].intended.take() {
                self.in_flight -= 1;
                self.count_error(intended, now, "unanswered");
            }
        }
        while let Some(intended) = self.backlog.pop_front() {
            self.shed(intended, now);
        }
    }

    fn count_error(&mut self, intended: Instant, now: Instant, reason: &str) {
        if intended >= self.count_from {
            let waited = nanos(now.saturating_duration_since(intended));
            self.slice.latencies.saturating_record(waited);
            self.slice.errors += 1;
            self.slice.outcomes.count(0, reason);
        }
    }

    fn shed(&mut self, intended: Instant, now: Instant) {
        if intended >= self.count_from {
            let waited = nanos(now.saturating_duration_since(intended));
            self.slice.latencies.saturating_record(waited);
            self.slice.shed += 1;
        }
    }

    fn counts(&self, intended: Instant) -> u64 {
        u64::from(intended >= self.count_from)
    }

    fn hand_over(&mut self, to: &Sender<Slice>, start: Instant, now: Instant) -> Instant {
        let passed = (now - start).as_nanos() / SLICE.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if now >= self.count_from {
            // A closed loop without connections waits, although it has nothing under way.
            self.slice.waiting = (self.in_flight + self.backlog.len() + self.lost) as u64;
        }
        let slice = std::mem::replace(&mut self.slice, Slice::new(passed));
        // The receiver is gone only if the whole run has failed already.
        let _ = to.send(slice);
        start + SLICE * (passed + 1)
    }
}

enum Progress {
    Waiting,
    Answered(Head),
}

impl Conn {
    fn open(addr: SocketAddr, poll: &Poll, token: usize) -> Result<Self, Fault> {
        let what = || format!("connect to {addr}");
        let stream = std::net::TcpStream::connect_timeout(&addr, CONNECT_WAIT_MAX).during(what)?;
        stream.set_nodelay(true).during(what)?;
        stream.set_nonblocking(true).during(what)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(token), interest)
            .during(what)?;
        Ok(Self {
            stream,
            input: vec![0; BUFFER_BYTES],
            filled: 0,
            output: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
            intended: None,
            lost: false,
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes and reads as far as the socket lets it.
    fn advance(&mut self) -> Result<Progress, &'static str> {
        self.flush().map_err(|_| "connection lost")?;
        loop {
            if self.filled == self.input.len() {
                if self.filled >= response::HEAD_BYTES_MAX + response::BODY_BYTES_MAX {
                    return Err("unreadable answer");
                }
                self.input.resize(self.filled * 2, 0);
            }
            let room = self.input.len() - self.filled;
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err("connection lost"),
                Ok(n) => {
                    self.filled += n;
                    // A short read has emptied the socket; the next byte makes a new event.
                    if n < room {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err("connection lost"),
            }
        }
        if self.intended.is_none() {
            return if self.filled == 0 {
                Ok(Progress::Waiting)
            } else {
                Err("unasked answer")
            };
        }
        match response::parse(&self.input[..self.filled]) {
            Ok(None) => Ok(Progress::Waiting),
            Ok(Some(head)) if head.len() == self.filled => Ok(Progress::Answered(head)),

            Ok(Some(_)) => Err("unasked answer"),
            Err(_) => Err("unreadable answer"),
        }
    }
}

fn beat_timer(poll: &Poll, beat: Duration) -> Result<OwnedFd, Fault> {
    let what = || "set the beat's timer".to_owned();
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)
        .map_err(std::io::Error::from)
        .during(what)?;
    let every = Timespec {
        tv_sec: i64::try_from(beat.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(beat.subsec_nanos()),
    };
    let spec = Itimerspec {
        it_interval: every,
        it_value: every,
    };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)
        .map_err(std::io::Error::from)
        .during(what)?;
    poll.registry()
        .register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)
        .during(what)?;
    Ok(timer)
}

/// Takes the timer's count, so that its next beat is a new event. How many beats passed does not matter: the schedule
/// knows what is due.
fn drain(timer: Option<&OwnedFd>) {
    if let Some(timer) = timer {
        let mut count = [0; 8];
        // The only error of a non-blocking timer is that there is nothing to take.
        let _ = rustix::io::read(timer, &mut count);
    }
}
