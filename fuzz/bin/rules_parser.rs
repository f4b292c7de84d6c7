//! `rules_parser` for libFuzzer; what it does is in `src/rules.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::rules::run(input));
