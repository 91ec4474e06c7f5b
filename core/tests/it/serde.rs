//! What derives `serde` reads back, and refuses what the codec refuses.

use proptest::prelude::*;
use synod_core::{
    Change, Denial, Entries, LogIndex, NodeId, Outcome, ReadLevel, Role, Round, SessionToken,
};

use crate::codec::record;

fn round_trip<T>(value: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + core::fmt::Debug,
{
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

proptest! {
    #[test]
    fn every_record_reads_back(record in record()) {
        round_trip(&record);
    }
}

#[test]
fn the_small_ones_read_back() {
    round_trip(&Change::Voters(vec![NodeId(1), NodeId(9)]));
    round_trip(&ReadLevel::Session(SessionToken(LogIndex(7))));
    round_trip(&Role::Learner);
    round_trip(&Round(7));
    for outcome in [
        Outcome::Accepted(LogIndex(7)),
        Outcome::Refused(Denial::Busy { limit: 7 }),
        Outcome::Unknown,
    ] {
        round_trip(&outcome);
    }
}

#[test]
fn an_index_out_of_range_is_refused() {
    let text = |first: u64| {
        format!(
            r#"{{"first":{first},"stamp":{{"number":1,"node":0}},"entries":[{{"kind":"Blank","payload":[]}}]}}"#
        )
    };
    assert!(serde_json::from_str::<Entries>(&text(1)).is_ok());
    assert!(serde_json::from_str::<Entries>(&text(0)).is_err());
    assert!(serde_json::from_str::<Entries>(&text(u64::MAX)).is_err());
}
