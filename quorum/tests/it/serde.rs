//! serde: there and back, readable, and as strict as the constructors.

use crate::reference::{any_quorum, nodes};
use proptest::prelude::*;
use synod_quorum::{Phases, Quorum, ReadWrite};

proptest! {
    #[test]
    fn there_and_back(quorum in any_quorum(6)) {
        let text = serde_json::to_string(&quorum).unwrap();
        prop_assert_eq!(serde_json::from_str::<Quorum>(&text).unwrap(), quorum);
    }
}

#[test]
fn a_majority_is_readable() {
    let quorum = Quorum::majority(nodes([4, 7, 9])).unwrap();
    assert_eq!(
        serde_json::to_string(&quorum).unwrap(),
        r#"{"members":[4,7,9],"gates":[{"need":2,"nodes":[4,7,9],"gates":[],"weights":[]}]}"#,
    );
}

#[test]
fn what_constructors_refuse_is_refused() {
    let error = |gates: &str| {
        let text = format!(r#"{{"members":[1,2],"gates":[{gates}]}}"#);
        serde_json::from_str::<Quorum>(&text)
            .unwrap_err()
            .to_string()
    };
    let gate = |need: u64, nodes: &str, gates: &str, weights: &str| {
        format!(r#"{{"need":{need},"nodes":[{nodes}],"gates":[{gates}],"weights":[{weights}]}}"#)
    };
    assert!(error("").contains("at least one node"));
    assert!(error(&gate(3, "1,2", "", "")).contains("the threshold (3)"));
    assert!(error(&gate(2, "1", "", "")).contains("the threshold (2)"));
    assert!(error(&gate(1, "1,1", "", "")).contains("n1 is listed twice"));
    assert!(error(&gate(1, "1,3", "", "")).contains("n3 is in the quorum system but not"));
    let many = |count| vec![gate(1, "1", "", ""); count].join(",");
    assert!(error(&many(65)).contains("65 nested thresholds"));
    assert!(error(&many(64)).contains("threshold 0 refers to"));
    for broken in [
        gate(1, "2,1", "", ""),
        gate(1, "1", "0", ""),
        gate(1, "1", "", "1,1"),
    ] {
        assert!(error(&broken).contains("threshold 0 refers to"), "{broken}");
    }
}

#[test]
fn a_system_is_proved_anew() {
    let phases = Phases::majority(nodes([1, 2, 3])).unwrap();
    let text = serde_json::to_string(&phases).unwrap();
    assert_eq!(serde_json::from_str::<Phases>(&text).unwrap(), phases);
    // one of three instead of two
    let broken = text.replace(r#""need":2"#, r#""need":1"#);
    let error = serde_json::from_str::<Phases>(&broken)
        .unwrap_err()
        .to_string();
    assert!(error.contains("have no node in common"), "{error}");

    let system = ReadWrite::read_one_write_all(nodes([1, 2])).unwrap();
    let text = serde_json::to_string(&system).unwrap();
    assert_eq!(serde_json::from_str::<ReadWrite>(&text).unwrap(), system);
}
