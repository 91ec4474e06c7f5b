//! The checker against the one of the crate `todc-utils`, which takes complete histories only.

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as TodcHistory};
use todc_utils::specifications::Specification;

use super::Rng;
use super::cases::{Case, CaseOf, Registers, Shape};
use crate::linear::{Checker, Model, RegisterOp, RegisterRet};

/// A register for `todc-utils`, whose operations carry their answers.
struct Spec;

impl Specification for Spec {
    type State = [u8; 2];
    type Operation = (RegisterOp<u8, u8>, Option<RegisterRet<u8>>);

    fn init() -> Self::State {
        [0; 2]
    }

    fn apply((op, ret): &Self::Operation, state: &Self::State) -> (bool, Self::State) {
        let model = Registers::new(0);
        let key = usize::from(model.key(op));
        let mut after = *state;
        let Some(value) = model.step(&state[key], op, ret.as_ref()) else {
            return (false, *state);
        };
        after[key] = value;
        (true, after)
    }
}

#[test]
fn agrees_with_todc_utils() {
    let shape = Shape {
        clients: 4,
        ops: 14,
        unknown_percent: 0,
        wrong_percent: 75,
        values: 3,
    };
    let mut rng = Rng(4);
    let mut good = 0;
    for number in 0..10_000 {
        let mut case: CaseOf<Registers> = Case::random(&Registers::new(0), &mut rng, shape);
        case.calls.iter_mut().for_each(|call| call.bound = None);
        let mut events = Vec::new();
        for call in &case.calls {
            let client = call.client as usize;
            events.push((call.called, client, Action::Call((call.op.clone(), None))));
            let response = Action::Response((call.op.clone(), call.ret.clone()));
            events.push((call.ended, client, response));
        }
        events.sort_by_key(|(event, ..)| *event);
        let actions = events
            .into_iter()
            .map(|(_, client, action)| (client, action))
            .collect();
        let theirs = WGLChecker::<Spec>::is_linearizable(TodcHistory::from_actions(actions));
        let (history, _) = case.history();
        let ours = Checker::new(Registers::new(0)).check(&history);
        assert_eq!(ours.is_linearizable(), theirs, "case {number}: {case:#?}");
        good += usize::from(theirs);
    }
    assert!(
        (3_000..=8_000).contains(&good),
        "{good} of 10,000 are linearizable"
    );
}
