//! The obviously right answer: try every order of every subset.

use crate::linear::Model;

/// One operation: what was asked, what was answered if that matters, and from when until when it
/// may have taken effect. Without an end it need not have.
#[derive(Clone, Debug)]
pub(super) struct Item<Op, Ret> {
    pub(super) op: Op,
    pub(super) ret: Option<Ret>,
    pub(super) from: usize,
    pub(super) until: Option<usize>,
}

pub(super) type Items<M> = Vec<Item<<M as Model>::Op, <M as Model>::Ret>>;

/// Whether some order of `items` explains them all, from one of `starts`. Collects the states that
/// any partial order leads to in `met`.
pub(super) fn explained<M: Model>(
    model: &M,
    items: &Items<M>,
    starts: &[M::State],
    met: &mut Vec<M::State>,
) -> bool {
    let mut is_explained = false;
    for start in starts {
        is_explained |= extend(model, items, &mut vec![false; items.len()], start, met);
    }
    is_explained
}

fn extend<M: Model>(
    model: &M,
    items: &Items<M>,
    taken: &mut Vec<bool>,
    state: &M::State,
    met: &mut Vec<M::State>,
) -> bool {
    if !met.contains(state) {
        met.push(state.clone());
    }
    let left = |index: &usize| !taken[*index];
    let mut is_explained = (0..items.len())
        .filter(left)
        .all(|it| items[it].until.is_none());
    for next in 0..items.len() {
        let must_wait = |&other: &usize| {
            let until = items[other].until;
            !taken[other] && until.is_some_and(|until| until < items[next].from)
        };
        if taken[next] || (0..items.len()).any(|other| must_wait(&other)) {
            continue;
        }
        let Item { op, ret, .. } = &items[next];
        if let Some(after) = model.step(state, op, ret.as_ref()) {
            taken[next] = true;
            is_explained |= extend(model, items, taken, &after, met);
            taken[next] = false;
        }
    }
    is_explained
}
