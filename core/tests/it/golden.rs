//! The bytes of everything that goes to a disk or a wire. A change here is a change of the format:
//! it needs a new version number, not a new expectation.

use core::fmt::Debug;

use bytes::{Bytes, BytesMut};
use synod_core::frame::{read_frame, write_frame};
use synod_core::{
    ClusterId, Decode, Encode, Entries, Entry, EntryKind, Generation, GroupId, Lane, LinkId,
    LogIndex, LogRecord, NodeId, OldLog, SnapshotId, SnapshotMeta, Stamp, Ticket,
};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The value has these bytes, and these bytes have the value. Spaces in `text` set the fields
/// apart.
#[track_caller]
pub(crate) fn golden<T: Encode + Decode + PartialEq + Debug>(value: &T, text: &str) {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    assert_eq!(hex(&out), text.replace(' ', ""), "{value:?}");
    assert_eq!(T::decode_all(unhex(text)).as_ref(), Ok(value));
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(0xa1),
            index: LogIndex(9),
        },
        stamp: Stamp::of(3),
        config: Bytes::from_static(b"cfg"),
        size: 1000,
    }
}

fn entries() -> Entries {
    let config = Entry {
        kind: EntryKind::Config,
        payload: Bytes::from_static(b"c"),
    };
    let stamp = Stamp { number: 2, node: 1 };
    let command = Entry::command(Bytes::from_static(b"hi"));
    Entries::new(LogIndex(5), stamp, [command, Entry::blank(), config])
}

#[test]
fn plain_values() {
    golden(&7_u8, "07");
    golden(&0x0102_u16, "0201");
    golden(&0x0102_0304_u32, "04030201");
    golden(&0x0102_0304_0506_0708_u64, "0807060504030201");
    golden(&true, "01");
    golden(&String::from("né"), "03000000 6ec3a9");
    golden(&Bytes::from_static(b"ab"), "02000000 6162");
    golden(&None::<u8>, "00");
    golden(&Some(9_u8), "01 09");
    golden(&vec![1_u16, 2], "02000000 0100 0200");
    golden(&(1_u8, true), "01 01");
}

#[test]
fn kinds_of_entries() {
    golden(&EntryKind::Command, "00");
    golden(&EntryKind::Blank, "01");
    golden(&EntryKind::Config, "02");
    golden(&EntryKind::Named, "03");
}

#[test]
fn ids() {
    golden(&NodeId(1), "0100000000000000");
    golden(&GroupId(2), "0200000000000000");
    golden(&ClusterId(3), "0300000000000000");
    golden(&Generation(4), "0400000000000000");
    golden(&LogIndex(5), "0500000000000000");
    golden(&Ticket(6), "0600000000000000");
    golden(&LinkId(u64::MAX), "ffffffffffffffff");
}

#[test]
fn log_records() {
    golden(&LogRecord::State("st".into()), "01 02000000 7374");
    golden(
        &LogRecord::Put(entries()),
        "02 0500000000000000 0200000000000000 0100000000000000 03000000 \
         00 02000000 6869 \
         01 00000000 \
         02 01000000 63",
    );
    golden(
        &LogRecord::Truncate { from: LogIndex(8) },
        "03 0800000000000000",
    );
    for (lane, tag) in [(Lane::Taken, "01"), (Lane::Received, "02")] {
        let stage = LogRecord::Stage {
            lane,
            id: meta().id,
            offset: 256,
            chunk: "x".into(),
        };
        let rest = "a100000000000000 0900000000000000 0001000000000000 01000000 78";
        golden(&stage, &format!("04 {tag} {rest}"));
    }
    for (log, tag) in [(OldLog::Keep, "01"), (OldLog::Replace, "02")] {
        let meta = meta();
        let rest = "a100000000000000 0900000000000000 0300000000000000 0000000000000000 \
                    03000000 636667 e803000000000000";
        golden(
            &LogRecord::Activate { meta, log },
            &format!("05 {tag} {rest}"),
        );
    }
    golden(
        &LogRecord::Compact {
            through: LogIndex(9),
            stamp: Stamp::of(3),
        },
        "06 0900000000000000 0300000000000000 0000000000000000",
    );
}

#[test]
fn a_frame() {
    let mut out = BytesMut::new();
    let record = LogRecord::State("st".into());
    write_frame(GroupId(7), &mut out, |out| record.encode(out));
    // Length, checksum (as zlib computes it), version, group, body.
    let text = "10000000 8c9bbf62 01 0700000000000000 01 02000000 7374";
    assert_eq!(hex(&out), text.replace(' ', ""));
    let (group, body) = read_frame(&mut unhex(text), 100).unwrap();
    assert_eq!(group, GroupId(7));
    assert_eq!(LogRecord::decode_all(body), Ok(record));
}
