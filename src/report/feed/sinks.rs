//! Owns all sinks of a process: starting and stopping them, the operator's requests, and what
//! happens when the disk is nearly full.
//!
//! Invariants: each sink has two threads and a runtime of its own, so no sink waits for another and
//! no request waits for any; the log is kept for every sink except those given up, which is logged.
//! Deliberately absent: the kinds of sinks.

use super::control::{Control, Redrive, Redriven, SinkOrder, SinkStatus};
use super::cursor::{self, CursorError, Mode, SinkState, log_id_text};
use super::dead_letters::{DeadLetters, Letter, LetterError};
use super::disk_watch::DiskWatch;
use super::redrive::longest_wait;
use super::runner::{RunSettings, Runner};
use super::sink::{Begins, Convert, Deliver, Sink};
use super::wait::Backoff;
use crate::ids::Lsn;
use crate::journal::{Directory, Elsewhere, Journal, JournalError, Located, Parting, Retention};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The settings of all sinks.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Waits between retries.
    pub backoff: Backoff,
    /// Timeout of one delivery.
    pub deliver_timeout: Duration,
    /// Maximum size of all dead letters.
    pub dead_letters_bytes_max: u64,
    /// What happens when the disk is nearly full.
    pub on_disk_full: OnDiskFull,
    /// Free disk space below which a sink is given up, if one is configured.
    pub give_up_below_bytes: u64,
    /// Size of a segment of the log: a sink with a smaller lag keeps no segment.
    pub segment_bytes: u64,
}

/// What happens when the disk is nearly full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnDiskFull {
    /// New sales are refused; every sink gets every event.
    RefuseSales,
    /// The log is no longer kept for these sinks, one after the other.
    GiveUp(Vec<String>),
}

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A sink's file cannot be used.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The log cannot be compared with a sink's file.
    #[error("comparing a sink's cursor with the log: {0}")]
    Log(#[from] JournalError),
    /// Dead letters cannot be kept.
    #[error("the dead letters: {0}")]
    Letters(#[from] LetterError),
    /// The file of a sink belongs to another log.
    #[error(
        "the cursor of the sink {sink} is of log {theirs}, and this is log {ours}; put the files of \
         one data directory back together, or remove sinks/{sink}.cursor"
    )]
    OtherLog {
        sink: String,
        /// The log of the file.
        theirs: String,
        /// Which log this is.
        ours: String,
    },
    /// A thread could not be started.
    #[error("starting the sink {sink}: {source}")]
    Spawn {
        sink: &'static str,
        source: std::io::Error,
    },
}

/// Why a request of the operator was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkRefusal {
    /// There is no sink with this name.
    Unknown,
    /// It does not respond, for this reason.
    Down(String),
}

/// The retentions of these sinks, for the opening of the journal.
pub fn retentions(data_dir: &Path, sinks: &[&str]) -> Result<Vec<Retention>, CursorError> {
    let mut kept = Vec::new();
    for sink in sinks {
        let state = SinkState::read(data_dir, sink)?;
        if state.as_ref().is_some_and(|it| it.mode == Mode::GivenUp) {
            continue;
        }
        kept.push(Retention {
            name: (*sink).to_owned(),
            from: state.map_or(Lsn(0), |it| it.cursor().lsn),
        });
    }
    Ok(kept)
}

/// The sinks of a process.
pub struct Sinks {
    journal: Arc<Journal>,
    settings: FeedSettings,
    cursors: Arc<Directory>,
    /// Which directory that is.
    place: Option<String>,
    letters: Arc<DeadLetters>,
    running: Arc<Mutex<Vec<Running>>>,
    /// Each sink that has not been opened yet holds a clone; when the last one is dropped, the
    /// waiter wakes.
    unlooked: Mutex<Option<blocking::Sender<()>>>,
    looked: Mutex<blocking::Receiver<()>>,
    /// Dropped to end the thread that watches the disk.
    disk: Mutex<Option<(blocking::Sender<()>, JoinHandle<()>)>>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) control: Arc<Control>,
    redrives: mpsc::Sender<Redrive>,
    /// How long a redrive takes, unless the sink is busy.
    redrive_max: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Sinks {
    /// No sinks yet.
    pub fn new(journal: Arc<Journal>, settings: FeedSettings) -> Result<Self, FeedError> {
        let open = |source| CursorError::Io {
            operation: "opening",
            path: settings.data_dir.join(cursor::FOLDER),
            source,
        };
        let data_dir = Directory::create(&settings.data_dir).map_err(open)?;
        let cursors = data_dir.create_below(cursor::FOLDER).map_err(open)?;
        let letters = DeadLetters::open(&data_dir, settings.dead_letters_bytes_max)?;
        let (unlooked, looked) = blocking::channel();
        Ok(Self {
            journal,
            place: cursor::place_of(&cursors),
            cursors: Arc::new(cursors),
            settings,
            letters: Arc::new(letters),
            running: Arc::default(),
            unlooked: Mutex::new(Some(unlooked)),
            looked: Mutex::new(looked),
            disk: Mutex::default(),
        })
    }

    /// Starts a sink. The journal already keeps the log for it: see [`retentions`].
    pub fn start<C, D>(&self, sink: Sink<C, D>) -> Result<(), FeedError>
    where
        C: Convert,
        D: Deliver<Item = C::Item>,
    {
        let name = sink.name;
        let state = self.state_of(name, sink.begins)?;
        let control = Arc::new(Control::new(name, sink.cursor, state.mode));
        let cursor = state.cursor().lsn;
        control.cursor_at(cursor, cursor);
        control.tells(&state);
        self.judge_by_file(name, &state)?;
        let (redrives, asked) = mpsc::channel(1);
        let redrive_max = longest_wait(self.settings.deliver_timeout, sink.deliver.longest_try());
        let runner = Runner {
            journal: Arc::clone(&self.journal),
            control: Arc::clone(&control),
            letters: Arc::clone(&self.letters),
            settings: RunSettings {
                cursors: Arc::clone(&self.cursors),
                place: self.place.clone(),
                backoff: self.settings.backoff,
                deliver_timeout: self.settings.deliver_timeout,
            },
            convert: Arc::new(Mutex::new(sink.convert)),
            deliver: sink.deliver,
            batching: sink.batching,
            state,
            saved: Instant::now(),
            opened: false,
            put_off_from: None,
            put_off_fails: None,
            wanted: control.wanted.subscribe(),
            redrives: asked,
            unlooked: self.unlooked.lock().clone(),
        };
        let spawn = |source| FeedError::Spawn { sink: name, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(spawn)?;
        let thread = thread::Builder::new()
            .name(format!("sink-{name}"))
            .spawn(move || {
                runtime.block_on(runner.run());
                // Without waiting for a look-up of a name: nothing bounds how long that takes.
                runtime.shutdown_background();
            })
            .map_err(spawn)?;
        self.running.lock().push(Running {
            control,
            redrives,
            redrive_max,
            thread: Some(thread),
        });
        self.watch_disk()
    }

    /// Waits at most `most` until each sink was opened once or failed to open: then it is known
    /// whether one of them has another history of the log. Blocks; no sink may be started after it.
    pub fn wait_for_first_look(&self, most: Duration) {
        drop(self.unlooked.lock().take());
        // Nothing is ever sent: it ends when the last sender is dropped, or after the time.
        let _ = self.looked.lock().recv_timeout(most);
    }

    /// Makes every sink that waits after a failure retry at once.
    pub fn try_again(&self) {
        for sink in self.running.lock().iter() {
            sink.control.wanted.send_modify(|_| ());
        }
    }

    /// Notes what the sink's file alone says: it may be of another history than the log, or come with a
    /// copy of the directory, which says nothing about what the sink got since. So a copy does not sell
    /// before its sinks are reached, and a directory that stayed where it was waits for none.
    fn judge_by_file(&self, name: &'static str, state: &SinkState) -> Result<(), FeedError> {
        let cursor = state.cursor();
        let is_copied =
            matches!((&state.place, &self.place), (Some(then), Some(now)) if then != now);
        let parting = match self.journal.history().locate(&cursor)? {
            Located::Elsewhere(parting) => parting,
            Located::Here | Located::BeforeTheLog if is_copied => Parting::NotAsked,
            Located::Here | Located::BeforeTheLog => return Ok(()),
        };
        let elsewhere = Elsewhere { cursor, parting };
        self.journal.history().reader_is_at(name, Some(elsewhere));
        Ok(())
    }

    /// Where the cursors are, and lists of what sinks took back.
    pub fn folder(&self) -> Arc<Directory> {
        Arc::clone(&self.cursors)
    }

    fn state_of(&self, name: &'static str, begins: Begins) -> Result<SinkState, FeedError> {
        let log_id = self.journal.log_id();
        let state = match SinkState::read_in(&self.cursors, name)? {
            Some(state) => state,
            None => self.new_state(name, begins)?,
        };
        let ours = log_id_text(log_id);
        if state.log_id == ours {
            Ok(state)
        } else {
            Err(FeedError::OtherLog {
                sink: name.to_owned(),
                theirs: state.log_id,
                ours,
            })
        }
    }

    fn new_state(&self, name: &'static str, begins: Begins) -> Result<SinkState, FeedError> {
        let mut state = SinkState::new(name, self.journal.log_id(), self.journal.generation());
        // A restored log comes without cursors: what the sink had not delivered is in it, and what it had
        // goes out once more under the same id.
        let is_restored = self.journal.history().generations().len() > 1;
        if begins == Begins::AtTheEnd && is_restored {
            tracing::warn!(
                event = "sink_begins",
                sink = name,
                "the log was restored and has no cursor of this sink: it begins where the log does, and \
                 repeats what it had delivered, with the same ids"
            );
        } else if begins == Begins::AtTheEnd {
            let end = self.journal.tail().durable_lsn();
            state.at = self.journal.history().cursor_at(end)?.into();
            // At once: after a crash the end is another one.
            state.save(&self.cursors)?;
        }
        Ok(state)
    }

    /// The status of every sink, in the order of starting.
    pub fn status(&self) -> Vec<SinkStatus> {
        let durable = self.journal.tail().durable_lsn();
        let (now, sizes) = (self.journal.now(), self.letters.sizes());
        let elsewhere = self.journal.history().readers_elsewhere();
        let running = self.running.lock();
        let status = |it: &Running| {
            let name = it.control.name;
            let bytes = sizes.get(name).copied().unwrap_or(0);
            let found = elsewhere.iter().find(|(reader, _)| *reader == name);
            SinkStatus {
                elsewhere: found.map(|(_, it)| *it),
                ..it.control.status(durable, now, bytes)
            }
        };
        running.iter().map(status).collect()
    }

    /// Pauses a sink; the log is kept for it.
    pub fn pause(&self, name: &str) -> Result<SinkStatus, SinkRefusal> {
        self.tell(name, Mode::Paused)
    }

    /// Resumes a sink; one that runs tries at once what it has put off. One that was given up continues at
    /// the beginning of the log.
    pub fn resume(&self, name: &str) -> Result<SinkStatus, SinkRefusal> {
        self.tell(name, Mode::Run)
    }

    fn tell(&self, name: &str, mode: Mode) -> Result<SinkStatus, SinkRefusal> {
        let control = self.control_of(name)?;
        if control.mode() == Some(Mode::GivenUp) {
            self.journal.tail().retain_again(name);
        }
        control.wanted.send_if_modified(|wanted| {
            let is_new = *wanted != SinkOrder::Stop && *wanted != SinkOrder::Mode(mode);
            if is_new {
                *wanted = SinkOrder::Mode(mode);
            }
            is_new || *wanted == SinkOrder::Mode(Mode::Run)
        });
        let bytes = self.letters.sizes().get(name).copied().unwrap_or(0);
        Ok(control.status(self.journal.tail().durable_lsn(), self.journal.now(), bytes))
    }

    /// Redrives a sink's dead letters from `from` to before `to`.
    pub async fn redrive(
        &self,
        name: &str,
        from: Lsn,
        to: Option<Lsn>,
    ) -> Result<Redriven, SinkRefusal> {
        let (redrives, most) = {
            let running = self.running.lock();
            let found = running.iter().find(|it| it.control.name == name);
            let found = found.ok_or(SinkRefusal::Unknown)?;
            (found.redrives.clone(), found.redrive_max)
        };
        let (answer, answered) = oneshot::channel();
        let busy = || {
            SinkRefusal::Down(
                "another redrive is in progress; try again when it is done".to_owned(),
            )
        };
        let redrive = Redrive { from, to, answer };
        redrives.try_send(redrive).map_err(|_| busy())?;
        // A sink that is down does it when it is back.
        let waited = tokio::time::timeout(most, answered).await;
        match waited {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(SinkRefusal::Down("the sink has ended".to_owned())),
            Err(_) => Err(SinkRefusal::Down(
                "the sink does not respond; the dead letters stay and are delivered when it is back"
                    .to_owned(),
            )),
        }
    }

    /// The dead letters of a sink from `from` to before `to`. Reads a file.
    pub fn letters(
        &self,
        sink: &str,
        from: Lsn,
        to: Option<Lsn>,
    ) -> Result<Vec<Letter>, LetterError> {
        self.letters.of(sink, from, to)
    }

    /// The names of sinks with dead letters, running or not.
    pub fn with_letters(&self) -> Vec<String> {
        let sizes = self.letters.sizes().into_iter();
        sizes.filter(|it| it.1 > 0).map(|it| it.0).collect()
    }

    /// Whether there is a sink of this name.
    pub fn has(&self, name: &str) -> bool {
        self.control_of(name).is_ok()
    }

    fn control_of(&self, name: &str) -> Result<Arc<Control>, SinkRefusal> {
        let running = self.running.lock();
        let found = running.iter().find(|it| it.control.name == name);
        let found = found.ok_or(SinkRefusal::Unknown)?;
        Ok(Arc::clone(&found.control))
    }

    fn watch_disk(&self) -> Result<(), FeedError> {
        let OnDiskFull::GiveUp(names) = &self.settings.on_disk_full else {
            return Ok(());
        };
        let mut disk = self.disk.lock();
        if disk.is_some() {
            return Ok(());
        }
        let (stop, stopped) = blocking::channel();
        let watch = DiskWatch {
            names: names.clone(),
            below_bytes: self.settings.give_up_below_bytes,
            segment_bytes: self.settings.segment_bytes,
            journal: Arc::clone(&self.journal),
            running: Arc::clone(&self.running),
        };
        let thread = thread::Builder::new()
            .name("sinks-disk".to_owned())
            .spawn(move || watch.run(&stopped))
            .map_err(|source| FeedError::Spawn {
                sink: "(disk)",
                source,
            })?;
        *disk = Some((stop, thread));
        Ok(())
    }

    /// Stops every sink where it is; the next start continues there. Blocks.
    pub fn stop(&self) {
        if let Some((stop, thread)) = self.disk.lock().take() {
            drop(stop);
            let _ = thread.join();
        }
        let mut running = self.running.lock();
        for sink in running.iter() {
            sink.control.wanted.send_replace(SinkOrder::Stop);
        }
        for sink in running.iter_mut() {
            if let Some(thread) = sink.thread.take() {
                // A panic would have stopped the process already.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop();
    }
}
