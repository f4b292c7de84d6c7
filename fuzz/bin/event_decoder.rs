//! `event_decoder` for libFuzzer; what it does is in `src/event.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::event::run(input));
