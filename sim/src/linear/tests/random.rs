//! Many random small histories: the checker and the brute force agree on each.

use core::fmt::Debug;

use super::Rng;
use super::brute::{Item, Items, explained};
use super::cases::{Case, CaseOf, Fate, Object, Registers, Shape};
use crate::linear::memo::States;
use crate::linear::partition::partition;
use crate::linear::search::{End, search};
use crate::linear::window::{Core, Start, minimise};
use crate::linear::{Checker, KvMap, Verdict, verify_order};

pub(super) const SMALL: Shape = Shape {
    clients: 3,
    ops: 7,
    unknown_percent: 40,
    wrong_percent: 75,
    values: 3,
};

/// Nearly each write has a value of its own.
pub(super) const DISTINCT: Shape = Shape {
    values: 100,
    ..SMALL
};

/// How often what was seen.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) cases: usize,
    pub(super) linearizable: usize,
    pub(super) with_unknown: usize,
    /// Not linearizable if what is unknown never happened.
    pub(super) needs_unknown: usize,
    pub(super) bounded: usize,
    pub(super) given_up: usize,
    pub(super) window_ops: usize,
}

/// Judges `cases` random histories by brute force and by the checker; the first disagreement is
/// the error.
pub(super) fn sweep<M: Object + Clone>(
    model: &M,
    seed: u64,
    cases: usize,
    shape: Shape,
) -> Result<Rates, String> {
    let mut rates = Rates::default();
    let mut rng = Rng(seed);
    for number in 0..cases {
        let case = Case::random(model, &mut rng, shape);
        judge(model, &case, number, &mut rates)
            .map_err(|fault| format!("case {number} of seed {seed}: {fault}\n{case:#?}"))?;
    }
    Ok(rates)
}

fn judge<M: Object + Clone>(
    model: &M,
    case: &CaseOf<M>,
    number: usize,
    rates: &mut Rates,
) -> Result<(), String> {
    let keys = case.keys(model);
    let is_explained = |keep: fn(&Item<M::Op, M::Ret>) -> bool| {
        keys.iter().all(|key| {
            let (mut items, _) = case.items(model, key);
            items.retain(keep);
            explained(model, &items, &[model.initial(key)], &mut Vec::new())
        })
    };
    let truth = is_explained(|_| true);
    rates.cases += 1;
    rates.linearizable += usize::from(truth);
    let is_unknown = |fate| fate == Fate::Unknown;
    rates.with_unknown += usize::from(case.calls.iter().any(|call| is_unknown(call.fate)));
    rates.needs_unknown += usize::from(truth && !is_explained(|item| item.until.is_some()));
    rates.bounded += usize::from(case.calls.iter().any(|call| call.bound.is_some()));

    let (history, ids) = case.history();
    let checker = Checker::new(model.clone()).step_limit(100_000);
    match checker.check(&history) {
        Verdict::Linearizable(parts) => {
            expect(truth, "the checker found an order, but there is none")?;
            expect(parts.len() <= keys.len(), "more parts than keys")?;
            for part in parts {
                let order: Vec<_> = part.order.iter().map(|id| index(&ids, *id)).collect();
                expect(
                    fits(model, case, &part.key, &order),
                    "the order explains nothing",
                )?;
            }
        }
        Verdict::NotLinearizable(violation) => {
            expect(!truth, "the checker found no order, but there is one")?;
            expect(
                violation.ops.contains(&violation.stuck),
                "stuck outside the window",
            )?;
            rates.window_ops += violation.ops.len();
            evidence(model, case, &violation.key)?;
        }
        Verdict::Unknown { .. } => return Err("gave up on a small history".into()),
    }
    match Checker::new(model.clone())
        .step_limit(number as u64 % 8)
        .check(&history)
    {
        Verdict::Linearizable(_) => expect(truth, "out of steps means ok"),
        Verdict::NotLinearizable(_) => expect(!truth, "out of steps means not ok"),
        Verdict::Unknown { .. } => {
            rates.given_up += 1;
            Ok(())
        }
    }
}

fn expect(holds: bool, fault: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault.into()) }
}

fn index<T: PartialEq>(all: &[T], one: T) -> usize {
    all.iter()
        .position(|it| *it == one)
        .expect("it is one of all")
}

/// Whether this order of calls is one that the brute force would accept.
fn fits<M: Object>(model: &M, case: &CaseOf<M>, key: &M::Key, order: &[usize]) -> bool {
    let (items, which) = case.items(model, key);
    let mut pinned: Items<M> = Vec::new();
    for (place, call) in order.iter().enumerate() {
        let item = &items[index(&which, *call)];
        let after = order[place + 1..]
            .iter()
            .map(|call| &items[index(&which, *call)]);
        if after
            .clone()
            .any(|later| later.until.is_some_and(|until| until < item.from))
        {
            return false;
        }
        let (from, until) = (2 * place, Some(2 * place + 1));
        pinned.push(Item {
            from,
            until,
            ..item.clone()
        });
    }
    let is_there = |(item, call): (&Item<_, _>, &usize)| {
        item.until.is_none() || order.iter().filter(|it| *it == call).count() == 1
    };
    items.iter().zip(&which).all(is_there)
        && explained(model, &pinned, &[model.initial(key)], &mut Vec::new())
}

/// Whether the window of a violation is evidence by itself, and none of it can be spared.
fn evidence<M: Object>(model: &M, case: &CaseOf<M>, key: &M::Key) -> Result<(), String> {
    let (history, _) = case.history();
    let part = &partition(model, &history)[key];
    let mut states = States::new();
    let start = states.met(model.initial(key));
    let (mut steps, limit) = (0, 100_000);
    let End::None(stuck) = search(model, part, &mut states, &[start], &mut steps, limit) else {
        return Err("no violation the second time".into());
    };
    let all_met = states.all_met();
    let Core { ops, stuck, start } = minimise(model, part, &mut states, stuck, limit);
    let end = part[stuck as usize].by.ok_or("stuck at no answer")?;

    let (whole, _) = case.items(model, key);
    let mut met = Vec::new();
    explained(model, &whole, &[model.initial(key)], &mut met);
    let all_met = all_met.iter().map(|&number| states.state(number).clone());
    let all_met: Vec<_> = all_met.collect();
    expect(
        met.iter().all(|state| all_met.contains(state)),
        "a state was not met",
    )?;
    let (cut, starts) = match start {
        Start::Initial => (0, vec![model.initial(key)]),
        Start::Cut(cut) => (cut, all_met),
    };
    let explained_by = |demanded: &[u32]| {
        let mut items: Items<M> = Vec::new();
        for (it, entry) in (0..).zip(part) {
            let is_over = entry.by.is_some_and(|by| by <= end);
            let (mut from, mut until, mut ret) = (entry.call as usize, None, entry.ret.cloned());
            if demanded.contains(&it) {
                until = entry.by.map(|by| by as usize);
            } else if entry.call >= end || entry.by.is_some_and(|by| by < cut) {
                continue;
            } else if is_over && entry.call >= cut {
                (from, ret) = (cut as usize, None);
            }
            items.push(Item {
                op: entry.op.clone(),
                ret,
                from,
                until,
            });
        }
        explained(model, &items, &starts, &mut Vec::new())
    };
    expect(!explained_by(&ops), "the window can be explained")?;
    for spare in 0..ops.len() {
        let mut fewer = ops.clone();
        fewer.remove(spare);
        expect(explained_by(&fewer), "the window could be smaller")?;
    }
    Ok(())
}

fn healthy(rates: &Rates) {
    let share = |part: usize| 100 * part / rates.cases;
    println!("{rates:?}");
    assert!((30..=80).contains(&share(rates.linearizable)), "{rates:?}");
    assert!(share(rates.with_unknown) >= 40, "{rates:?}");
    assert!(share(rates.needs_unknown) >= 3, "{rates:?}");
    assert!(share(rates.bounded) >= 20, "{rates:?}");
    assert!(share(rates.given_up) >= 20, "{rates:?}");
}

#[test]
fn agrees_with_the_brute_force_on_registers() {
    let rates =
        sweep(&Registers::new(0), 1, 100_000, SMALL).unwrap_or_else(|fault| panic!("{fault}"));
    healthy(&rates);
}

#[test]
fn agrees_with_the_brute_force_on_distinct_values() {
    let rates = sweep(&Registers::new(0), 5, 30_000, DISTINCT);
    healthy(&rates.unwrap_or_else(|fault| panic!("{fault}")));
}

#[test]
fn agrees_with_the_brute_force_on_maps() {
    let rates = sweep(&KvMap, 2, 30_000, SMALL).unwrap_or_else(|fault| panic!("{fault}"));
    healthy(&rates);
}

/// A little longer, on one thread of control: what the checker says to be an order passes the
/// direct check, key by key.
#[test]
fn orders_pass_the_direct_check() {
    let shape = Shape {
        clients: 5,
        ops: 60,
        unknown_percent: 10,
        wrong_percent: 0,
        values: 3,
    };
    let mut rng = Rng(3);
    for _ in 0..300 {
        let case = Case::random(&KvMap, &mut rng, shape);
        let mut whole = case.clone();
        for key in case.keys(&KvMap) {
            whole.calls = case.calls.clone();
            whole.calls.retain(|call| call.op.key == key);
            let (history, _) = whole.history();
            let Verdict::Linearizable(parts) = Checker::new(KvMap).check(&history) else {
                panic!("a correct map's history is linearizable: {whole:#?}");
            };
            for part in parts {
                assert_eq!(verify_order(&KvMap, &history, &part.order), Ok(()));
            }
        }
    }
}
