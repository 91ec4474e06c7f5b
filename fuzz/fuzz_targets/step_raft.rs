//! A Raft node among peers that say anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synod_fuzz::raft::step_anything(data));
