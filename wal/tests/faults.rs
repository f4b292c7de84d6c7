//! Each storage call fails, once and for ever: the log stops, every waiter and listener hears why,
//! nothing more is acknowledged, and what had been acknowledged is there after the next start,
//! whatever of the rest the disk kept.

mod common;

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Script, check_content, open, tiny};
use wal::sim::{Failure, FailureKind, Op, SimStorage};
use wal::{
    Access, AppendError, Appended, CommitListener, Entry, Fault, Log, LogConfig, Lsn, OpenError,
    Operation, Storage, StorageFile, Witness,
};

/// Nobody waits longer for something that must happen.
const DEADLINE: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Ear(Mutex<Option<Arc<Fault>>>);

impl CommitListener for Ear {
    fn committed(&self, _: Lsn) {
        assert!(
            self.0.lock().unwrap().is_none(),
            "nothing is acknowledged after a fault"
        );
    }
    fn poisoned(&self, fault: &Arc<Fault>) {
        *self.0.lock().unwrap() = Some(Arc::clone(fault));
    }
}

/// What a run appends: calls of one, two and three records in turn.
const APPENDS: usize = 15;
const RECORDS: usize = 30;

/// Runs `work` on a thread of its own, so that one that hangs is found.
fn within_deadline<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    let thread = thread::spawn(move || {
        let _ = done.send(work());
    });
    let Ok(result) = result.recv_timeout(DEADLINE) else {
        assert!(thread.is_finished(), "somebody waits for ever");
        std::panic::resume_unwind(thread.join().expect_err("it sent nothing"))
    };
    result
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Ending {
    /// The log did not open.
    NotOpened,
    /// It failed, and everybody heard.
    Poisoned,
    /// Nothing that matters failed.
    Untouched,
}

/// One run on a disk with a planned failure. Returns how it ended and what it had appended.
fn run(sim: &SimStorage) -> (Ending, Script) {
    let mut script = Script::default();
    let (log, _) = match open(sim, tiny()) {
        Ok(opened) => opened,
        Err(OpenError::Io(_)) => return (Ending::NotOpened, script),
        Err(e) => panic!("{e}"),
    };
    let log = Arc::new(log);
    let ear = Arc::new(Ear::default());
    log.subscribe(Arc::<Ear>::clone(&ear));
    // Three who wait for what will never come.
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let log = Arc::clone(&log);
            thread::spawn(move || log.wait_durable(Lsn::new(u64::MAX)))
        })
        .collect();
    for i in 0..APPENDS {
        let Ok(end) = script.append(&log, 1 + i % 3) else {
            break;
        };
        if log.wait_durable(end).is_err() {
            break;
        }
    }
    let ending = if log.fault().is_some() {
        Ending::Poisoned
    } else {
        Ending::Untouched
    };
    let closed = log.shutdown();
    for waiter in waiters {
        let fault = waiter.join().unwrap().expect_err("it never comes");
        match log.fault() {
            Some(reason) => assert!(Arc::ptr_eq(&fault, &reason)),
            None => assert_eq!(fault.operation, Operation::Close),
        }
    }
    let ending = if closed.is_err() {
        Ending::Poisoned
    } else {
        ending
    };
    if ending == Ending::Poisoned {
        assert!(ear.0.lock().unwrap().is_some(), "the listener heard");
        let entry = Entry {
            kind: 0,
            version: 0,
            payload: b"late",
        };
        let refused: Result<Appended, AppendError> = log.append(&[entry]);
        assert!(matches!(refused, Err(AppendError::Poisoned(_))));
        let late = Arc::new(Ear::default());
        log.subscribe(Arc::<Ear>::clone(&late));
        assert!(late.0.lock().unwrap().is_some(), "who comes late hears too");
    }
    (ending, script)
}

/// After the failure the disk is replaced by what a crash leaves of it: nothing is missing.
fn check_after(sim: &SimStorage, script: &Script, case: Failure) {
    let history = sim.history();
    for image in history.crashes_after(history.len()) {
        let sim = SimStorage::with_files(image.files);
        let opened = open(&sim, tiny());
        let (log, _) = opened.unwrap_or_else(|e| panic!("{case:?} {:?}: {e}", image.crash));
        if let Err(e) = check_content(&log, &script.expected, image.acknowledged) {
            panic!("{case:?} {:?}: {e}", image.crash);
        }
    }
}

#[test]
fn every_call_failing_once_and_for_ever() {
    /// More calls than a run makes.
    const CALLS_MAX: u64 = 5_000;
    let (mut cases, mut poisoned, mut not_opened) = (0, 0, 0);
    let kinds = [
        FailureKind::Eio,
        FailureKind::Enospc,
        FailureKind::ShortWrite,
        FailureKind::FailedSync,
    ];
    for kind in kinds {
        for for_ever in [false, true] {
            for nth in 0..CALLS_MAX {
                let case = Failure {
                    kind,
                    nth,
                    for_ever,
                };
                let sim = SimStorage::new();
                sim.fail(Some(case));
                let disk = sim.clone();
                let (ending, script) = within_deadline(move || run(&disk));
                if sim.failed() == 0 {
                    assert_eq!(ending, Ending::Untouched);
                    break;
                }
                cases += 1;
                poisoned += usize::from(ending == Ending::Poisoned);
                not_opened += usize::from(ending == Ending::NotOpened);
                // What failed was for later: the next segment, the look at the free room.
                let whole = script.expected.len() == RECORDS;
                assert!(ending != Ending::Untouched || whole, "{case:?}");
                check_after(&sim, &script, case);
            }
        }
    }
    println!("faults: {cases} cases, {poisoned} poisoned, {not_opened} not opened");
    assert!(poisoned > 200 && not_opened > 20);
}

/// The failing disk heals at once, and still nothing is tried again.
#[test]
fn a_failed_sync_is_never_retried() {
    let sim = SimStorage::new();
    let config = LogConfig {
        witness: Witness::Off,
        segment_bytes: 64 << 10,
        ..tiny()
    };
    let (log, _) = open(&sim, config).expect("a healthy disk");
    let mut script = Script::default();
    let durable = script.commit(&log, 1);
    wait_for_spare(&sim);
    sim.fail(Some(Failure {
        kind: FailureKind::FailedSync,
        nth: 0,
        for_ever: false,
    }));
    let end = script.append(&log, 1).expect("there is room");
    let fault = log.wait_durable(end).expect_err("the sync fails");
    assert_eq!((fault.operation, fault.durable), (Operation::Sync, durable));
    assert!(fault.file.starts_with('0'), "{fault}");
    let syncs = |sim: &SimStorage| sim.history().ops().len();
    let before = syncs(&sim);
    assert!(matches!(log.append(&[]), Err(AppendError::Poisoned(_))));
    assert!(log.close().is_err());
    assert_eq!(syncs(&sim), before, "nothing touches the disk any more");
}

/// Polls for the maker to have made the next segment and to have nothing left to do.
fn wait_for_spare(sim: &SimStorage) {
    let is_named = |op: &Op| matches!(op, Op::Rename { to, .. } if to == "spare-1");
    let until = std::time::Instant::now() + DEADLINE;
    loop {
        let history = sim.history();
        let named = history.ops().iter().position(is_named);
        if named.is_some_and(|at| history.ops()[at..].contains(&Op::SyncDir)) {
            return;
        }
        assert!(std::time::Instant::now() < until, "no spare is made");
        thread::yield_now();
    }
}

/// Appends that wait for room in a full ring are woken by the fault.
#[test]
fn a_full_ring_lets_go_when_the_log_fails() {
    let sim = SimStorage::new();
    let (log, _) = open(&sim, tiny()).expect("a healthy disk");
    sim.fail(Some(Failure {
        kind: FailureKind::ShortWrite,
        nth: 0,
        for_ever: true,
    }));
    let log = Arc::new(log);
    let (done, ended): (_, Receiver<()>) = channel();
    for _ in 0..4 {
        let (log, done) = (Arc::clone(&log), done.clone());
        thread::spawn(move || {
            let entry = Entry {
                kind: 1,
                version: 1,
                payload: &[1; 1000],
            };
            while log.append(&[entry]).is_ok() {}
            done.send(()).expect("the test waits");
        });
    }
    for _ in 0..4 {
        ended
            .recv_timeout(DEADLINE)
            .expect("every appender is let go");
    }
    assert_eq!(log.fault().expect("poisoned").operation, Operation::Write);
}

/// A full disk stops the making of the next segment, is reported, and is got over once there is room.
#[test]
fn a_full_disk_is_reported_and_got_over() {
    let sim = SimStorage::new();
    sim.set_free_bytes(10);
    let config = LogConfig {
        disk_free_bytes_min: 1000,
        disk_check_every: Duration::from_millis(1),
        ..tiny()
    };
    let (log, _) = open(&sim, config).expect("a healthy disk");
    assert!(log.disk_free_low());
    sim.set_free_bytes(10_000);
    let until = std::time::Instant::now() + DEADLINE;
    while log.disk_free_low() {
        assert!(
            std::time::Instant::now() < until,
            "the free room is not looked at"
        );
        thread::yield_now();
    }
    let mut script = Script::default();
    for _ in 0..10 {
        script.commit(&log, 2);
    }
    let log: Log = log;
    log.close().expect("closed");
}

/// A disk on which each next segment finds no room, as often as it is let through.
struct NoRoom {
    sim: SimStorage,
    tried: SyncSender<()>,
    /// One word a try; once nobody sends any, there is room.
    let_through: Mutex<Receiver<()>>,
}

impl Storage for NoRoom {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        // The first segment is made while the log is opened.
        let is_next = name.starts_with("spare") && !name.starts_with("spare-0");
        if access == Access::Create && is_next && self.tried.send(()).is_ok() {
            let let_through = self.let_through.lock().unwrap();
            if let_through.recv_timeout(DEADLINE).is_ok() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.sim.open(name, access)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.sim.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.sim.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.sim.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.sim.sync_dir()
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.sim.free_bytes()
    }
}

/// Free bytes that are too few for the next segment are a full disk until that segment is made: the
/// word does not change with every try.
#[test]
fn a_disk_without_room_for_the_next_segment_is_full_until_it_has_it() {
    let (knock, knocks) = sync_channel(0);
    let (let_go, let_through) = channel();
    let disk = NoRoom {
        sim: SimStorage::new(),
        tried: knock,
        let_through: Mutex::new(let_through),
    };
    let config = LogConfig {
        disk_free_bytes_min: 0,
        disk_check_every: Duration::from_millis(1),
        ..tiny()
    };
    let (log, _) = Log::open(Arc::new(disk), config).expect("a healthy disk");
    for number in 0..5 {
        knocks.recv_timeout(DEADLINE).expect("it is tried again");
        assert_eq!(log.disk_free_low(), number > 0, "at try {number}");
        let_go.send(()).expect("the disk waits for it");
    }
    drop((knocks, let_go));
    let deadline = std::time::Instant::now() + DEADLINE;
    while log.disk_free_low() {
        assert!(std::time::Instant::now() < deadline, "there is room");
        thread::yield_now();
    }
    log.close().expect("nothing has failed");
}

/// A process without a free descriptor cannot open the next segment's file. Nothing was written, so
/// nothing has failed: the log goes on in the old segment, waits at its end, and rolls over once
/// there is a descriptor.
#[test]
fn a_segment_that_no_descriptor_is_free_for_is_tried_again() {
    let sim = SimStorage::new();
    let (log, _) = open(&sim, tiny()).expect("a healthy disk");
    wait_for_spare(&sim);
    sim.fail(Some(Failure {
        kind: FailureKind::NoDescriptor,
        nth: 0,
        for_ever: true,
    }));
    // Into the spare that there is; the one after it cannot be opened.
    let mut script = Script::default();
    let until = std::time::Instant::now() + DEADLINE;
    while log.stats().rolls == 0 || sim.failed() < 3 {
        assert!(
            std::time::Instant::now() < until,
            "no spare was tried again"
        );
        if log.stats().rolls == 0 {
            script.commit(&log, 1);
        } else {
            thread::yield_now();
        }
        assert!(log.fault().is_none(), "{:?}", log.fault());
    }
    // A descriptor is free again while the log thread waits, at the latest.
    let log = Arc::new(log);
    let appending = Arc::clone(&log);
    let appended = thread::spawn(move || {
        for _ in 0..10 {
            script.commit(&appending, 2);
        }
    });
    let tried = sim.failed();
    while sim.failed() < tried + 3 {
        assert!(std::time::Instant::now() < until, "it is tried again");
        thread::yield_now();
    }
    sim.fail(None);
    appended.join().expect("all of it is durable");
    assert!(log.stats().rolls > 1, "{:?}", log.stats());
    assert!(log.fault().is_none());
}
