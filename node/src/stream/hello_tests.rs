use super::*;
use synod_core::Rng;

fn encoded(greeting: &Greeting) -> BytesMut {
    let mut out = BytesMut::new();
    greeting.encode(&mut out);
    out
}

fn hello() -> Hello {
    Hello {
        oldest: 1,
        newest: 2,
        cluster: ClusterId(3),
        groups: Groups::One(GroupId(4)),
        from: NodeId(5),
        to: NodeId(6),
        boot: 7,
        max_frame: 8,
    }
}

fn refusals() -> Vec<Refusal> {
    let groups = (Groups::One(GroupId(1)), Groups::Many);
    vec![
        Refusal::Version {
            ours: (1, 2),
            theirs: (3, 4),
        },
        Refusal::Cluster {
            ours: ClusterId(1),
            theirs: ClusterId(2),
        },
        Refusal::Groups {
            ours: groups.0,
            theirs: groups.1,
        },
        Refusal::OwnId(NodeId(1)),
        Refusal::Recipient {
            ours: NodeId(1),
            wanted: NodeId(2),
        },
        Refusal::Unexpected {
            dialled: NodeId(1),
            theirs: NodeId(2),
        },
        Refusal::Certificate(NodeId(1)),
        Refusal::UnknownPeer(NodeId(1)),
        Refusal::Full(9),
        Refusal::Superseded,
        Refusal::Closing,
        Refusal::Other(200),
    ]
}

#[test]
fn every_greeting_reads_back() {
    let mut all: Vec<_> = refusals().into_iter().map(Greeting::Refuse).collect();
    all.push(Greeting::Hello(hello()));
    all.push(Greeting::Confirm(17));
    for greeting in all {
        let read = Greeting::decode_all(encoded(&greeting).freeze());
        assert_eq!(read, Ok(greeting));
    }
}

#[test]
fn the_bytes_of_a_hello_are_golden() {
    let bytes = encoded(&Greeting::Hello(hello()));
    let expected: &[u8] = &[
        b's', b'y', b'n', b'o', b'd', 1, 49, 0, // magic, tag, length
        232, 47, 234, 243, // checksum
        1, 0, 2, 0, // versions
        3, 0, 0, 0, 0, 0, 0, 0, // cluster
        0, 4, 0, 0, 0, 0, 0, 0, 0, // group
        5, 0, 0, 0, 0, 0, 0, 0, // from
        6, 0, 0, 0, 0, 0, 0, 0, // to
        7, 0, 0, 0, 0, 0, 0, 0, // boot
        8, 0, 0, 0, // longest frame
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn every_damaged_bit_is_noticed() {
    let whole = encoded(&Greeting::Hello(hello()));
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Greeting::decode(&mut damaged.freeze()).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn a_longer_hello_of_a_later_version_is_understood() {
    let mut whole = encoded(&Greeting::Hello(hello()));
    whole.extend_from_slice(b"news");
    let length = u16::try_from(whole.len() - HEADER).unwrap();
    whole[6..8].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(1, &whole[HEADER..]);
    whole[8..HEADER].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(
        Greeting::decode_all(whole.freeze()),
        Ok(Greeting::Hello(hello()))
    );
}

#[test]
fn any_bytes_are_a_greeting_or_an_error() {
    let mut rng = Rng::new(3);
    for _ in 0..20_000 {
        let len = usize::try_from(rng.below(80)).unwrap();
        let mut bytes = BytesMut::zeroed(HEADER + len);
        bytes
            .iter_mut()
            .for_each(|byte| *byte = rng.next_u64().to_le_bytes()[0]);
        // Past the outer checks more often than chance would have it.
        bytes[..5].copy_from_slice(&MAGIC);
        bytes[5] %= 4;
        bytes[6..8].copy_from_slice(&u16::try_from(len).unwrap().to_le_bytes());
        let sum = checksum(bytes[5], &bytes[HEADER..]);
        bytes[8..HEADER].copy_from_slice(&sum.to_le_bytes());
        let _ = Greeting::decode(&mut bytes.freeze());
    }
}
