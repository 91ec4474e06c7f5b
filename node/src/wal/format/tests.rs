//! Golden bytes of what lies on disk.

use super::*;

fn checkpoint() -> Checkpoint {
    let id = SnapshotId {
        origin: synod_core::Generation(9),
        index: LogIndex(4),
    };
    let meta = SnapshotMeta {
        id,
        stamp: Stamp::of(2),
        config: Bytes::from_static(b"c"),
        size: 10,
    };
    Checkpoint {
        state: Some(Bytes::from_static(b"vote")),
        compacted: (LogIndex(4), Stamp::of(2)),
        snapshot: Some((Serial(1), meta)),
        staged: [
            None,
            Some(Staged {
                lane: Lane::Received,
                serial: Serial(2),
                id,
                len: 3,
            }),
        ],
        live: alloc::vec![(LogIndex(5), LogIndex(7))],
    }
}

#[test]
fn a_segment_header_has_golden_bytes() {
    let header = SegmentHeader {
        log: 0x0102_0304_0506_0708,
        seq: Seq(3),
        first: Number(5),
        kept: Number(4),
        salt: 0xaabb_ccdd,
        checkpoint: checkpoint(),
    };
    let bytes = header.to_bytes(GroupId(6));
    let hex: String = bytes.iter().map(|b| alloc::format!("{b:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "73796e6f6477616c", // magic
            "bc000000",
            "2a99cd27",
            "01",               // length, checksum, version
            "0600000000000000", // group
            "01",
            "0807060504030201", // layout, log
            "0300000000000000",
            "0500000000000000",
            "0400000000000000",
            "ddccbbaa", // segment, first, kept, salt
            "01",
            "04000000",
            "766f7465", // state
            "0400000000000000",
            "0200000000000000",
            "0000000000000000", // compacted
            "01",
            "0100000000000000", // snapshot's file
            "0900000000000000",
            "0400000000000000", // its id
            "0200000000000000",
            "0000000000000000", // stamp
            "01000000",
            "63",
            "0a00000000000000", // config, size
            "00",
            "01",
            "01",               // nothing taken; something received: its lane
            "0200000000000000", // staged file
            "0900000000000000",
            "0400000000000000",
            "0300000000000000", // id, length
            "01000000",
            "0500000000000000",
            "0700000000000000", // live
        )
    );
}

#[test]
fn a_record_has_golden_bytes() {
    let head = RecordHead {
        number: Number(7),
        back: 2,
        salt: 0xaabb_ccdd,
    };
    let mut out = BytesMut::new();
    let what = Stored::Log(LogRecord::Truncate { from: LogIndex(5) });
    write_record(GroupId(6), head, &what, &mut out);
    let hex: String = out.iter().map(|b| alloc::format!("{b:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "22000000",
            "296f9368",
            "01",
            "0600000000000000", // frame
            "0700000000000000",
            "02000000",
            "ddccbbaa", // head
            "03",
            "0500000000000000", // truncate
        )
    );
    assert_eq!(head.durable(), Number(5));
}

#[test]
fn a_part_of_a_put_has_golden_bytes() {
    let entry = synod_core::Entry::command("x".into());
    let part = Stored::Part(Entries::new(LogIndex(3), Stamp::of(2), [entry]));
    let bytes = part.to_bytes();
    let hex: String = bytes.iter().map(|b| alloc::format!("{b:02x}")).collect();
    // As a put of core, but for the tag.
    let put = Stored::Log(LogRecord::Put(part.clone().into_entries().unwrap()));
    assert_eq!(hex[..2], *"82");
    assert_eq!(bytes[1..], put.to_bytes()[1..]);
    assert_eq!(Stored::decode_all(bytes), Ok(part));
}

#[test]
fn names_read_back_and_others_are_left_alone() {
    for name in [
        FileName::Segment(Seq(0x1f)),
        FileName::Snapshot(Serial(2)),
        FileName::Segment(Seq(NUMBER_MAX)),
        FileName::Unfinished,
    ] {
        assert_eq!(FileName::parse(&name.to_string()), Some(name));
    }
    for name in [
        "log-1f.wal",
        "log-.wal",
        "notes.txt",
        "log-000000000000001F.wal",
        "log-ffffffffffffffff.wal",
        "log-4000000000000001.wal",
        "snapshot-ffffffffffffffff.dat",
        "lock",
    ] {
        assert_eq!(FileName::parse(name), None, "{name}");
    }
}

#[test]
fn numbers_that_cannot_be_counted_on_from_are_refused() {
    let header = |first, kept, seq| SegmentHeader {
        log: 1,
        seq: Seq(seq),
        first: Number(first),
        kept: Number(kept),
        salt: 1,
        checkpoint: Checkpoint::default(),
    };
    let read = |header: SegmentHeader| {
        let mut bytes = header
            .to_bytes(GroupId(0))
            .freeze()
            .slice(SEGMENT_MAGIC.len()..);
        let limit = bytes.len();
        let (_, body) = frame::read_frame(&mut bytes, limit)?;
        SegmentHeader::from_body(body).map(|_| ())
    };
    let refused = Err(DecodeError::Invalid {
        what: "segment header",
        why: "number out of range",
    });
    assert_eq!(read(header(5, 4, 3)), Ok(()));
    assert_eq!(read(header(5, NUMBER_MAX, 3)), Ok(()));
    assert_eq!(read(header(5, 4, NUMBER_MAX)), Ok(()));
    for (first, kept, seq) in [
        (0, 0, 1),
        (5, 3, 1),
        (u64::MAX, u64::MAX, 1),
        (5, 1 << 63, 1),
        (5, NUMBER_MAX + 1, 1),
        (5, 4, u64::MAX),
        (5, 4, NUMBER_MAX + 1),
    ] {
        assert_eq!(
            read(header(first, kept, seq)),
            refused,
            "{first} {kept} {seq}"
        );
    }
}

#[test]
fn a_header_with_more_behind_it_is_refused() {
    let mut body = BytesMut::new();
    body.put_u8(LAYOUT);
    (1u64, Seq(1)).encode(&mut body);
    Number(5).encode(&mut body);
    Number(4).encode(&mut body);
    1u32.encode(&mut body);
    Checkpoint::default().encode(&mut body);
    assert!(SegmentHeader::from_body(body.clone().freeze()).is_ok());
    body.put_u8(0);
    let refused = SegmentHeader::from_body(body.freeze());
    assert_eq!(refused, Err(DecodeError::Trailing { left: 1 }));
}

#[test]
fn what_is_known_of_the_length_of_a_record_is_true() {
    let state = Stored::Log(LogRecord::State(Bytes::from_static(b"four")));
    let mut bytes = BytesMut::new();
    write_record(
        GroupId(0),
        RecordHead::first(Number(1), 2),
        &state,
        &mut bytes,
    );
    assert_eq!(bytes.len(), RECORD_HEADER + state.to_bytes().len());
    assert_eq!(state.size(), 4);
    let chunk = LogRecord::Stage {
        lane: Lane::Taken,
        id: checkpoint().staged[1].map_or_else(|| unreachable!(), |staged| staged.id),
        offset: 0,
        chunk: Bytes::from_static(b"seven.."),
    };
    assert_eq!(record_size(&chunk), 7);
}
