//! `frame_decoder` for libFuzzer; what it does is in `src/frame.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::frame::run(input));
