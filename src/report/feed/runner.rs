//! Owns running one sink: delivering, retrying, halving rejected batches, and moving the
//! cursor.
//!
//! Invariants: 1. the cursor passes an event only once it is delivered or durably among the dead
//! letters; 2. a delivery that may have arrived is repeated with exactly the same batch or its
//! parts; 3. what can be retried is retried without end, with growing, randomized waits; 4. a pause
//! takes effect between two deliveries, an end or a giving up at once.
//! Deliberately absent: what is delivered, and reading the log.

use super::control::{Control, Redrive, SinkOrder};
use super::cursor::{Mode, SinkState};
use super::dead_letters::DeadLetters;
use super::opening::Returned;
use super::reader::{self, Gathered};
use super::redrive::longest_part;
use super::sink::{
    Batch, Batching, Class, Convert, Deliver, Delivered, Fed, Kept, Placed, Purpose,
};
use super::wait::Backoff;
use crate::causes::with_causes;
use crate::ids::Lsn;
use crate::journal::{Cursor, Directory, Journal, JournalError};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How often a sink that is not running updates its lag.
const STANDSTILL_LOOK: Duration = Duration::from_secs(1);

/// How often, at least, the file of a sink with its own cursor is updated.
const FILE_FOLLOWS_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct RunSettings {
    /// Where the cursors are.
    pub(super) cursors: Arc<Directory>,
    /// Which directory that is.
    pub(super) place: Option<String>,
    pub(super) backoff: Backoff,
    pub(super) deliver_timeout: Duration,
}

/// A running sink.
pub(super) struct Runner<C: Convert, D: Deliver<Item = C::Item>> {
    pub(super) journal: Arc<Journal>,
    pub(super) control: Arc<Control>,
    pub(super) letters: Arc<DeadLetters>,
    pub(super) settings: RunSettings,
    pub(super) convert: Arc<Mutex<C>>,
    pub(super) deliver: D,
    pub(super) batching: Batching,
    pub(super) state: SinkState,
    pub(super) saved: Instant,
    pub(super) opened: bool,
    /// Where the oldest delivery that the sink has put off stands.
    pub(super) put_off_from: Option<Lsn>,
    /// Why those fail.
    pub(super) put_off_fails: Option<String>,
    pub(super) wanted: watch::Receiver<SinkOrder>,
    pub(super) redrives: mpsc::Receiver<Redrive>,
    /// Dropped after the first attempt to open the sink.
    pub(super) unlooked: Option<blocking::Sender<()>>,
}

/// Why delivering stopped.
pub(super) enum Halt {
    /// The requested state has changed.
    Ordered,
    /// The sink rejects it permanently.
    Rejected(String),
}

pub(super) enum Failed {
    /// The sink must stop, or its log may be removed.
    Ordered,
    Rejected(String),
    Later(String),
    Misconfigured(String),
    /// The sink pauses itself.
    Unwanted(String),
}

impl<C: Convert, D: Deliver<Item = C::Item>> Runner<C, D> {
    /// Runs until the sink is stopped.
    pub(super) async fn run(mut self) {
        loop {
            let wanted = *self.wanted.borrow_and_update();
            match wanted {
                SinkOrder::Stop => break,
                SinkOrder::Mode(mode @ Mode::Run) => {
                    self.note_mode(mode);
                    if let Err(Halt::Rejected(cause)) = self.follow().await {
                        let why = format!("cannot move the sink's cursor: {cause}");
                        let mut backoff = self.settings.backoff;
                        // Start again from the top, after the wait or because the requested state
                        // has changed.
                        let _ = self.rest(&mut backoff, Failed::Misconfigured(why)).await;
                    }
                }
                SinkOrder::Mode(mode) => {
                    self.note_mode(mode);
                    self.stand_still().await;
                }
            }
        }
        self.leave().await;
        self.save_state();
    }

    /// What was delivered before the stop moves the cursor, as far as the sink can tell.
    async fn leave(&mut self) {
        if self.is_disowned() {
            return;
        }
        let settled_to = match self.deliver.leave().await {
            Ok(settled_to) => settled_to.filter(|it| *it > self.state.cursor().lsn),
            Err(error) => {
                let (sink, why) = (self.control.name, with_causes(&error));
                tracing::error!(event = "sink_state_not_saved", sink, "{why}");
                None
            }
        };
        if let Some(lsn) = settled_to
            && let Ok(cursor) = self.journal.history().cursor_at(lsn)
        {
            self.passed(cursor);
        }
    }

    fn note_mode(&mut self, mode: Mode) {
        if mode == Mode::Run {
            self.state.paused_why = None;
        }
        if self.state.mode != mode {
            self.state.mode = mode;
            self.save_state();
        }
        if mode != Mode::Run {
            self.control.up.store(false, Relaxed);
        }
    }

    /// Waits until the requested state changes; redrives dead letters meanwhile.
    async fn stand_still(&mut self) {
        self.unlooked = None;
        self.recall_put_off();
        loop {
            self.note_oldest();
            tokio::select! {
                _ = self.wanted.changed() => return,
                Some(redrive) = self.redrives.recv() => self.redrive(redrive).await,
                () = tokio::time::sleep(STANDSTILL_LOOK) => {}
            }
        }
    }

    /// Delivers events until the requested state changes.
    async fn follow(&mut self) -> Result<(), Halt> {
        let mut backoff = self.settings.backoff;
        let cursor = loop {
            match self.open().await {
                Ok(opened) => break opened.cursor,
                Err(failed) => self.rest(&mut backoff, failed).await?,
            }
        };
        let feed = match self.journal.tail().feed(cursor.lsn) {
            Ok(feed) => feed,
            Err(error) => {
                let lsn = cursor.lsn;
                let why = format!("cannot read the log from the cursor {lsn}: {error}");
                return self.rest(&mut backoff, Failed::Misconfigured(why)).await;
            }
        };
        if feed.position() > cursor.lsn {
            self.pass_gap(cursor.lsn, feed.cursor()).await?;
        } else {
            self.passed(cursor);
        }
        let convert = Arc::clone(&self.convert);
        let reading = reader::start(self.control.name, feed, convert, self.batching);
        let mut reading = match reading {
            Ok(reading) => reading,
            Err(error) => {
                let why = format!("cannot start a thread to read the log: {error}");
                return self.rest(&mut backoff, Failed::Later(why)).await;
            }
        };
        // Also after an operator resumed a sink that was running: then it is to try now.
        self.deliver.wake();
        self.note_put_off().await?;
        loop {
            tokio::select! {
                biased;
                _ = self.wanted.changed() => return Err(Halt::Ordered),
                Some(redrive) = self.redrives.recv() => self.redrive(redrive).await,
                tended = self.deliver.tend() => match tended {
                    Ok(()) => self.note_put_off().await?,
                    Err(error) => {
                        let mut backoff = self.settings.backoff;
                        self.rest(&mut backoff, failed::<D>(&error)).await?;
                    }
                },
                read = reading.recv() => match read {
                    Some(Ok(batch)) => self.hand_over(&batch).await?,
                    Some(Err(error)) => {
                        let failed = Failed::Later(format!("reading the log: {error}"));
                        return self.rest(&mut backoff, failed).await;
                    }
                    None => return Ok(()),
                }
            }
        }
    }

    /// Reports that the log no longer has events that the sink never got, and continues after them.
    async fn pass_gap(&mut self, from: Lsn, to: Cursor) -> Result<(), Halt> {
        tracing::error!(
            event = "sink_gap",
            sink = self.control.name,
            from_lsn = from.0,
            to_lsn = to.lsn.0,
            "the log no longer has the next events of this sink; it continues where the log begins"
        );
        self.state.missed(from, to.lsn);
        self.control.tells(&self.state);
        self.attempt(&[], Purpose::Feed { from, to }).await?;
        self.passed(to);
        self.save_state();
        Ok(())
    }

    /// Delivers a batch, in halves if something in it is rejected.
    async fn hand_over(&mut self, batch: &Gathered<C::Item>) -> Result<(), Halt> {
        self.control.oldest_ms.store(batch.first_at.get(), Relaxed);
        if !batch.unfit.is_empty() {
            let letter = |(fed, unfit): &(Fed, _)| self.letter(fed.clone(), format!("{unfit}"));
            let letters: Vec<_> = batch.unfit.iter().map(letter).collect();
            self.bury(&letters).await?;
        }
        let mut refused = batch.unfit.len();
        let mut from = batch.from;
        let mut ranges: Vec<_> = std::iter::once(0..batch.items.len()).collect();
        while let Some(range) = ranges.pop() {
            let items = &batch.items[range.clone()];
            let to = if ranges.is_empty() {
                batch.to
            } else {
                self.cursor_at(batch.items[range.end].lsn).await?
            };
            let purpose = Purpose::Feed { from, to };
            match self.attempt(items, purpose).await {
                Ok(delivered) => {
                    refused += delivered.rejected.len() + delivered.buried + delivered.put_off;
                    self.control
                        .rejected
                        .fetch_add(delivered.buried as u64, Relaxed);
                    self.bury_rejected(items, &delivered).await?;
                }
                Err(Halt::Rejected(_)) if items.len() > 1 => {
                    let middle = range.start + items.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                    continue;
                }
                Err(Halt::Rejected(cause)) if items.len() == 1 => {
                    let fed = self.fed_of(&items[0]).await?;
                    self.bury(&[self.letter(fed, cause)]).await?;
                    refused += 1;
                    self.attempt(&[], purpose).await?;
                }
                Err(halt) => return Err(halt),
            }
            from = to.lsn;
            self.passed(to);
        }
        let used = batch.items.len() + batch.unfit.len();
        let delivered = used.saturating_sub(refused);
        self.control.delivered.fetch_add(delivered as u64, Relaxed);
        self.control.oldest_ms.store(0, Relaxed);
        self.save_cursor().await?;
        self.note_put_off().await
    }

    /// The cursor within a batch, read from the log, which is kept until the cursor passes it.
    async fn cursor_at(&mut self, lsn: Lsn) -> Result<Cursor, Halt> {
        let mut backoff = self.settings.backoff;
        loop {
            match self.journal.history().cursor_at(lsn) {
                Ok(cursor) => return Ok(cursor),
                Err(error) => {
                    let why = format!("reading the log at {lsn}: {error}");
                    self.rest(&mut backoff, Failed::Later(why)).await?;
                }
            }
        }
    }

    /// Delivers, with retries until it succeeds.
    async fn attempt(
        &mut self,
        items: &[Placed<C::Item>],
        purpose: Purpose,
    ) -> Result<Delivered, Halt> {
        let mut backoff = self.settings.backoff;
        loop {
            match self.try_once(items, purpose).await {
                Ok(delivered) => {
                    self.tell_up();
                    return Ok(delivered);
                }
                Err(failed) => self.rest(&mut backoff, failed).await?,
            }
        }
    }

    pub(super) async fn try_once(
        &mut self,
        items: &[Placed<C::Item>],
        purpose: Purpose,
    ) -> Result<Delivered, Failed> {
        if !self.opened && self.open().await?.returned == Returned::Yes {
            // The batch in progress continues from the cursor before it.
            self.opened = false;
            return Err(Failed::Ordered);
        }
        let most = match purpose {
            Purpose::Feed { .. } => self.settings.deliver_timeout,
            Purpose::Redrive { .. } => {
                longest_part(self.settings.deliver_timeout, self.deliver.longest_try())
            }
        };
        let batch = Batch { items, purpose };
        let delivering = tokio::time::timeout(most, self.deliver.deliver(batch));
        let ended = tokio::select! {
            ended = delivering => ended,
            () = ordered_to_drop(&self.wanted) => {
                self.opened = false;
                return Err(Failed::Ordered);
            }
        };
        match ended {
            Ok(Ok(delivered)) => Ok(delivered),
            Ok(Err(error)) => Err(failed::<D>(&error)),
            Err(_) => Err(Failed::Later("delivering took too long".to_owned())),
        }
    }

    /// Waits after a failure, if waiting can help; redrives dead letters meanwhile.
    pub(super) async fn rest(&mut self, backoff: &mut Backoff, failed: Failed) -> Result<(), Halt> {
        let is_first = backoff.is_first();
        let why = match failed {
            Failed::Ordered => return Err(Halt::Ordered),
            Failed::Rejected(cause) => return Err(Halt::Rejected(cause)),
            Failed::Unwanted(why) => return Err(self.pauses_itself(why)),
            Failed::Misconfigured(why) => {
                backoff.lengthen();
                why
            }
            Failed::Later(why) => why,
        };
        self.opened = false;
        if is_first {
            tracing::warn!(event = "sink_down", sink = self.control.name, "{why}");
        }
        self.control.is_down(why);
        self.control.retries.fetch_add(1, Relaxed);
        self.note_oldest();
        let until = tokio::time::Instant::now() + backoff.next();
        loop {
            tokio::select! {
                _ = self.wanted.changed() => return Err(Halt::Ordered),
                // If the dead letters are full, redriving makes room.
                Some(redrive) = self.redrives.recv() => self.redrive(redrive).await,
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    pub(super) fn passed(&mut self, to: Cursor) {
        self.state.at = to.into();
        self.control.cursor_at(to.lsn, self.shown(to.lsn));
    }

    /// Saves the cursor, then releases the log before it.
    async fn save_cursor(&mut self) -> Result<(), Halt> {
        let follows = self.control.kept == Kept::InSink;
        if self.is_disowned() {
            return Ok(());
        }
        if !follows || self.saved.elapsed() >= FILE_FOLLOWS_EVERY {
            let mut backoff = self.settings.backoff;
            while let Err(error) = self.state.save(&self.settings.cursors) {
                self.rest(&mut backoff, Failed::Later(error.to_string()))
                    .await?;
            }
            self.saved = Instant::now();
        }
        let name = self.control.name;
        self.journal
            .tail()
            .retention_moves(name, self.state.cursor().lsn);
        if let Err(error) = self.journal.tail().let_go() {
            tracing::warn!(event = "log_not_tidied", "{error}");
        }
        Ok(())
    }

    /// Once the log has stopped, a copy may have been restored over the directory; this process
    /// must not change the copy's cursors.
    fn is_disowned(&self) -> bool {
        self.journal.fault().is_some()
    }

    pub(super) fn save_state(&mut self) {
        if self.is_disowned() {
            return;
        }
        if let Err(error) = self.state.save(&self.settings.cursors) {
            tracing::error!(
                event = "sink_state_not_saved",
                sink = self.control.name,
                "{error}"
            );
        }
        self.saved = Instant::now();
    }

    /// Updates the time of the oldest waiting event while nothing is delivered.
    fn note_oldest(&self) {
        if self.put_off_from.is_some() {
            // It is known already, and the log may no longer have it.
            return;
        }
        let cursor = Lsn(self.control.cursor.load(Relaxed));
        let at = match self
            .journal
            .tail()
            .feed(cursor)
            .and_then(|mut feed| feed.next())
        {
            Ok(crate::journal::Next::Event(entry, _)) => entry.at.get(),
            Ok(crate::journal::Next::NotYet) | Err(_) => 0,
        };
        self.control.oldest_ms.store(at, Relaxed);
    }
}

/// Waits until the sink must drop its current batch: at its end, or when it is given up.
pub(super) async fn ordered_to_drop(wanted: &watch::Receiver<SinkOrder>) {
    let drops =
        |wanted: &SinkOrder| matches!(wanted, SinkOrder::Stop | SinkOrder::Mode(Mode::GivenUp));
    // An error means that the sender is gone; then the sink ends, too.
    let _ = wanted.clone().wait_for(drops).await;
}

pub(super) fn unread(error: &JournalError) -> Failed {
    Failed::Later(format!("reading the log: {error}"))
}

pub(super) fn failed<D: Deliver>(error: &D::Error) -> Failed {
    let why = with_causes(error);
    match D::classify(error) {
        Class::Retriable => Failed::Later(why),
        Class::Rejected => Failed::Rejected(why),
        Class::Misconfigured => Failed::Misconfigured(why),
        Class::Unwanted => Failed::Unwanted(why),
    }
}
