//! Generations: when they begin, what follows what, and that two histories of one log can be told
//! apart at every place behind the one at which they parted.

mod common;

use common::{Script, check_content, open, tiny};
use std::collections::BTreeMap;
use wal::sim::{Files, SimStorage};
use wal::{Generation, Log, Lsn, Mismatch, OpenError, Verdict, begin_generation, scan};

/// The chain at every record's end.
fn chains(log: &Log) -> BTreeMap<u64, u32> {
    let mut reader = log.reader(log.first_lsn()).unwrap();
    let mut found = BTreeMap::from([(reader.position().get(), reader.chain())]);
    while reader.next().unwrap().is_some() {
        found.insert(reader.position().get(), reader.chain());
    }
    found
}

fn written(records: usize) -> (SimStorage, Script) {
    let sim = SimStorage::new();
    let (log, report) = open(&sim, tiny()).unwrap();
    assert_eq!(report.generations.len(), 1);
    let mut script = Script::default();
    for n in 0..records {
        script.commit(&log, 1 + n % 3);
    }
    log.close().unwrap();
    (sim, script)
}

fn is_segment(name: &str) -> bool {
    name.starts_with('0')
}

fn segments(files: &Files) -> usize {
    files.keys().filter(|name| is_segment(name)).count()
}

#[test]
fn a_new_log_is_of_generation_1_and_keeps_it() {
    let (sim, _) = written(20);
    let (log, report) = open(&sim, tiny()).unwrap();
    let [begun] = report.generations[..] else {
        panic!("{:?}", report.generations)
    };
    assert_eq!((begun.generation.number(), begun.first), (1, Lsn::ZERO));
    assert_eq!(log.generation(), begun.generation);
    let other = open(&SimStorage::new(), tiny()).unwrap().0.generation();
    assert_eq!(other.number(), 1);
    assert_ne!(other.tag(), begun.generation.tag());
}

#[test]
fn a_stopped_log_goes_on_in_the_next_generation() {
    let (sim, mut script) = written(7);
    let end = script.expected.last().unwrap().end;
    let before = segments(&sim.files());
    let begun = begin_generation(&sim, &tiny()).unwrap();
    assert_eq!((begun.generation.number(), begun.first.get()), (2, end));
    assert_eq!(segments(&sim.files()), before + 1);
    let (log, report) = open(&sim, tiny()).unwrap();
    assert_eq!(report.generations.last(), Some(&begun));
    assert_eq!(report.torn, None);
    let end = script.commit(&log, 2);
    check_content(&log, &script.expected, end.get()).unwrap();
    log.close().unwrap();
    let scan = scan(&sim, Lsn::ZERO, |_| ()).unwrap();
    assert_eq!(scan.verdict, Verdict::Clean);
    assert_eq!(scan.generations.len(), 2);
    assert_eq!(scan.generations[1], begun);
}

#[test]
fn an_empty_segment_is_replaced() {
    let (sim, mut script) = written(7);
    let first = begin_generation(&sim, &tiny()).unwrap();
    let before = segments(&sim.files());
    let second = begin_generation(&sim, &tiny()).unwrap();
    assert_eq!(segments(&sim.files()), before);
    assert_eq!(second.first, first.first);
    let (log, _) = open(&sim, tiny()).unwrap();
    // And by a running log, under the eyes of a reader that stands there.
    let mut reader = log.reader(second.first).unwrap();
    assert!(reader.next().unwrap().is_none());
    let third = log.begin_generation(0).unwrap();
    assert_eq!(
        [2, 3, 4],
        [first.generation, second.generation, third].map(wal::Generation::number)
    );
    assert_eq!(log.generations().last().unwrap().generation, third);
    script.commit(&log, 1);
    assert_eq!(reader.next().unwrap().unwrap().lsn, second.first);
    log.close().unwrap();
    let (log, report) = open(&sim, tiny()).unwrap();
    assert_eq!(report.generations.last().unwrap().generation, third);
    check_content(&log, &script.expected, 0).unwrap();
}

#[test]
fn a_running_log_goes_on_above_a_number_that_others_have() {
    let (sim, _) = written(3);
    let (log, _) = open(&sim, tiny()).unwrap();
    for (above, number) in [(7, 8), (7, 9), (3, 10)] {
        let generation = log.begin_generation(above).unwrap();
        assert_eq!(generation.number(), number, "above {above}");
    }
    log.close().unwrap();
}

#[test]
fn a_generation_reads_as_it_is_written() {
    for text in [
        "1-0000000000000000",
        "2-00c0ffee00c0ffee",
        "2147483648-ffffffffffffffff",
    ] {
        assert_eq!(text.parse::<Generation>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "2",
        "2-",
        "-00c0ffee00c0ffee",
        "02-00c0ffee00c0ffee",
        "2-c0ffee00c0ffee",
        "2-00C0FFEE00C0FFEE",
        "2-+0c0ffee00c0ffee",
        "2147483649-00c0ffee00c0ffee",
    ] {
        assert!(text.parse::<Generation>().is_err(), "{text}");
    }
}

#[test]
fn a_running_log_goes_on_in_the_next_generation() {
    let (sim, mut script) = written(3);
    let (log, _) = open(&sim, tiny()).unwrap();
    let before = script.commit(&log, 1);
    let generation = log.begin_generation(0).unwrap();
    assert_eq!((generation.number(), log.generation()), (2, generation));
    let begun = *log.generations().last().unwrap();
    assert_eq!((begun.generation, begun.first), (generation, before));
    let end = script.commit(&log, 3);
    check_content(&log, &script.expected, end.get()).unwrap();
    log.close().unwrap();
    assert!(log_stopped(&sim), "a log that is closed answers nobody");
}

fn log_stopped(sim: &SimStorage) -> bool {
    let (log, _) = open(sim, tiny()).unwrap();
    log.shutdown().unwrap();
    log.begin_generation(0).is_err()
}

#[test]
fn generations_do_not_go_backwards() {
    let (sim, _) = written(7);
    let past = sim.files();
    let begin = |files: &Files, times: usize| {
        let sim = SimStorage::with_files(files.clone());
        for _ in 0..times {
            begin_generation(&sim, &tiny()).unwrap();
        }
        let (log, _) = open(&sim, tiny()).unwrap();
        Script::default().commit(&log, 1);
        log.close().unwrap();
        begin_generation(&sim, &tiny()).unwrap();
        sim.files()
    };
    // The last segment of one history in the place of that of another: an older generation, and
    // another one of the same number.
    for (times, problem) in [(1, Mismatch::Generation), (3, Mismatch::Generation)] {
        let mut files = begin(&past, times + 1);
        let other = begin(&past, 1);
        let name = files.keys().rfind(|name| is_segment(name)).unwrap();
        let name = name.clone();
        files.insert(name.clone(), other[&name].clone());
        files.remove("closed");
        let Err(OpenError::Damaged(damage)) = open(&SimStorage::with_files(files), tiny()) else {
            panic!("it opened")
        };
        assert_eq!((damage.problem, damage.segment), (problem, name));
    }
}

#[test]
fn there_must_be_a_log() {
    let refused = begin_generation(&SimStorage::new(), &tiny());
    assert!(matches!(refused, Err(OpenError::NotBegun)), "{refused:?}");
}

#[test]
fn two_histories_have_different_chains_after_they_diverge() {
    let (sim, script) = written(12);
    let parted = script.expected.last().unwrap().end;
    let past = sim.files();
    // The same records in both, and in one of them a new generation.
    let [one, other, renewed] = [false, false, true].map(|renews| {
        let sim = SimStorage::with_files(past.clone());
        if renews {
            begin_generation(&sim, &tiny()).unwrap();
        }
        let (log, _) = open(&sim, tiny()).unwrap();
        let mut more = Script::default();
        for n in 0..20 {
            more.commit(&log, 1 + n % 2);
        }
        let found = chains(&log);
        log.close().unwrap();
        let (log, _) = open(&sim, tiny()).unwrap();
        assert_eq!(chains(&log), found, "it does not change");
        // What is left of the log says the same of its beginning.
        log.remove_before(Lsn::new(parted)).unwrap();
        let first = log.first_lsn().get();
        assert!(first > 0);
        assert_eq!(chains(&log), found.clone().split_off(&first));
        found
    });
    assert_eq!(one[&0], 0);
    assert_eq!(one, other, "equal bytes, frame by frame");
    for (lsn, chain) in &one {
        if *lsn <= parted {
            assert_eq!(renewed[lsn], *chain, "{lsn}");
        } else {
            assert_ne!(renewed[lsn], *chain, "{lsn}");
        }
    }
}
