//! `request_parser` for libFuzzer; what it does is in `src/request.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::request::run(input));
