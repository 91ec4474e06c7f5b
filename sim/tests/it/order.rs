//! The direct check of a known order.

use synod_sim::linear::{OrderFault, Register, verify_order};

use crate::script::Script;

#[test]
fn each_fault_is_named() {
    let mut script = Script::default();
    let failed = script.failed_write(9, 9, 0);
    let first = script.write(1, 1, 0..10);
    let second = script.write(2, 2, 5..15);
    let read = script.read(3, 2, 20..30);
    let unknown = script.unknown_write(4, 3, 0);
    let verify = |order: &[_]| verify_order(&Register::new(0), &script.history, order);
    assert_eq!(verify(&[first, second, read]), Ok(()));
    assert_eq!(verify(&[unknown, first, second, read]), Ok(()));
    assert_eq!(verify(&[first, second, read, unknown]), Ok(()));
    assert_eq!(
        verify(&[second, first, read]),
        Err(OrderFault::Answer { op: read })
    );
    assert_eq!(
        verify(&[first, second, unknown, read]),
        Err(OrderFault::Answer { op: read })
    );
    let backwards = OrderFault::RealTime {
        earlier: read,
        later: second,
    };
    assert_eq!(verify(&[first, read, second]), Err(backwards));
    assert_eq!(
        verify(&[first, read]),
        Err(OrderFault::Missing { op: second })
    );
    assert_eq!(
        verify(&[first, first, read]),
        Err(OrderFault::Twice { op: first })
    );
    let failed = verify(&[failed, first, second, read]).map_err(|fault| fault.to_string());
    assert_eq!(failed, Err("op0 is in the order, but it failed".into()));
}

/// The latest invocation so far counts, not the last one in the order.
#[test]
fn real_time_reaches_over_what_lies_between() {
    let mut script = Script::default();
    let early = script.write(1, 1, 0..10);
    let long = script.write(2, 2, 5..100);
    let late = script.write(3, 3, 20..30);
    let verify = |order: &[_]| verify_order(&Register::new(0), &script.history, order);
    let fault = OrderFault::RealTime {
        earlier: late,
        later: early,
    };
    assert_eq!(verify(&[late, long, early]), Err(fault));
    assert_eq!(verify(&[early, late, long]), Ok(()));
}
