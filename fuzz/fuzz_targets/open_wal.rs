//! A write-ahead log whose files were damaged.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| synod_fuzz::wal::open_damaged(data));
