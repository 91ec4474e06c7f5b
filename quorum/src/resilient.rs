//! Quorums with members to spare: sets that still are quorums after any `f` of their members
//! failed.

use crate::error::TooComplex;
use crate::minimal::{Classes, MAX_QUORUMS};
use crate::{NodeSet, Quorum};
use alloc::vec;
use alloc::vec::Vec;

/// The most combinations of members per class that are looked at.
const MAX_COMBINATIONS: usize = 1 << 16;

/// Representatives, by class as in [`minimal::representatives`](crate::minimal), of the minimal
/// sets that stay quorums whichever `failures` of their members fail. There may be none.
///
/// Each combination of how many members of each class a set has is a number in a mixed base, in
/// ascending order, so that a set comes after all sets that it contains.
pub(crate) fn representatives(
    quorum: &Quorum,
    classes: &Classes,
    failures: usize,
) -> Result<Vec<NodeSet>, TooComplex> {
    let places = places(classes)?;
    let total = places.last().map_or(1, |place| place.step * place.base);
    let mut stays: Vec<bool> = (0..total)
        .map(|number| quorum.is_quorum(set(&places, number)))
        .collect();
    let smaller = |number: usize| {
        let has = move |place: &&Place| place.digit(number) > 0;
        places
            .iter()
            .filter(has)
            .map(move |place| number - place.step)
    };
    for _ in 0..failures {
        // a set survives one failure more if it does without any one of its members; the empty
        // set survives nothing
        let next = (0..total).map(|number| number > 0 && smaller(number).all(|less| stays[less]));
        stays = next.collect();
    }
    let minimal = |number: &usize| stays[*number] && !smaller(*number).any(|less| stays[less]);
    let mut found: Vec<NodeSet> = (0..total)
        .filter(minimal)
        .map(|number| set(&places, number))
        .collect();
    if found.len() > MAX_QUORUMS {
        return Err(TooComplex {
            limit: MAX_QUORUMS,
            what: "minimal quorums",
        });
    }
    found.sort_unstable_by_key(|set| (set.len(), *set));
    Ok(found)
}

/// A digit: how many members of a class.
struct Place {
    class: NodeSet,
    base: usize,
    step: usize,
}

impl Place {
    const fn digit(&self, number: usize) -> usize {
        number / self.step % self.base
    }
}

fn places(classes: &Classes) -> Result<Vec<Place>, TooComplex> {
    let mut places = vec![];
    let mut step = 1;
    for class in classes.as_slice() {
        let base = class.len() + 1;
        places.push(Place {
            class: *class,
            base,
            step,
        });
        step *= base;
        if step > MAX_COMBINATIONS {
            return Err(TooComplex {
                limit: MAX_COMBINATIONS,
                what: "combinations of members",
            });
        }
    }
    Ok(places)
}

/// The first members of each class, as many as the number's digits say.
fn set(places: &[Place], number: usize) -> NodeSet {
    let of_place = |place: &Place| place.class.iter().take(place.digit(number));
    places.iter().flat_map(of_place).collect()
}
