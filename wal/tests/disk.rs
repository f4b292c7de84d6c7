//! The log on a real disk, through its public face: append, wait, follow, roll over, remove, reopen.
// Its helpers are no dependencies under loom, which has tests of its own.
#![cfg(not(loom))]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use wal::{
    Access, AppendError, CommitListener, DiskStorage, Entry, Fault, Log, LogConfig, Lsn, OpenError,
    Operation, ReadError, Storage, StorageFile, SyncPolicy, Verdict, Witness, extent, scan,
};

/// Segments of a few blocks: every test rolls over.
fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 8 << 10,
        ring_bytes: 4 << 10,
        record_bytes_max: 1 << 10,
        frame_bytes_max: 4 << 10,
        disk_free_bytes_min: 0,
        ..LogConfig::default()
    }
}

fn storage(directory: &tempfile::TempDir) -> Arc<DiskStorage> {
    Arc::new(DiskStorage::open(directory.path()).expect("a directory of its own"))
}

fn entry(payload: &[u8]) -> Entry<'_> {
    Entry {
        kind: 7,
        version: 3,
        payload,
    }
}

fn read_all(log: &Log, from: Lsn) -> Vec<Vec<u8>> {
    let mut reader = log.reader(from).expect("it is there");
    let mut all = Vec::new();
    while let Some(record) = reader.next().expect("it is good") {
        assert_eq!((record.kind, record.version), (7, 3));
        assert_eq!(
            record.payload.as_ptr().align_offset(16),
            0,
            "payloads are aligned"
        );
        all.push(record.payload.to_vec());
    }
    all
}

#[test]
fn durable_records_exist_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let payloads: Vec<Vec<u8>> = (0..300_usize)
        .map(|i| vec![u8::try_from(i % 251).unwrap(); i])
        .collect();
    {
        let (log, report) = Log::open(storage(&directory), small()).unwrap();
        assert!(report.created);
        for payload in &payloads {
            let appended = log.append(&[entry(payload)]).unwrap();
            log.wait_durable(appended.end).unwrap();
        }
        assert!(log.stats().rolls > 5, "{:?}", log.stats());
        assert_eq!(read_all(&log, Lsn::ZERO), payloads);
        log.close().unwrap();
    }
    let (log, report) = Log::open(storage(&directory), small()).unwrap();
    assert!(!report.created && report.torn.is_none());
    assert_eq!(report.records, 300);
    assert_eq!(log.durable(), report.end);
    assert_eq!(read_all(&log, Lsn::ZERO), payloads);
    log.append(&[entry(b"more")]).unwrap();
    log.close().unwrap();
    let read_only = DiskStorage::open_read_only(directory.path()).unwrap();
    let mut kinds = 0;
    let scan = scan(&read_only, Lsn::ZERO, |record| {
        kinds += u64::from(record.kind);
    })
    .unwrap();
    assert_eq!(
        (scan.verdict, scan.records, kinds),
        (Verdict::Clean, 301, 301 * 7)
    );
}

#[test]
fn how_far_a_log_goes_is_known_without_reading_it_and_while_it_is_written() {
    for witness in [Witness::On, Witness::Off] {
        let directory = tempfile::tempdir().unwrap();
        let config = LogConfig { witness, ..small() };
        let (log, _) = Log::open(storage(&directory), config).unwrap();
        let read_only = DiskStorage::open_read_only(directory.path()).unwrap();
        for _ in 0..40 {
            let appended = log.append(&[entry(&[9; 700])]).unwrap();
            log.wait_durable(appended.end).unwrap();
            let known = extent(&read_only).unwrap();
            assert_eq!(known.first, Lsn::ZERO);
            assert!(known.durable <= log.durable());
            if witness == Witness::On {
                assert_eq!(known.durable, appended.end);
            }
        }
        assert!(extent(&read_only).unwrap().durable > Lsn::ZERO, "it rolled");
        log.close().unwrap();
    }
    let empty = tempfile::tempdir().unwrap();
    let known = extent(&*storage(&empty)).unwrap();
    assert_eq!((known.first, known.durable), (Lsn::ZERO, Lsn::ZERO));
}

#[test]
fn appends_of_many_threads_stay_whole_and_in_their_order() {
    const THREADS: usize = 4;
    const APPENDS: u64 = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    thread::scope(|scope| {
        for t in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for i in 0..APPENDS {
                    let parts = [(t as u64).to_le_bytes(), i.to_le_bytes()];
                    let appended = log.append(&parts.each_ref().map(|p| entry(p))).unwrap();
                    if i % 97 == 0 {
                        log.wait_durable(appended.end).unwrap();
                        assert!(log.durable() >= appended.end);
                    }
                }
            });
        }
    });
    log.wait_durable(log.appended()).unwrap();
    let all = read_all(&log, Lsn::ZERO);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let mut next = [0; THREADS];
    for pair in all.chunks(2) {
        let t = usize::try_from(number(&pair[0])).unwrap();
        assert_eq!(number(&pair[1]), next[t]);
        next[t] += 1;
    }
    assert_eq!(next, [APPENDS; THREADS]);
    let stats = log.stats();
    assert_eq!(stats.records, 2 * THREADS as u64 * APPENDS);
    assert!(
        stats.syncs < THREADS as u64 * APPENDS,
        "commits are shared: {stats:?}"
    );
}

#[test]
fn a_reader_follows_and_hears_of_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    let mut reader = log.reader(Lsn::ZERO).unwrap();
    assert!(
        reader
            .wait_next(Duration::from_millis(1))
            .unwrap()
            .is_none()
    );
    thread::scope(|scope| {
        let follower = scope.spawn(move || {
            let mut seen = Vec::new();
            loop {
                match reader.wait_next(Duration::from_secs(30)) {
                    Ok(Some(record)) => seen.push(record.payload.to_vec()),
                    Ok(None) => panic!("the log stands still"),
                    Err(ReadError::Ended(_)) => return seen,
                    Err(e) => panic!("{e}"),
                }
            }
        });
        for i in 0..500_u32 {
            log.append(&[entry(&i.to_le_bytes())]).unwrap();
        }
        log.shutdown().unwrap();
        let expected: Vec<_> = (0..500_u32).map(|i| i.to_le_bytes().to_vec()).collect();
        assert_eq!(follower.join().unwrap(), expected);
    });
    assert!(matches!(
        log.append(&[entry(b"late")]),
        Err(AppendError::Closed)
    ));
    assert!(
        log.wait_durable(Lsn::new(log.appended().get() + 1))
            .is_err(),
        "nobody waits for ever"
    );
    assert!(log.fault().is_none());
}

#[test]
fn removal_stops_at_the_slowest_pin() {
    let directory = tempfile::tempdir().unwrap();
    let disk = storage(&directory);
    let (log, _) = Log::open(Arc::<DiskStorage>::clone(&disk), small()).unwrap();
    let mut ends = Vec::new();
    for _ in 0..100 {
        ends.push(log.append(&[entry(&[1; 900])]).unwrap().end);
        log.wait_durable(*ends.last().unwrap()).unwrap();
    }
    let end = log.durable();
    let slow = log.pin("slow", ends[10]);
    let removed = log.remove_before(end).unwrap();
    assert!(removed.segments > 0 && removed.first <= ends[10]);
    assert_eq!(read_all(&log, ends[10]).len(), 89);
    assert!(matches!(
        log.reader(Lsn::ZERO),
        Err(ReadError::Removed { .. })
    ));
    slow.advance(ends[50]);
    slow.advance(ends[20]);
    assert_eq!(slow.lsn(), ends[50]);
    let reader = log.reader(ends[40]).unwrap();
    log.remove_before(end).unwrap();
    assert!(log.first_lsn() <= ends[40], "a reader is a pin");
    drop(reader);
    drop(slow);
    log.remove_before(end).unwrap();
    assert!(log.first_lsn() > ends[50]);
    assert!(log.pins().is_empty());
    let first = log.first_lsn();
    log.close().unwrap();
    let (log, report) = Log::open(disk, small()).unwrap();
    assert_eq!((report.first, report.end), (first, end));
    assert_eq!(log.first_lsn(), first);
}

#[test]
fn a_reader_starts_at_records_only() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    let a = log.append(&[entry(&[1; 100]), entry(&[2; 100])]).unwrap();
    log.wait_durable(a.end).unwrap();
    assert!(
        matches!(log.reader(Lsn::new(16)), Err(ReadError::NotARecord { next, .. }) if next.get() == 128)
    );
    assert!(matches!(
        log.reader(Lsn::new(a.end.get() + 16)),
        Err(ReadError::Ahead { .. })
    ));
    let mut reader = log.reader(Lsn::new(128)).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().payload, [2; 100]);
    assert!(reader.next().unwrap().is_none());
    assert_eq!(log.reader(a.end).unwrap().position(), a.end);
}

#[test]
fn too_large_is_refused_with_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    let max = small().record_bytes_max;
    assert!(matches!(
        log.append(&[entry(&vec![0; max + 1])]),
        Err(AppendError::TooLarge { what: "record", bytes, max: m }) if bytes == max + 1 && m == max
    ));
    let big = vec![0; max];
    assert!(matches!(
        log.append(&[entry(&big); 5]),
        Err(AppendError::TooLarge { what: "append", .. })
    ));
    assert_eq!(log.appended(), Lsn::ZERO, "nothing was reserved");
    let config = LogConfig {
        ring_bytes: 1000,
        ..small()
    };
    let other = tempfile::tempdir().unwrap();
    assert!(matches!(
        Log::open(storage(&other), config),
        Err(OpenError::Config(_))
    ));
}

struct Ear {
    durable: AtomicU64,
    calls: AtomicU64,
    fault: Mutex<Option<Arc<Fault>>>,
}

impl CommitListener for Ear {
    fn committed(&self, durable: Lsn) {
        self.durable.fetch_max(durable.get(), Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
    fn poisoned(&self, fault: &Arc<Fault>) {
        *self.fault.lock().unwrap() = Some(Arc::clone(fault));
    }
}

#[test]
fn a_listener_hears_of_each_commit() {
    let directory = tempfile::tempdir().unwrap();
    let config = LogConfig {
        sync: SyncPolicy::Interval(Duration::from_millis(5)),
        witness: Witness::Off,
        ..small()
    };
    let (log, _) = Log::open(storage(&directory), config).unwrap();
    let ear = Arc::new(Ear {
        durable: AtomicU64::new(0),
        calls: AtomicU64::new(0),
        fault: Mutex::new(None),
    });
    log.subscribe(Arc::<Ear>::clone(&ear));
    let appended = log.append(&[entry(b"x")]).unwrap();
    log.wait_durable(appended.end).unwrap();
    log.shutdown().unwrap();
    assert_eq!(ear.durable.load(Ordering::SeqCst), appended.end.get());
    assert_eq!(ear.calls.load(Ordering::SeqCst), 1);
    assert!(ear.fault.lock().unwrap().is_none());
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let one = storage(&directory);
    assert!(DiskStorage::open(directory.path()).is_err());
    assert!(one.free_bytes().unwrap() > 0);
    drop(one);
    DiskStorage::open(directory.path()).unwrap();
}

#[test]
fn sizes_may_change_between_openings() {
    let directory = tempfile::tempdir().unwrap();
    let configs = [
        small(),
        LogConfig {
            segment_bytes: 64 << 10,
            frame_bytes_max: 32 << 10,
            ring_bytes: 64 << 10,
            ..small()
        },
        LogConfig {
            segment_bytes: 2 << 10,
            frame_bytes_max: 1 << 10,
            record_bytes_max: 900,
            ..small()
        },
    ];
    let mut payloads = Vec::new();
    for (i, config) in configs.iter().cycle().take(6).enumerate() {
        let (log, report) = Log::open(storage(&directory), config.clone()).unwrap();
        assert_eq!(report.records, payloads.len() as u64);
        for n in 0..20 {
            payloads.push(vec![u8::try_from(i * 20 + n).unwrap(); 800]);
            log.append(&[entry(payloads.last().unwrap())]).unwrap();
        }
        log.close().unwrap();
    }
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    assert_eq!(read_all(&log, Lsn::ZERO), payloads);
}

struct Clumsy;

impl CommitListener for Clumsy {
    fn committed(&self, _: Lsn) {
        panic!("a listener fails");
    }
    fn poisoned(&self, _: &Arc<Fault>) {}
}

#[test]
fn a_listener_that_panics_ends_the_log_and_leaves_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    log.subscribe(Arc::new(Clumsy));
    let appended = log.append(&[entry(b"x")]).unwrap();
    log.wait_durable(appended.end).unwrap();
    let fault = log
        .wait_durable(Lsn::new(appended.end.get() + 16))
        .unwrap_err();
    assert_eq!(
        (fault.operation, fault.durable),
        (Operation::Run, appended.end)
    );
    assert!(log.close().is_err());
}

/// A directory that another process takes away just when a spare gets its name, so that this call
/// fails before anything has looked at the path.
struct TakenAway {
    disk: DiskStorage,
    armed: AtomicU64,
}

impl Storage for TakenAway {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        self.disk.open(name, access)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.armed.load(Ordering::Relaxed) == 1 {
            let path = self.disk.path();
            std::fs::rename(path, path.with_extension("aside"))?;
            return Err(io::ErrorKind::NotFound.into());
        }
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn check_place(&self) -> io::Result<()> {
        self.disk.check_place()
    }

    fn check_file(&self, name: &str, file: &dyn StorageFile) -> io::Result<()> {
        self.disk.check_file(name, file)
    }
}

#[test]
fn a_call_that_fails_because_the_directory_is_gone_says_that_it_is_gone() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = DiskStorage::open(scratch.path().join("log")).unwrap();
    let storage = Arc::new(TakenAway {
        disk,
        armed: AtomicU64::new(0),
    });
    let (log, _) = Log::open(storage.clone(), small()).unwrap();
    let spare = |name: &String| name.starts_with("spare-") && !name.ends_with("unfinished");
    while !storage.list().unwrap().iter().any(spare) {
        thread::yield_now();
    }
    storage.armed.store(1, Ordering::Relaxed);
    // Nothing is being written when the spare after the next fails.
    while log.stats().rolls == 0 && log.fault().is_none() {
        if let Ok(appended) = log.append(&[entry(&[1; 900])]) {
            let _ = log.wait_durable(appended.end);
        }
    }
    let fault = loop {
        match log.fault() {
            Some(fault) => break fault,
            None => thread::yield_now(),
        }
    };
    assert_eq!(fault.operation, Operation::CheckPlace, "{fault}");
    assert!(
        fault.to_string().contains("moved, replaced or deleted"),
        "{fault}"
    );
}
