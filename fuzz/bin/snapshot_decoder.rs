//! `snapshot_decoder` for libFuzzer; what it does is in `src/snapshot.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::snapshot::run(input));
