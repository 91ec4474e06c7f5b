//! Log records, and all that they are made of.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synod_fuzz::decode::core(data));
