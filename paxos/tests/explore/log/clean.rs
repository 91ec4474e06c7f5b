//! The machine as it is breaks no rule.

use super::Log;
use super::setups::{BIRTH, Setup};
use crate::search::{Report, limit, search};
use crate::world::World;

fn nothing_breaks(setups: &[Setup], default: usize) {
    println!("{}", Report::HEAD);
    for setup in setups {
        let mut world = World::new(Log::new(setup.clone()));
        let report = search(&mut world, limit(default));
        println!("{}", report.row(setup.name));
        if let Some((breach, steps)) = &report.failure {
            panic!("{}: {breach:?}\n{}", setup.name, steps.join("\n"));
        }
    }
}

#[test]
fn no_rule_is_broken_from_the_beginning() {
    let setups = [BIRTH, Setup::crashing(), Setup::leading(), Setup::slow()];
    nothing_breaks(&setups, 60_000);
}

#[test]
fn no_rule_is_broken_where_ballots_meet() {
    let setups = [
        Setup::led(),
        Setup::promised(),
        Setup::gap(),
        Setup::chosen_with_3(),
        Setup::taken_over(),
        Setup::two_leaders(),
        Setup::two_values(),
        Setup::two_values_unheard(),
        Setup::unasked(),
    ];
    nothing_breaks(&setups, 60_000);
}
