//! Frames around messages and records.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synod_fuzz::decode::frame(data));
