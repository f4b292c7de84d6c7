//! `model_parser` for libFuzzer; what it does is in `src/model.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::model::run(input));
