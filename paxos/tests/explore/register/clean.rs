//! The machine as it is breaks no rule.

use super::Register;
use super::setups::{Setup, TWO_WRITES};
use crate::search::{Report, limit, search};
use crate::world::World;

fn nothing_breaks(setups: &[Setup], default: usize) {
    println!("{}", Report::HEAD);
    for setup in setups {
        let mut world = World::new(Register::new(setup.clone()));
        let report = search(&mut world, limit(default));
        println!("{}", report.row(setup.name));
        if let Some((breach, steps)) = &report.failure {
            panic!("{}: {breach:?}\n{}", setup.name, steps.join("\n"));
        }
    }
}

#[test]
fn no_rule_is_broken() {
    let setups = [
        TWO_WRITES,
        Setup::crashing(),
        Setup::expiring(),
        Setup::creating(),
        Setup::reading(),
        Setup::written(),
        Setup::written_crashing(),
        Setup::deleting(),
        Setup::purging(),
    ];
    nothing_breaks(&setups, 30_000);
}
