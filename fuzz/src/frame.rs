//! `frame_decoder`: a log's directory.
//!
//! Input: a byte that selects one of two forms, then
//! - 0: a directory: files one after the other, each with a byte (0: the witness, else a segment),
//!   the first LSN in its name (64 bits), the number of zeroes after its bytes, the number of its
//!   bytes (32 bits each), and the bytes;
//! - else: up to three changes of 4 bytes to a log that was written and acknowledged: the file,
//!   whether one bit flips or one sector of 512 bytes is zeroed, and where.
//!
//! For every directory: reading never shows what was not written, opening agrees with reading, and
//! the directory is clean after opening. For the written log also: while its witness is untouched,
//! either all of it is there or it is damaged. No part of it is ever taken for a clean log, and no
//! acknowledged data is cut as a torn tail. CRC32C detects any three flipped bits.

use crate::{take, within};
use std::sync::{Arc, OnceLock};
use wal::sim::{Files, SimStorage};
use wal::{Entry, Log, LogConfig, Lsn, OpenError, Scan, Verdict, scan};

/// Segments of the log that is written: small, so that a few records fill several.
const SEGMENT_BYTES: usize = 2_048;
/// What a disk loses at once.
const SECTOR_BYTES: usize = 512;
/// The largest file of a directory in an input.
const FILE_BYTES_MAX: usize = 64 << 10;
/// Files of a directory in an input, at most.
const FILES_MAX: usize = 8;
/// What reading takes beside its input: two buffers to read through, and the disk in memory.
const SLACK_BYTES: usize = 2 << 20;

/// A record as it was shown.
type Shown = (u64, u16, u16, Vec<u8>);

/// The target.
pub fn run(mut input: &[u8]) {
    let [way] = take(&mut input);
    if way == 0 {
        let files = directory(input);
        let _ = judge(&files);
    } else {
        blows(input);
    }
}

/// Reads and opens the directory; what was read, if it was a log at all.
fn judge(files: &Files) -> Option<(Scan, Vec<Shown>)> {
    let bytes: usize = files.values().map(Vec::len).sum();
    let (scanned, shown) = within(4 * bytes + SLACK_BYTES, || read(files));
    let storage = SimStorage::with_files(files.clone());
    let opened = Log::open(Arc::new(storage.clone()), config());
    let scanned = match (scanned, opened) {
        (Err(_), Err(_)) => return None,
        (Err(error), Ok(_)) => panic!("what cannot be read was opened: {error}"),
        (Ok(scanned), Err(OpenError::Damaged(damage))) => {
            assert_eq!(scanned.verdict, Verdict::Damaged(damage));
            scanned
        }
        (Ok(scanned), Err(error)) => panic!("{:?} was not opened: {error}", scanned.verdict),
        (Ok(scanned), Ok((log, report))) => {
            let torn = report.torn.map(|(tail, _)| tail);
            let expected = torn.map_or(Verdict::Clean, Verdict::TornTail);
            assert_eq!(scanned.verdict, expected, "opening agrees with reading");
            assert_eq!(report.end, scanned.end);
            log.close().expect("nothing fails on this disk");
            let (after, still) = read(&storage.files());
            let after = after.expect("what was opened is read");
            assert_eq!(after.verdict, Verdict::Clean, "what is torn was cut");
            assert_eq!(still, shown, "repair keeps every record");
            scanned
        }
    };
    Some((scanned, shown))
}

fn read(files: &Files) -> (Result<Scan, OpenError>, Vec<Shown>) {
    let storage = SimStorage::with_files(files.clone());
    let mut shown = Vec::new();
    let scanned = scan(&storage, Lsn::ZERO, |record| {
        shown.push((
            record.lsn.get(),
            record.kind,
            record.version,
            record.payload.to_vec(),
        ));
    });
    (scanned, shown)
}

fn directory(mut input: &[u8]) -> Files {
    let mut files = Files::new();
    while !input.is_empty() && files.len() < FILES_MAX {
        let [kind] = take(&mut input);
        let first = u64::from_le_bytes(take(&mut input));
        let [zeroes, length] = [(); 2].map(|()| u32::from_le_bytes(take(&mut input)) as usize);
        let (bytes, rest) = input.split_at(length.min(input.len()).min(FILE_BYTES_MAX));
        input = rest;
        let mut bytes = bytes.to_vec();
        bytes.resize(
            (bytes.len() + zeroes.min(FILE_BYTES_MAX)).min(FILE_BYTES_MAX),
            0,
        );
        let name = match kind {
            0 => "witness".to_owned(),
            _ => format!("{first:020}.wal"),
        };
        files.insert(name, bytes);
    }
    files
}

fn blows(mut input: &[u8]) {
    let (files, written) = written_log();
    let mut files = files.clone();
    let names: Vec<String> = files.keys().cloned().collect();
    let mut witness_hit = false;
    for _ in 0..3 {
        if input.is_empty() {
            break;
        }
        let [which, how, low, high] = take(&mut input);
        let name = &names[usize::from(which) % names.len()];
        let file = files.get_mut(name).expect("it is one of them");
        let place = usize::from(u16::from_le_bytes([low, high]));
        if how < 0x80 {
            let length = file.len();
            file[place % length] ^= 1 << (how % 8);
        } else {
            let start = place * SECTOR_BYTES % file.len();
            let end = (start + SECTOR_BYTES).min(file.len());
            file[start..end].fill(0);
        }
        witness_hit |= name == "witness";
    }
    let Some((scanned, shown)) = judge(&files) else {
        return;
    };
    assert!(
        written.starts_with(&shown),
        "nothing is shown that was not written"
    );
    if !witness_hit && !matches!(scanned.verdict, Verdict::Damaged(_)) {
        assert_eq!(&shown, written, "acknowledged data is there or damaged");
    }
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT_BYTES as u64,
        ring_bytes: 1_024,
        record_bytes_max: 512,
        frame_bytes_max: 1_024,
        disk_free_bytes_min: 0,
        ..LogConfig::default()
    }
}

/// A closed log of several segments, and what was written and acknowledged.
fn written_log() -> &'static (Files, Vec<Shown>) {
    static LOG: OnceLock<(Files, Vec<Shown>)> = OnceLock::new();
    LOG.get_or_init(|| {
        let storage = SimStorage::new();
        let (log, _) = Log::open(Arc::new(storage.clone()), config()).expect("it begins");
        for number in 0..24_u16 {
            let payload = vec![number.to_le_bytes()[0] | 1; 16 * usize::from(number % 16)];
            let entry = Entry {
                kind: number,
                version: 1,
                payload: &payload,
            };
            let appended = log.append(&[entry; 2]).expect("it fits");
            // One at a time, so that frames are the same in every run.
            log.wait_durable(appended.end).expect("durable");
        }
        log.close().expect("nothing fails on this disk");
        let mut files = storage.files();
        // Without the mark of a clean stop: every change to the last frame would be against it.
        files.retain(|name, _| !name.starts_with("spare-") && name != "closed");
        let (scanned, shown) = read(&files);
        assert_eq!(scanned.expect("it is a log").verdict, Verdict::Clean);
        assert_eq!(shown.len(), 48, "every record is shown");
        assert!(files.len() > 3, "it has several segments and a witness");
        (files, shown)
    })
}

/// Logs that are whole, cut and torn, and blows of each kind.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let (files, _) = written_log();
    let image = |change: &dyn Fn(&str, &mut Vec<u8>)| {
        let mut image = vec![0];
        for (name, bytes) in files {
            let mut bytes = bytes.clone();
            change(name, &mut bytes);
            let end = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            let first = name.strip_suffix(".wal").map_or(0, |digits| {
                digits
                    .parse::<u64>()
                    .expect("a segment is named by its first LSN")
            });
            image.push(u8::from(name != "witness"));
            image.extend_from_slice(&first.to_le_bytes());
            for length in [bytes.len() - end, end] {
                let length = u32::try_from(length).expect("files here are small");
                image.extend_from_slice(&length.to_le_bytes());
            }
            image.extend_from_slice(&bytes[..end]);
        }
        image
    };
    let last = files.keys().rfind(|name| *name != "witness");
    let last = last.expect("a log has a segment");
    let silent = |bytes: &mut Vec<u8>| bytes.fill(0);
    let torn = |name: &str, bytes: &mut Vec<u8>| {
        if name == "witness" {
            silent(bytes);
        } else if name == last {
            let end = bytes.iter().rposition(|byte| *byte != 0).expect("a header");
            bytes[end - 8] ^= 1;
        }
    };
    vec![
        ("whole".to_owned(), image(&|_, _| {})),
        ("torn".to_owned(), image(&torn)),
        ("bit".to_owned(), vec![1, 0, 3, 100, 0]),
        (
            "bits".to_owned(),
            vec![1, 0, 0, 70, 0, 1, 7, 0, 1, 2, 5, 0, 2],
        ),
        ("sector".to_owned(), vec![1, 1, 0x80, 1, 0]),
        ("sectors".to_owned(), vec![1, 2, 0x80, 2, 0, 3, 0x80, 0, 0]),
    ]
}
