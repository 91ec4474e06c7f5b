//! What clients and sessions say.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synod_fuzz::decode::client(data));
