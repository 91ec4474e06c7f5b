//! The encoding: golden bytes, there and back, and bytes that are none.

use crate::reference::{any_quorum, nodes};
use proptest::prelude::*;
use synod_core::NodeId;
use synod_quorum::{DecodeError, Expr, Grid, Phases, Quorum, SystemError};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// These bytes are in logs on disk. If this test fails, the format needs a new version.
#[test]
fn golden_bytes() {
    let [a, b, d] = [1, 2, 4].map(NodeId);
    let majority = Quorum::majority(nodes([1, 2, 3])).unwrap();
    let wider = Quorum::majority(nodes([1, 2, 3, 4, 5])).unwrap();
    let joint = Quorum::joint(&majority, &wider).unwrap();
    let grid = Quorum::new(Grid::new(nodes(1..=4), 2).unwrap().row()).unwrap();
    let nested = Expr::weighted(
        3,
        [
            (Expr::Node(a), 2),
            (Expr::any([b, d]), 1),
            (Expr::all([b, d]), 1),
        ],
    );
    let check = |quorum: Quorum, golden: &str| {
        let golden = golden.replace(' ', "");
        assert_eq!(hex(&quorum.encode()), golden, "{quorum}");
        assert_eq!(Quorum::decode(&unhex(&golden)), Ok(quorum));
    };
    // version, members, thresholds; of each threshold flags, need, masks, weights
    check(majority.clone(), "01 03 01 01 01 01  00 02 07");
    check(
        majority.over(nodes(1..=4)).unwrap(),
        "01 04 01 01 01 01 01  00 02 07",
    );
    check(Quorum::majority([a]).unwrap(), "01 01 01 01  00 01 01");
    let sparse = Quorum::majority([a, b, NodeId(300)]);
    check(sparse.unwrap(), "01 03 01 01 aa02 01  00 02 07");
    let last = Quorum::majority([NodeId(u64::MAX)]);
    check(last.unwrap(), "01 01 ffffffffffffffffff01 01  00 01 01");
    let weighted = Quorum::weighted(300, [(a, 200), (b, 150), (d, 1)]);
    check(
        weighted.unwrap(),
        "01 03 01 01 02 01  02 ac02 07 c801 9601 01",
    );
    check(
        joint,
        "01 05 01 01 01 01 01 03  00 02 07  00 03 1f  01 02 00 03",
    );
    check(
        grid,
        "01 04 01 01 01 01 03  00 02 03  00 02 0c  01 01 00 03",
    );
    check(
        Quorum::new(nested).unwrap(),
        "01 03 01 01 02 03  00 01 06  00 02 06  03 03 01 03 02 01 01",
    );
}

proptest! {
    #[test]
    fn there_and_back(quorum in any_quorum(7)) {
        let bytes = quorum.encode();
        prop_assert_eq!(Quorum::decode(&bytes), Ok(quorum.clone()));
        for length in 0..bytes.len() {
            let cut = Quorum::decode(&bytes[..length]);
            prop_assert_eq!(cut, Err(DecodeError::Truncated { length }));
        }
        let longer = [&bytes[..], &[0, 0]].concat();
        prop_assert_eq!(Quorum::decode(&longer), Err(DecodeError::Trailing { extra: 2 }));
    }

    #[test]
    fn any_bytes_are_a_system_in_its_only_form_or_an_error(
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        small in any::<bool>(),
    ) {
        if small {
            bytes.iter_mut().for_each(|byte| *byte %= 8);
        }
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(quorum) = Quorum::decode(&bytes) {
            prop_assert_eq!(quorum.encode(), bytes.clone());
        }
        if let Ok(phases) = Phases::decode(&bytes) {
            prop_assert_eq!(phases.encode(), bytes);
        }
    }

    #[test]
    fn damaged_bytes_are_a_system_in_its_only_form_or_an_error(
        quorum in any_quorum(7),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let mut bytes = quorum.encode();
        for (place, bit) in damage {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        if let Ok(quorum) = Quorum::decode(&bytes) {
            prop_assert_eq!(quorum.encode(), bytes);
        }
    }

    #[test]
    fn phases_there_and_back(a in any_quorum(5), b in any_quorum(5)) {
        let Ok(phases) = Phases::new(&a, &b) else {
            return Ok(());
        };
        let bytes = phases.encode();
        prop_assert_eq!(Phases::decode(&bytes), Ok(phases));
        for length in 0..bytes.len() {
            if let Ok(shorter) = Phases::decode(&bytes[..length]) {
                prop_assert_eq!(shorter.encode(), &bytes[..length]);
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let error = |text: &str| Quorum::decode(&unhex(text)).unwrap_err().to_string();
    for (bytes, message) in [
        (
            "",
            "the bytes end after 0, in the middle of a quorum system",
        ),
        (
            "02",
            "format version 2 is unknown (this release reads version 1)",
        ),
        ("0141", "the number of members is 65, allowed is up to 64"),
        (
            "0100",
            "the bytes end after 2, in the middle of a quorum system",
        ),
        ("010000", "a quorum system needs at least one node"),
        (
            "01020100",
            "the bytes end after 4, in the middle of a quorum system",
        ),
        ("0102010001000103", "n1 is listed twice"),
        (
            "0102ffffffffffffffffff010101",
            "the distance to the next id is 1, allowed is up to 0",
        ),
        (
            "010101ffffffffffffffffffff01",
            "a number's length in bytes is 11, allowed is up to 10",
        ),
        (
            "010101ffffffffffffffffff02",
            "a number's length in bytes is 11, allowed is up to 10",
        ),
        (
            "01010141",
            "the number of thresholds is 65, allowed is up to 64",
        ),
        (
            "01010101040101",
            "the flags of a threshold is 4, allowed is up to 3",
        ),
        ("01010101000103", "threshold 0 refers to what is not there"),
        (
            "0101010101010101",
            "threshold 0 refers to what is not there",
        ),
        (
            "0102010102000101000102",
            "threshold 0 refers to what is not there",
        ),
        (
            "01010101000201",
            "the threshold (2) must be between 1 and the total weight (1)",
        ),
        (
            "01010101000001",
            "the threshold (0) must be between 1 and the total weight (1)",
        ),
        (
            "01020101010201030002",
            "a weight is 0; weights must be at least 1",
        ),
        ("01010101000100", "a quorum system needs at least one node"),
        // equal weights are written as a count
        (
            "01020101010201030101",
            "the bytes are not in canonical form",
        ),
        // a threshold over one part is that part
        (
            "0101010200010101010001",
            "the bytes are not in canonical form",
        ),
        // a number with a byte too many
        ("0181000101000101", "the bytes are not in canonical form"),
    ] {
        assert_eq!(error(bytes), message, "{bytes}");
    }
}

/// Thresholds that refer to one another all over would unfold to a tree of 2⁶² parts.
#[test]
fn a_part_is_used_once() {
    let mut bytes = unhex("01 01 01 40  00 01 01".replace(' ', "").as_str());
    for index in 1..64_u32 {
        bytes.extend([1, 1, 0]);
        let mut earlier = (1_u64 << index) - 1;
        while earlier >= 0x80 {
            bytes.push(earlier as u8 | 0x80);
            earlier >>= 7;
        }
        bytes.push(earlier as u8);
    }
    let error = Quorum::decode(&bytes);
    assert_eq!(error, Err(DecodeError::Reference { index: 2 }));
}

#[test]
fn phases_are_proved_anew() {
    let half = Quorum::count(2, nodes(1..=4)).unwrap().encode();
    let mut bytes = vec![1, half.len() as u8];
    bytes.extend(half);
    let error = Phases::decode(&bytes).unwrap_err();
    assert!(
        matches!(error, DecodeError::System(SystemError::Disjoint(..))),
        "{error}"
    );

    let same = Phases::majority(nodes([1, 2, 3])).unwrap();
    assert_eq!(hex(&same.encode()), "0109010301010101000207");
    let differ = Phases::new(
        &Quorum::count(3, nodes(1..=4)).unwrap(),
        &Quorum::count(2, nodes(1..=4)).unwrap(),
    );
    assert_eq!(
        hex(&differ.unwrap().encode()),
        "010a01040101010101000 30f01040101010101000 20f".replace(' ', ""),
    );
    // the replication quorum, though it is the same
    let twice = [same.encode(), same.election().encode()].concat();
    assert_eq!(Phases::decode(&twice), Err(DecodeError::NotCanonical));
    assert_eq!(Phases::decode(&[9]), Err(DecodeError::Version { found: 9 }));
    assert_eq!(
        Phases::decode(&[1, 5, 1]).unwrap_err().to_string(),
        "the length of the election quorum is 5, allowed is up to 3"
    );
}

#[test]
fn the_largest_system_fits() {
    let grid = Grid::new(nodes((0..64).map(|i| u64::MAX - i * i)), 2).unwrap();
    let quorum = Quorum::new(Expr::any([grid.row(), grid.one_per_column()])).unwrap();
    assert_eq!(Quorum::decode(&quorum.encode()), Ok(quorum));
}
