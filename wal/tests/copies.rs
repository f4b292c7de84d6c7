//! What copies of a log are made of and built from: frames as they stand on disk, and cutting; and a log
//! that the program around it ends.
// Its helpers are no dependencies under loom, which has tests of its own.
#![cfg(not(loom))]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wal::{
    DiskStorage, Entry, Log, LogConfig, Lsn, Operation, Storage, Verdict, cut, scan, segments,
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

/// A log of some segments whose appends have one to three records; where each append ends.
fn appended(directory: &tempfile::TempDir) -> Vec<u64> {
    let (log, _) = Log::open(storage(directory), small()).unwrap();
    let payloads: Vec<Vec<u8>> = (0..120_u8).map(|n| vec![n; usize::from(n) * 3]).collect();
    let mut ends = vec![0];
    for chunk in payloads.chunk_by(|one, next| one.len() % 9 < next.len() % 9) {
        let entries: Vec<_> = chunk.iter().map(|it| entry(it)).collect();
        ends.push(log.append(&entries).unwrap().end.get());
    }
    log.close().unwrap();
    ends
}

#[test]
fn a_log_that_is_cut_ends_behind_the_last_whole_append_and_goes_on_from_there() {
    let whole = tempfile::tempdir().unwrap();
    let ends = appended(&whole);
    let end = *ends.last().unwrap();
    let held = DiskStorage::open_read_only(whole.path()).unwrap();
    let firsts = segments(&held).unwrap();
    assert!(firsts.len() >= 3, "{}", firsts.len());
    let mut places: Vec<u64> = (0..=end + 16).step_by(4_112).collect();
    places.extend(
        ends.iter()
            .step_by(4)
            .flat_map(|it| [it.saturating_sub(16), *it, it + 1]),
    );
    places.extend(firsts.iter().map(|it| it.first().get()));
    for at in places {
        let copied = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(whole.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copied.path().join(file.file_name())).unwrap();
        }
        let storage = storage(&copied);
        let expected = *ends.iter().rfind(|it| **it <= at).unwrap();
        // Twice, as after a crash.
        for _ in 0..2 {
            let ends_at = cut(&*storage, Lsn::new(at)).unwrap();
            assert_eq!(ends_at, Some(Lsn::new(expected)), "at {at}");
            let scanned = scan(&*storage, Lsn::ZERO, |_| ()).unwrap();
            assert_eq!(scanned.verdict, Verdict::Clean, "at {at}");
            assert_eq!(scanned.end.get(), expected);
        }
        let (log, report) = Log::open(storage, small()).unwrap();
        assert_eq!((report.end.get(), report.torn), (expected, None));
        assert_eq!(log.append(&[entry(b"on")]).unwrap().first.get(), expected);
        log.close().unwrap();
    }
}

#[test]
fn a_log_that_begins_later_is_not_cut() {
    let directory = tempfile::tempdir().unwrap();
    appended(&directory);
    let storage = storage(&directory);
    let found = segments(&*storage).unwrap();
    storage
        .remove(&wal::segment_name(found[0].first()))
        .unwrap();
    let first = found[1].first();
    assert_eq!(cut(&*storage, first).unwrap(), None);
    let whole = scan(&*storage, Lsn::ZERO, |_| ()).unwrap();
    assert_eq!((whole.verdict, whole.first), (Verdict::Clean, first));
}

#[test]
fn raw_frames_are_the_bytes_of_the_segments_up_to_what_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    for n in 0..60_u8 {
        let end = log.append(&[entry(&vec![n; 400])]).unwrap().end;
        log.wait_durable(end).unwrap();
    }
    let mut at = Lsn::ZERO;
    let found = log.segments();
    assert!(found.len() >= 3, "{}", found.len());
    for segment in &found {
        let name = wal::segment_name(segment.first());
        let file = std::fs::read(directory.path().join(name)).unwrap();
        assert_eq!(segment.first(), at);
        assert_eq!(segment.header()[..], file[..segment.header().len()]);
        let mut frames = log.frames(segment).unwrap();
        while let Some(frame) = frames.next(log.durable()).unwrap() {
            let offset = usize::try_from(frame.offset).unwrap();
            assert_eq!(frame.bytes, &file[offset..offset + frame.bytes.len()]);
            assert_eq!((frame.first, frame.records().count()), (at, 1));
            at = frame.end;
        }
        assert_eq!(segment.sealed_at().unwrap_or(at), at);
    }
    assert_eq!(at, log.durable());
    // What comes later is seen by who has read so far.
    let last = found.last().unwrap();
    let mut frames = log.frames(last).unwrap();
    while frames.next(log.durable()).unwrap().is_some() {}
    let end = log.append(&[entry(b"later")]).unwrap().end;
    log.wait_durable(end).unwrap();
    if log.segments().len() == found.len() {
        assert_eq!(frames.next(end).unwrap().unwrap().end, end);
    }
}

#[test]
fn a_log_that_may_not_go_on_says_why_and_acknowledges_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&directory), small()).unwrap();
    let before = log.append(&[entry(b"before")]).unwrap();
    log.wait_durable(before.end).unwrap();
    log.withdraw("another process has it".to_owned());
    // Also an idle one hears of it, and an append before that is not acknowledged.
    if let Ok(after) = log.append(&[entry(b"after")]) {
        let fault = log.wait_durable(after.end).unwrap_err();
        assert_eq!(fault.operation, Operation::Withdraw);
        assert!(
            fault.to_string().contains("another process has it"),
            "{fault}"
        );
    }
    let idle = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(storage(&idle), small()).unwrap();
    log.withdraw("another process has it".to_owned());
    let began = std::time::Instant::now();
    while log.fault().is_none() {
        assert!(began.elapsed() < Duration::from_secs(20), "it goes on");
        thread::sleep(Duration::from_millis(1));
    }
}
