//! A log written by format version 1, kept as files: it must be read for ever, to the last byte.

mod common;

use common::{Expected, Script, check_content, open, payload, tiny};
use wal::sim::{Files, SimStorage};
use wal::{FORMAT_VERSION, LogConfig, Lsn, Verdict, scan};

/// The log of `tests/golden/v1`: six records in two segments, the second and third in one append.
fn golden() -> Files {
    let files: [(&str, &[u8]); 3] = [
        (
            SEGMENT_0,
            include_bytes!("golden/v1/00000000000000000000.wal"),
        ),
        (
            SEGMENT_1,
            include_bytes!("golden/v1/00000000000000001648.wal"),
        ),
        ("witness", include_bytes!("golden/v1/witness")),
    ];
    files
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect()
}

const SEGMENT_0: &str = "00000000000000000000.wal";
const SEGMENT_1: &str = "00000000000000001648.wal";

fn expected() -> Vec<Expected> {
    let mut lsn = 0;
    (0..6_u16)
        .map(|n| {
            let payload = payload(usize::from(n));
            let end = lsn + wal::record_bytes(payload.len()) as u64;
            let expected = Expected {
                lsn,
                end,
                kind: n,
                payload,
            };
            lsn = end;
            expected
        })
        .collect()
}

/// Writes the files anew where `HOLDFAST_BLESS` asks for it; until the tag 0.1.0 the format may change.
#[test]
fn the_files_are_written_anew_on_demand() {
    if std::env::var_os("HOLDFAST_BLESS").is_none() {
        return;
    }
    let sim = SimStorage::new();
    let config = LogConfig {
        segment_bytes: 2560,
        ..tiny()
    };
    let (log, _) = open(&sim, config).unwrap();
    let mut script = Script::default();
    for count in [1, 2, 1, 1, 1] {
        script.commit(&log, count);
    }
    log.close().unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let files = sim.files();
    for name in [SEGMENT_0, SEGMENT_1, "witness"] {
        std::fs::write(folder.join(name), &files[name]).unwrap();
    }
}

#[test]
fn version_1_is_read_for_ever() {
    let sim = SimStorage::with_files(golden());
    let mut more = Vec::new();
    let scan = scan(&sim, Lsn::ZERO, |record| more.push(record.more)).unwrap();
    assert_eq!(
        (scan.verdict, scan.segments, scan.frames),
        (Verdict::Clean, 2, 5)
    );
    assert_eq!(more, [false, true, false, false, false, false]);
    let (log, report) = open(&sim, tiny()).unwrap();
    assert_eq!(report.records, 6);
    check_content(&log, &expected(), expected().last().unwrap().end).unwrap();
}

/// The places that `docs/log-format.md` names.
#[test]
fn the_bytes_are_where_the_document_says() {
    let files = golden();
    let (segment, next, witness) = (&files[SEGMENT_0], &files[SEGMENT_1], &files["witness"]);
    let u32_at =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let u64_at =
        |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(&segment[..8], b"\x89WALSEG\n");
    assert_eq!(u32_at(segment, 8), FORMAT_VERSION);
    assert_eq!(u32_at(segment, 12), 1, "the number of the generation");
    assert_eq!(segment[56..64], next[56..64], "its tag");
    assert_eq!(segment[16..32], next[16..32], "the log id");
    assert_eq!(
        (u64_at(segment, 32), u64_at(next, 32)),
        (0, 1),
        "the sequence"
    );
    assert_eq!(
        (u64_at(segment, 40), u64_at(next, 40)),
        (0, 1648),
        "the first LSN"
    );
    assert_eq!(u64_at(segment, 48), segment.len() as u64);
    assert_eq!(
        u32_at(segment, 76),
        crc32c::crc32c(&segment[..76]),
        "the seed"
    );
    let frame = &segment[80..80 + 48 + 32];
    assert_eq!(&frame[..4], b"\xf7WFR");
    assert_eq!(
        u32_at(frame, 4),
        crc32c::crc32c_append(u32_at(segment, 76), &frame[8..])
    );
    assert_eq!(
        (u32_at(frame, 8), u32_at(frame, 12)),
        (32, 1),
        "bytes and records"
    );
    assert_eq!(
        (u64_at(frame, 16), u64_at(frame, 24), u64_at(frame, 32)),
        (0, 0, 80)
    );
    assert_eq!(
        u32_at(frame, 40),
        u32_at(segment, 76),
        "the first frame follows the seed"
    );
    assert_eq!(u32_at(frame, 48), 16 + 8, "a record's length");
    assert_eq!(frame[64..72], payload(0)[..]);
    let second = &segment[80 + 48 + 32..];
    assert_eq!(u32_at(second, 40), u32_at(frame, 4), "frames are chained");
    assert_eq!(
        u64_at(second, 24),
        32,
        "the first frame was durable by then"
    );
    assert_eq!(u32_at(second, 48) >> 31, 1, "the append goes on");
    assert_eq!(&witness[..4], b"\xf7WIT");
    assert_eq!(witness[8..24], segment[16..32]);
    let durable = u64_at(witness, 24).max(u64_at(witness, 4096 + 24));
    assert_eq!(durable, expected().last().unwrap().end);
}
