//! `data_directory` for libFuzzer; what it does is in `src/directory.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::directory::run(input));
