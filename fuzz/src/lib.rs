//! The fuzz targets: one function for each part of holdfast that reads bytes from outside.
//!
//! A target accepts any bytes, never panics because of them, and asserts the invariants of the
//! decoded value. Two callers: libFuzzer, through the small programs in `bin/`, and
//! ordinary tests, which run each target over its corpus and mutations of it (`tests/corpus.rs`).
//! Deliberately absent: code that needs nightly, a C++ compiler or another process.
#![forbid(unsafe_code)]

pub mod directory;
pub mod event;
pub mod frame;
pub mod model;
pub mod mutate;
pub mod request;
pub mod rules;
pub mod snapshot;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A target: its name, as its program and its folder in `corpus/` have it, and its body.
#[derive(Copy, Clone, Debug)]
pub struct Target {
    pub name: &'static str,
    /// The body. Panics where something is wrong with holdfast.
    pub run: fn(&[u8]),
    /// Files of a new corpus, each with a name: a few that decode, made anew each time.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Mutations that an ordinary test runs: what takes a second or two.
    pub mutations: u64,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "data_directory",
        run: directory::run,
        seeds: directory::seeds,
        mutations: 600,
    },
    Target {
        name: "event_decoder",
        run: event::run,
        seeds: event::seeds,
        mutations: 10_000,
    },
    Target {
        name: "frame_decoder",
        run: frame::run,
        seeds: frame::seeds,
        mutations: 5_000,
    },
    Target {
        name: "model_parser",
        run: model::run,
        seeds: model::seeds,
        mutations: 10_000,
    },
    Target {
        name: "request_parser",
        run: request::run,
        seeds: request::seeds,
        mutations: 10_000,
    },
    Target {
        name: "rules_parser",
        run: rules::run,
        seeds: rules::seeds,
        mutations: 10_000,
    },
    Target {
        name: "snapshot_decoder",
        run: snapshot::run,
        seeds: snapshot::seeds,
        mutations: 1_500,
    },
];

/// Runs `work` and asserts that the memory of this process never rose by more than `most` bytes
/// meanwhile: no length in the input is believed before it is capped.
fn within<T>(most: usize, work: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    let rise = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        rise <= most,
        "memory rose by {rise} bytes, not at most {most}"
    );
    result
}

/// The next `N` bytes of `input`, zeroes where it ends.
fn take<const N: usize>(input: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let there = input.len().min(N);
    let (head, rest) = input.split_at(there);
    bytes[..there].copy_from_slice(head);
    *input = rest;
    bytes
}

/// The files in `folder` below the root of the repository, by name.
fn files_in(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            Some((name, std::fs::read(entry.path()).ok()?))
        })
        .collect();
    files.sort();
    files
}

/// The committed corpus of the target `name`.
pub fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    files_in(&format!("fuzz/corpus/{name}"))
}
