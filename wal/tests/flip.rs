//! Every single bit of a small log is flipped, in segments and witness alike: either everything that
//! was acknowledged is still there, or the log refuses to open and says where it is damaged.

mod common;

use std::thread;

use common::{Expected, Script, check_content, open};
use wal::sim::{Files, SimStorage};
use wal::{LogConfig, Lsn, OpenError, Verdict, Vouched, Witness, scan};

fn smallest() -> LogConfig {
    LogConfig {
        segment_bytes: 1536,
        ring_bytes: 1 << 10,
        record_bytes_max: 700,
        frame_bytes_max: 1 << 10,
        ..LogConfig::default()
    }
}

fn is_segment(name: &str) -> bool {
    name.starts_with('0')
}

/// A log of three segments, closed in good order.
fn small_log() -> (Files, Vec<Expected>) {
    let sim = SimStorage::new();
    let (log, _) = open(&sim, smallest()).expect("a healthy disk");
    let mut script = Script::default();
    for payload in [100, 30, 600, 0, 500, 300, 400, 150, 60] {
        let bytes = vec![0xa5; payload];
        let entry = wal::Entry {
            kind: 9,
            version: 1,
            payload: &bytes,
        };
        let appended = log.append(&[entry]).expect("the log runs");
        log.wait_durable(appended.end).expect("the log runs");
        let (lsn, end) = (appended.first.get(), appended.end.get());
        script.expected.push(Expected {
            lsn,
            end,
            kind: 9,
            payload: bytes,
        });
    }
    log.close().expect("closed");
    let mut files = sim.files();
    files.retain(|name, _| name == "witness" || is_segment(name));
    assert_eq!(files.len(), 4, "{:?}", files.keys());
    (files, script.expected)
}

#[derive(Copy, Clone, Default, Debug)]
struct Outcome {
    survived: usize,
    cut: usize,
    refused: usize,
}

/// Flips every bit whose number is `part` modulo `of` in the named file; what lies below
/// `acknowledged` must survive, or the log refuse.
fn flip(
    (files, expected): (&Files, &[Expected]),
    config: &LogConfig,
    acknowledged: u64,
    name: &str,
    (part, of): (usize, usize),
) -> Outcome {
    let mut outcome = Outcome::default();
    for bit in (part..files[name].len() * 8).step_by(of) {
        let mut flipped = files.clone();
        flipped.get_mut(name).expect("it is there")[bit / 8] ^= 1 << (bit % 8);
        let sim = SimStorage::with_files(flipped);
        match open(&sim, config.clone()) {
            Ok((log, report)) => {
                if let Err(e) = check_content(&log, expected, acknowledged) {
                    panic!("bit {bit} of {name}: {e}");
                }
                outcome.survived += 1;
                outcome.cut += usize::from(report.torn.is_some());
            }
            Err(OpenError::Damaged(damage)) => {
                assert!(!damage.segment.is_empty());
                outcome.refused += 1;
            }
            Err(e) => panic!("bit {bit} of {name}: {e}"),
        }
    }
    outcome
}

/// Flips every bit of every file; the outcome by file.
fn flip_all(
    log: (&Files, &[Expected]),
    config: &LogConfig,
    acknowledged: u64,
) -> Vec<(String, Outcome)> {
    const PARTS: usize = 2;
    let of_file = |name: &String| {
        let parts = thread::scope(|scope| {
            let flip_part = |part| move || flip(log, config, acknowledged, name, (part, PARTS));
            let parts: Vec<_> = (0..PARTS)
                .map(|part| scope.spawn(flip_part(part)))
                .collect();
            parts
                .into_iter()
                .map(|t| t.join().expect("no bit is lost"))
                .collect::<Vec<_>>()
        });
        let outcome = parts.iter().fold(Outcome::default(), |a, b| Outcome {
            survived: a.survived + b.survived,
            cut: a.cut + b.cut,
            refused: a.refused + b.refused,
        });
        println!("flip {name}: {outcome:?}");
        (name.clone(), outcome)
    };
    log.0.keys().map(of_file).collect()
}

#[test]
fn every_bit() {
    let (files, expected) = small_log();
    let acknowledged = expected.last().expect("there are records").end;
    let outcomes = flip_all((&files, &expected), &smallest(), acknowledged);
    let cases: usize = outcomes.iter().map(|(_, o)| o.survived + o.refused).sum();
    let refused: usize = outcomes.iter().map(|(_, o)| o.refused).sum();
    println!("flip: {cases} cases, {refused} refused");
    let witness = outcomes
        .iter()
        .find(|(name, _)| name == "witness")
        .expect("it is there");
    assert_eq!(witness.1.refused, 0, "the segments are whole");
    let record_bits: u64 = expected.iter().map(|e| (e.end - e.lsn) * 8).sum();
    assert!(
        refused as u64 > record_bits,
        "no bit of a record goes unnoticed"
    );
}

/// Without a witness nobody vouches for the last frame; for all others later frames do.
#[test]
fn every_bit_without_a_witness() {
    let (mut files, expected) = small_log();
    files.remove("witness");
    let config = LogConfig {
        witness: Witness::Off,
        ..smallest()
    };
    let last = expected.last().expect("there are records").lsn;
    let outcomes = flip_all((&files, &expected), &config, last);
    let refused: usize = outcomes.iter().map(|(_, o)| o.refused).sum();
    println!("flip without witness: {refused} refused");
    assert!(
        refused as u64 > last * 8,
        "no bit of a record but the last goes unnoticed"
    );
}

#[test]
fn damage_names_its_place_and_a_scan_agrees() {
    let (files, expected) = small_log();
    let last = files
        .keys()
        .rfind(|name| is_segment(name))
        .expect("segments")
        .clone();
    let first = files.keys().next().expect("segments").clone();
    let refuse = |name: &str, offset: usize| {
        let mut flipped = files.clone();
        flipped.get_mut(name).expect("it is there")[offset] ^= 1;
        let sim = SimStorage::with_files(flipped);
        let Err(OpenError::Damaged(damage)) = open(&sim, smallest()) else {
            panic!("it opened")
        };
        let scanned = scan(&sim, Lsn::ZERO, |_| ()).expect("readable");
        assert_eq!(scanned.verdict, Verdict::Damaged(damage.clone()));
        *damage
    };
    // In the first frame's payload of a sealed segment.
    let damage = refuse(&first, 64 + 48 + 20);
    assert_eq!(
        (damage.segment.as_str(), damage.offset),
        (first.as_str(), 80)
    );
    assert_eq!(damage.vouched, Vouched::BySealedSegment);
    assert_eq!(damage.lsn, Lsn::ZERO);
    // In the last acknowledged frame: only the witness knows.
    let size = usize::try_from(expected.last().map_or(0, |e| e.end - e.lsn)).expect("small");
    let end = files[&last].iter().rposition(|b| *b != 0).expect("written") + 1;
    let damage = refuse(&last, end - size / 2);
    assert_eq!(
        (damage.segment.as_str(), damage.vouched),
        (last.as_str(), Vouched::ByWitness)
    );
    let text = damage.to_string();
    assert!(text.contains(&last) && text.contains("restore"), "{text}");
}

#[test]
fn a_missing_file_is_never_an_end() {
    let (files, _) = small_log();
    let names: Vec<_> = files
        .keys()
        .filter(|name| is_segment(name))
        .cloned()
        .collect();
    for (i, name) in names.iter().enumerate() {
        let mut fewer = files.clone();
        fewer.remove(name);
        let opened = open(&SimStorage::with_files(fewer), smallest());
        match opened {
            // Without its oldest segment a log looks like one that was shortened on purpose.
            Ok((log, _)) if i == 0 => assert!(log.first_lsn() > Lsn::ZERO),
            Ok(_) => panic!("{name} is missing and nobody noticed"),
            Err(OpenError::Damaged(_)) => assert!(i > 0),
            Err(e) => panic!("{e}"),
        }
    }
    let mut none = files.clone();
    none.retain(|name, _| name == "witness");
    assert!(matches!(
        open(&SimStorage::with_files(none), smallest()),
        Err(OpenError::Damaged(_))
    ));
    let mut shorter = files.clone();
    let last = shorter
        .get_mut(names.last().expect("segments"))
        .expect("it is there");
    last.truncate(1024);
    assert!(matches!(
        open(&SimStorage::with_files(shorter), smallest()),
        Err(OpenError::Damaged(_))
    ));
    let other = SimStorage::new();
    open(&other, smallest())
        .expect("a healthy disk")
        .0
        .close()
        .expect("closed");
    let mut foreign = other.files();
    foreign.insert("witness".to_owned(), files["witness"].clone());
    assert!(matches!(
        open(&SimStorage::with_files(foreign), smallest()),
        Err(OpenError::Damaged(_))
    ));
}

/// Two logs with the same past: a frame of the one, in its very place in the other, verifies alone
/// and has the right LSN; only the link to the frame before tells.
#[test]
fn a_frame_of_another_history_is_not_taken() {
    let sim = SimStorage::new();
    let commit = |log: &wal::Log, byte: u8| {
        let entry = wal::Entry {
            kind: 1,
            version: 1,
            payload: &[byte; 100],
        };
        let end = log.append(&[entry]).expect("the log runs").end;
        log.wait_durable(end).expect("the log runs");
    };
    let (log, _) = open(&sim, smallest()).expect("a healthy disk");
    commit(&log, 0);
    log.close().expect("closed");
    let past = sim.files();
    let [one, other] = [1, 2].map(|byte| {
        let sim = SimStorage::with_files(past.clone());
        let (log, _) = open(&sim, smallest()).expect("it was closed in good order");
        commit(&log, byte);
        commit(&log, 9);
        log.close().expect("closed");
        sim.files()
    });
    let name = past
        .keys()
        .find(|name| is_segment(name))
        .expect("a segment")
        .clone();
    let frame = 48 + 128;
    let third = 80 + 2 * frame..80 + 3 * frame;
    assert_ne!(
        one[&name][third.clone()],
        other[&name][third.clone()],
        "the links differ"
    );
    let mut spliced = one.clone();
    spliced.get_mut(&name).expect("it is there")[third.clone()]
        .copy_from_slice(&other[&name][third]);
    let Err(OpenError::Damaged(damage)) = open(&SimStorage::with_files(spliced), smallest()) else {
        panic!("it opened")
    };
    assert_eq!(damage.problem, wal::Mismatch::Chain);
}
