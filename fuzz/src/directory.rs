//! `data_directory`: a whole data directory, changed and with valid checksums again.
//!
//! Input: a byte for removed files (1: the witness, 2: the snapshot, 4: the log), then up to eight
//! changes of 6 bytes to the golden directory: the file (even: the segment, odd: the snapshot), the
//! record or section and the byte in it (16 bits each, little-endian), and its new value. Then all
//! checksums are computed again.
//!
//! For any input, checking, printing and replaying end with a result or an error. A directory that
//! `check` calls clean opens with the same digest, and all of its content can be read; one that it
//! calls damaged does not open with another state than a clean stop left.

use crate::{files_in, take};
use holdfast::engine::risk::program::RuleSet;
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::Lsn;
use holdfast::journal::{
    AuditQuery, CheckError, CheckReport, Clock, ClockBehind, Disks, Journal, JournalOptions,
    ManualClock, SortOrder, check_on, read_log_on,
};
use holdfast::replay::{History, Plan, Replay, Trial};
use holdfast::report::event_json;
use holdfast::time::UnixMs;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use wal::sim::{Files, SimStorage};

/// Changes to one directory, at most.
const BLOWS_MAX: usize = 8;
/// Events of a page of the audit trail.
const PAGE: usize = 1_000;
/// A year or so after the golden directory was written.
const NOW: UnixMs = UnixMs::new(1_830_000_000_000);

#[derive(Clone)]
struct Directory {
    log: Files,
    snapshots: Files,
}

/// The target.
pub fn run(mut input: &[u8]) {
    let directory = struck(&mut input);
    let disks = directory.disks();
    let checked = check_on(&disks, &EngineSettings::default());
    print(&disks);
    match checked {
        Ok(report) => open(&directory, &report),
        Err(CheckError::Damaged(error) | CheckError::Unreadable(error)) => {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// As `holdfast log` and `holdfast replay` read it.
fn print(disks: &Disks) {
    let plan = Plan {
        trial: Trial::Rules(RuleSet::default()),
        model: None,
        history: History::WithoutBlocked,
        keys_max: 1_024,
    };
    let mut replay = Replay::new(plan, Lsn(0));
    let mut said = String::new();
    let read = read_log_on(disks, Lsn(0), None, &mut |entry| {
        assert_eq!(event_json(&entry)["kind"], entry.event.kind());
        if let Err(error) = replay.read(entry, &mut |_| {}) {
            said = error.to_string();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = read {
        assert!(!error.to_string().is_empty());
    }
    drop(replay.finish(&mut |_| {}));
}

/// Opens what is clean and asks about all of it.
fn open(directory: &Directory, report: &CheckReport) {
    let mut options = JournalOptions::new("memory");
    options.clock = Clock::Manual(ManualClock::new(NOW));
    options.time.behind = ClockBehind::Accept;
    options.log.segment_bytes = (1 << 20) + 4_096;
    options.log.ring_bytes = 1 << 20;
    options.log.disk_free_bytes_min = 0;
    options.snapshot_every_bytes = 0;
    let opened = Journal::open_on(directory.disks(), options, None, &mut |_| {});
    let journal = opened.unwrap_or_else(|error| panic!("it is clean, but: {error}"));
    assert_eq!(journal.opened().digest, report.digest);
    let query = AuditQuery {
        from: Lsn(0),
        to: Lsn(u64::MAX),
        since: None,
        until: None,
        kind: None,
        user: None,
        purchase: None,
        act: None,
        by: None,
        limit: PAGE,
        order: SortOrder::Descending,
    };
    let _ = journal.tail().audit(&query);
    let (products, _) = journal.reads().products();
    assert_eq!(products.len(), report.products.len());
    for payment in &report.payments {
        assert!(journal.reads().purchase(payment.purchase).is_some());
        assert!(journal.reads().hold(payment.purchase).is_some());
    }
    journal.close();
}

impl Directory {
    fn disks(&self) -> Disks {
        Disks {
            log: Arc::new(SimStorage::with_files(self.log.clone())),
            snapshots: Arc::new(SimStorage::with_files(self.snapshots.clone())),
        }
    }
}

/// The golden directory after the blows of `input`.
fn struck(input: &mut &[u8]) -> Directory {
    let mut directory = golden().clone();
    let [gone] = take(input);
    for _ in 0..BLOWS_MAX {
        if input.is_empty() {
            break;
        }
        let [which, place_low, place_high, at_low, at_high, value] = take(input);
        let (files, places): (_, fn(&[u8]) -> _) = if which % 2 == 0 {
            (&mut directory.log, patch::payloads)
        } else {
            (&mut directory.snapshots, patch::sections)
        };
        for (_, bytes) in files.iter_mut().filter(|(name, _)| *name != "witness") {
            let places = places(bytes);
            let place = usize::from(u16::from_le_bytes([place_low, place_high])) % places.len();
            let place = places[place].clone();
            if place.is_empty() {
                continue;
            }
            let at = usize::from(u16::from_le_bytes([at_low, at_high])) % place.len();
            // An earlier blow may have made a record that is longer than its file.
            if let Some(byte) = bytes.get_mut(place.start + at) {
                *byte = value;
                patch::seal(bytes);
            }
        }
    }
    if gone & 1 != 0 {
        directory.log.remove("witness");
    }
    if gone & 2 != 0 {
        directory.snapshots.clear();
    }
    if gone & 4 != 0 {
        directory.log.clear();
    }
    directory
}

fn golden() -> &'static Directory {
    static GOLDEN: OnceLock<Directory> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let files = |folder: &str| files_in(&format!("tests/golden/data-v1/written/{folder}"));
        Directory {
            log: files("log").into_iter().collect(),
            snapshots: files("snapshots").into_iter().collect(),
        }
    })
}

/// The directory as it is, without each of its files, and with one blow against each of them.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let seeds: [(&str, &[u8]); 8] = [
        ("whole", &[0]),
        ("no-witness", &[1]),
        ("no-snapshot", &[2]),
        ("no-log", &[4]),
        ("instant", &[2, 0, 3, 0, 6, 0, 0xff]),
        ("record", &[2, 0, 5, 0, 20, 0, 0xff]),
        ("catalogue", &[0, 1, 0, 0, 8, 0, 0xff]),
        ("shard", &[0, 1, 9, 0, 8, 0, 0x01]),
    ];
    let named = seeds.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    named.into_iter().collect()
}
