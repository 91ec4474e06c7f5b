//! The handshake of the byte-stream transport.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synod_fuzz::decode::greeting(data));
