//! A node of Multi-Paxos among peers that say anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synod_fuzz::paxos::step_anything(data));
