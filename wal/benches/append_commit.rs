//! Append and commit from two threads, beside a bare `fdatasync` of 4 KiB into written zeroes on the
//! same disk in the same run: what counts is the ratio.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wal::{DiskStorage, Entry, Log, LogConfig, Lsn, Witness};

const PAYLOAD: [u8; 184] = [7; 184];
const THREADS: u64 = 2;

/// Beside the target directory, so that it is a disk and not memory.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable")
}

fn open(directory: &tempfile::TempDir, witness: Witness) -> Log {
    let storage = Arc::new(DiskStorage::open(directory.path()).expect("a directory of its own"));
    let config = LogConfig {
        witness,
        ..LogConfig::default()
    };
    Log::open(storage, config).expect("an empty directory").0
}

fn entry() -> Entry<'static> {
    Entry {
        kind: 1,
        version: 1,
        payload: &PAYLOAD,
    }
}

fn raw_sync(c: &mut Criterion) {
    const BLOCK: usize = 4096;
    const BLOCKS: u64 = 4096;
    let directory = directory();
    let file = File::create(directory.path().join("raw")).expect("writable");
    for i in 0..BLOCKS {
        file.write_all_at(&[0; BLOCK], i * BLOCK as u64)
            .expect("room");
    }
    file.sync_all().expect("synced");
    let mut at = 0;
    c.bench_function("raw fdatasync 4 KiB", |b| {
        b.iter(|| {
            file.write_all_at(&[1; BLOCK], at % BLOCKS * BLOCK as u64)
                .expect("written");
            file.sync_data().expect("synced");
            at += 1;
        });
    });
}

fn commit_alone(c: &mut Criterion) {
    for (name, witness) in [("witness", Witness::On), ("no witness", Witness::Off)] {
        let directory = directory();
        let log = open(&directory, witness);
        c.bench_function(&format!("append and wait alone, {name}"), |b| {
            b.iter(|| {
                let appended = log.append(&[entry()]).expect("room");
                log.wait_durable(appended.end).expect("durable");
            });
        });
    }
}

/// Two threads append without waiting; the time ends when everything is durable.
fn append_stream(c: &mut Criterion) {
    let directory = directory();
    let log = open(&directory, Witness::On);
    let stream = |iterations: u64| -> Duration {
        let started = Instant::now();
        thread::scope(|scope| {
            for t in 0..THREADS {
                let log = &log;
                scope.spawn(move || {
                    for _ in 0..(iterations + t) / THREADS {
                        log.append(&[entry()]).expect("room");
                    }
                });
            }
        });
        log.wait_durable(log.appended()).expect("durable");
        // The next run starts with the disk as empty as this one did.
        let took = started.elapsed();
        log.remove_before(log.durable()).expect("removed");
        took
    };
    let mut group = c.benchmark_group("two threads");
    group.throughput(Throughput::Elements(1));
    group.bench_function("append 184 bytes, durable", |b| b.iter_custom(stream));
    group.finish();
}

/// Opening verifies every frame; a reader then verifies and shows every record.
fn recover_and_read(c: &mut Criterion) {
    const RECORDS: u64 = 1_000_000;
    let directory = directory();
    let log = open(&directory, Witness::On);
    for _ in 0..RECORDS {
        log.append(&[entry()]).expect("room");
    }
    log.close().expect("closed");
    let mut group = c.benchmark_group("a million records");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("scan", |b| {
        b.iter(|| {
            let storage = DiskStorage::open_read_only(directory.path()).expect("it is there");
            let mut seen = 0;
            wal::scan(&storage, Lsn::ZERO, |_| seen += 1).expect("readable");
            assert_eq!(seen, RECORDS);
        });
    });
    let log = open(&directory, Witness::On);
    group.bench_function("read", |b| {
        b.iter(|| {
            let mut reader = log.reader(Lsn::ZERO).expect("it is there");
            let mut seen = 0;
            while reader.next().expect("good").is_some() {
                seen += 1;
            }
            assert_eq!(seen, RECORDS);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = raw_sync, commit_alone, append_stream, recover_and_read
}
criterion_main!(benches);
