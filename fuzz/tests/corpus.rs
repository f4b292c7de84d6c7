//! Every target over its committed corpus and a few thousand mutations of it, without libFuzzer.
//!
//! One test for all: targets measure the memory of the whole process.

use fuzz::mutate::{Draws, mutated};
use fuzz::{TARGETS, Target, corpus};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn every_target_takes_its_corpus_and_mutations_of_it() {
    for target in TARGETS {
        let corpus = corpus(target.name);
        for (name, _) in (target.seeds)() {
            assert!(
                corpus.iter().any(|(there, _)| *there == name),
                "{}/{name} is missing: cargo run -p fuzz --bin make-corpus",
                target.name
            );
        }
        (target.run)(&[]);
        for (name, bytes) in &corpus {
            check(target, name, bytes);
        }
        for number in 0..target.mutations {
            let mut draws = Draws::new(number);
            let (name, seed) = &corpus[draws.below(corpus.len())];
            let (_, other) = &corpus[draws.below(corpus.len())];
            let bytes = mutated(seed, other, &mut draws);
            check(target, &format!("mutation {number}, of {name},"), &bytes);
        }
    }
}

/// Says which input it was, where a target panics.
fn check(target: &Target, name: &str, bytes: &[u8]) {
    let run = AssertUnwindSafe(|| (target.run)(bytes));
    if let Err(panic) = catch_unwind(run) {
        let kept = std::env::temp_dir().join(format!("holdfast-{}-panic", target.name));
        let _ = std::fs::write(&kept, bytes);
        eprintln!(
            "{name} made {} panic; it is in {}",
            target.name,
            kept.display()
        );
        std::panic::resume_unwind(panic);
    }
}
