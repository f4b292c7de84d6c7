//! The formats on disk, held against files that were written once: what this program writes today
//! is byte for byte what stands there, and it reads what stands there as what it was.
//!
//! `tests/golden/event-<kind>-v<version>.bin` is the kind's number and its version (16 bits each,
//! little endian), then the payload as in the log. `tests/golden/data-v1/` is a data directory,
//! each file without the zeroes at its end: `begun` when it was made (with an identity that is always
//! the same), `written` after a fixed history was written to `begun`.
//!
//! Until the tag 0.1.0 there is one version of everything, and a change of a shape changes the file:
//! `HOLDFAST_BLESS=1 cargo test --test journal golden::`. From then on a file is changed only together with the
//! version in its name: old ones stay, and go on being read.

pub mod events;
mod history;

use holdfast::engine::event::{Event, Part};
use holdfast::engine::settings::EngineSettings;
use holdfast::journal::check;
use holdfast::journal::codec::{Kind, decode, encode, kind_of, trace_of};
use holdfast::trace::TraceContext;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_kind_is_written_as_its_golden_file_and_read_back_from_it() {
    for event in events::all() {
        let kind = kind_of(&event);
        let mut written = Vec::new();
        written.extend_from_slice(&kind.number.to_le_bytes());
        written.extend_from_slice(&kind.version.to_le_bytes());
        encode(&event, events::AT, None, &mut written);
        let path = golden(&file_of(&event));
        if blessing() {
            std::fs::write(&path, &written).expect("the golden file is written");
        }
        let there = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert_eq!(hex(&written), hex(&there), "{path:?}");
        let read = decode(kind, &there[4..]).expect("a golden payload");
        assert_eq!(read, (events::AT, event));
    }
}

#[test]
fn a_payload_with_a_trace_has_it_behind_its_time_and_is_else_the_same() {
    let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = TraceContext::parse(parent).expect("it is one");
    for event in events::all() {
        let (kind, mut plain, mut traced) = (kind_of(&event), Vec::new(), Vec::new());
        encode(&event, events::AT, None, &mut plain);
        encode(&event, events::AT, Some(trace), &mut traced);
        // Bit 62 of the time, then trace id, span id and flags.
        let mut expected = plain[..8].to_vec();
        expected[7] |= 0x40;
        expected.extend_from_slice(&trace.to_bytes());
        expected.extend_from_slice(&plain[8..]);
        assert_eq!(hex(&traced), hex(&expected));
        assert_eq!((trace_of(&plain), trace_of(&traced)), (None, Some(trace)));
        let read = decode(kind, &traced).expect("it was written just now");
        assert_eq!(read, (events::AT, event));
        let mut no_trace = traced.clone();
        no_trace[8..24].fill(0);
        for wrong in [&traced[..20], &no_trace] {
            assert!(decode(kind, wrong).is_err());
        }
    }
}

#[test]
fn every_golden_event_is_of_a_kind_that_is_read() {
    let mut kinds = BTreeSet::new();
    for name in names_in(&golden("")) {
        if !name.starts_with("event-") {
            continue;
        }
        let bytes = std::fs::read(golden(&name)).expect("it was listed");
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let kind = Kind {
            number: word(0),
            version: word(2),
        };
        let (_, event) = decode(kind, &bytes[4..]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            name,
            format!("event-{}-v{}.bin", event.kind(), kind.version)
        );
        kinds.insert(event.kind());
    }
    let known: BTreeSet<_> = events::all().iter().map(Event::kind).collect();
    assert_eq!(kinds, known);
    assert_eq!(
        known,
        BTreeSet::from(Event::KINDS),
        "each kind has a golden event"
    );
}

/// `Event::part` expects a step of every kind of a purchase, and a buyer of every kind of a buyer.
#[test]
fn every_kind_has_the_step_or_the_buyer_that_its_part_is_found_by() {
    for event in events::all() {
        let in_a_shard = matches!(event.part(), Part::Shard(..));
        let is_known = event.step().is_some() || event.user().is_some();
        assert!(is_known || !in_a_shard, "{}", event.kind());
    }
}

#[test]
fn the_word_of_a_step_is_that_of_its_kind() {
    for event in events::all() {
        // These kinds are one of two steps each, which the purchase's history tells apart.
        let one_step = !matches!(event, Event::ReviewDecided(_) | Event::DisputeClosed(_));
        if let Some((_, step)) = event.step().filter(|_| one_step) {
            assert_eq!(step.as_str(), event.kind());
        }
    }
}

#[test]
fn a_fixed_history_is_written_as_the_golden_directory() {
    let begun_at = golden("data-v1/begun");
    let made = history::begin();
    if blessing() {
        let _ = std::fs::remove_dir_all(&begun_at);
        history::store(&begun_at, &made);
    }
    let begun = history::load(&begun_at);
    assert!(made == begun, "a new directory is not the golden one");
    let (written, digest) = history::write(&begun);
    let (written_at, digest_at) = (golden("data-v1/written"), golden("data-v1/digest"));
    if blessing() {
        let _ = std::fs::remove_dir_all(&written_at);
        history::store(&written_at, &written);
        std::fs::write(&digest_at, &digest).expect("the digest is written");
    }
    let there = history::load(&written_at);
    let names = |files: &history::Directory| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&there));
    for (name, bytes) in &written {
        assert!(
            *bytes == there[name],
            "{name} differs from byte {:?} on",
            bytes.iter().zip(&there[name]).position(|(a, b)| a != b)
        );
    }
    let expected = std::fs::read_to_string(&digest_at).expect("the golden digest");
    assert_eq!(digest, expected, "the state after the history");
}

#[test]
fn golden_directories_are_read_to_their_digests_from_snapshot_and_log() {
    for version in VERSIONS {
        let digest_at = golden(&format!("{version}/digest"));
        let expected = std::fs::read_to_string(digest_at).expect("the golden digest");
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, bytes) in history::load(&golden(&format!("{version}/written"))) {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it is joined")).expect("a directory");
            std::fs::write(path, bytes).expect("a file");
        }
        let report = check(directory.path(), &EngineSettings::default()).expect("it is clean");
        assert_eq!(report.digest, expected, "{version}");
        assert_eq!(report.digest_from.as_str(), "both");
        assert_eq!(report.snapshots, 1);
        assert_eq!(report.torn_tail, None);
    }
}

/// Every version of the data directory that is read.
const VERSIONS: [&str; 1] = ["data-v1"];

fn file_of(event: &Event) -> String {
    format!("event-{}-v{}.bin", event.kind(), kind_of(event).version)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn blessing() -> bool {
    std::env::var_os("HOLDFAST_BLESS").is_some_and(|it| it == "1")
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the golden directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("our names are ASCII")
    };
    entries.map(name).collect()
}

/// Lines of 16 bytes, so that a difference shows where it is.
fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(hex::encode);
    lines.collect::<Vec<_>>().join("\n")
}
