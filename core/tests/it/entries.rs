//! Runs of entries against a naive list.

use proptest::collection::vec;
use proptest::prelude::*;
use synod_core::{Entries, Entry, LogIndex, Stamp};

use crate::strategies::entry;

/// The same run, as a list of places and entries.
#[derive(Clone, Debug, PartialEq)]
struct Naive(Vec<(LogIndex, Entry)>);

impl Naive {
    fn keep(&self, rule: impl Fn(LogIndex) -> bool) -> Self {
        Self(self.0.iter().filter(|(i, _)| rule(*i)).cloned().collect())
    }

    fn weight(&self) -> usize {
        self.0.iter().map(|(_, entry)| entry.weight()).sum()
    }
}

fn naive(run: &Entries) -> Naive {
    Naive(run.iter().map(|(i, entry)| (i, entry.clone())).collect())
}

#[derive(Clone, Debug)]
enum Cut {
    After(u64),
    Through(u64),
    Within(u64, usize),
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        (0..40_u64).prop_map(Cut::After),
        (0..40_u64).prop_map(Cut::Through),
        (1..40_u64, 0..1500_usize).prop_map(|(from, bytes)| Cut::Within(from, bytes)),
    ]
}

proptest! {
    #[test]
    fn cuts_are_those_of_a_list(
        first in 1..20_u64,
        entries in vec(entry(), 0..20),
        cuts in vec(cut(), 0..6),
    ) {
        let mut run = Entries::new(LogIndex(first), Stamp::of(1), entries);
        let mut list = naive(&run);
        for cut in cuts {
            (run, list) = match cut {
                Cut::After(index) => {
                    (run.after(LogIndex(index)), list.keep(|i| i > LogIndex(index)))
                }
                Cut::Through(index) => {
                    (run.through(LogIndex(index)), list.keep(|i| i <= LogIndex(index)))
                }
                Cut::Within(from, bytes) => {
                    let mut fits = list.keep(|i| i >= LogIndex(from));
                    while fits.weight() > bytes && fits.0.len() > 1 {
                        fits.0.pop();
                    }
                    (run.within(LogIndex(from), bytes), fits)
                }
            };
            prop_assert_eq!(naive(&run), list.clone());
            prop_assert_eq!(run.weight(), list.weight());
            prop_assert_eq!(run.len(), list.0.len());
            prop_assert_eq!(run.is_empty(), list.0.is_empty());
            for index in (0..45).map(LogIndex) {
                let entry = list.0.iter().find(|(i, _)| *i == index).map(|(_, entry)| entry);
                prop_assert_eq!(run.get(index), entry);
                prop_assert_eq!(run.contains(index), entry.is_some());
            }
            if let (Some((head, _)), Some((end, _))) = (list.0.first(), list.0.last()) {
                prop_assert_eq!((run.first(), run.last()), (*head, *end));
            }
            prop_assert_eq!(run.last().next(), run.first().plus(run.len() as u64));
        }
    }

    #[test]
    fn what_was_cut_joins_again(
        entries in vec(entry(), 1..20),
        cuts in vec(1..20_u64, 0..4),
    ) {
        let run = Entries::new(LogIndex(1), Stamp::of(1), entries);
        let mut cuts: Vec<u64> = cuts.into_iter().filter(|cut| *cut < run.last().0).collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts.push(run.last().0);
        let mut rest = run.clone();
        let mut parts = Vec::new();
        for cut in cuts {
            parts.push(rest.through(LogIndex(cut)));
            rest = rest.after(LogIndex(cut));
        }
        prop_assert_eq!(Entries::join(&parts), Some(run));
        if parts.len() > 1 {
            let gap = [parts[0].clone(), parts[parts.len() - 1].after(parts[0].last().next())];
            prop_assert_eq!(Entries::join(&gap), None);
        }
    }
}

#[test]
fn runs_of_different_stamps_do_not_join() {
    let run = |first, term| Entries::new(LogIndex(first), Stamp::of(term), [Entry::blank()]);
    assert!(Entries::join(&[run(1, 1), run(2, 1)]).is_some());
    assert_eq!(Entries::join(&[run(1, 1), run(2, 2)]), None);
    assert_eq!(Entries::join(&[run(1, 1), run(3, 1)]), None);
    assert_eq!(Entries::join(&[]), None);
}

#[test]
fn an_empty_run_may_lie_at_the_start() {
    let empty = Entries::empty(LogIndex::START, Stamp::START);
    assert_eq!((empty.len(), empty.last()), (0, LogIndex::START));
}
