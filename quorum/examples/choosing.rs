//! Which quorum system for nine nodes? How many failures it survives, and how much it carries.
//!
//! `cargo run -p synod-quorum --example choosing`

#![allow(clippy::print_stdout)] // an example shows its results

use core::error::Error;
use synod_core::NodeId;
use synod_quorum::{Demand, Expr, Grid, Phases, Quorum, ReadWrite};

fn main() -> Result<(), Box<dyn Error>> {
    // three data centres of three nodes each; the first has better machines
    let nodes = || (1..=9).map(NodeId);
    let centres = [1, 4, 7].map(|first| (first..first + 3).map(NodeId));
    let grid = Grid::new(nodes(), 3)?;

    let systems = [
        ("majority", ReadWrite::majority(nodes())?),
        ("read 3, write 7", ReadWrite::counts(nodes(), 3, 7)?),
        (
            "read one, write all",
            ReadWrite::read_one_write_all(nodes())?,
        ),
        (
            "hierarchical",
            ReadWrite::from_reads(&Quorum::hierarchical(centres.clone())?),
        ),
        ("grid", ReadWrite::from_reads(&Quorum::new(grid.row())?)),
        ("weighted", weighted(nodes())?),
    ];

    println!(
        "                       failures survived     operations per second, one node doing 1000"
    );
    println!("                       reading   writing     10% reads   50% reads   90% reads");
    for (name, system) in &systems {
        print!(
            "{name:<20}   {:>7}   {:>7}",
            system.read_resilience()?,
            system.write_resilience()?
        );
        for fraction in [0.1, 0.5, 0.9] {
            let plan = system.plan(&machines(Demand::reads(fraction)))?;
            print!("   {:>9.0}", plan.capacity());
        }
        println!();
    }

    println!("\nWhat the best strategy for the grid does with 90% reads:");
    let (_, grid) = &systems[4];
    let plan = grid.plan(&machines(Demand::reads(0.9)))?;
    for choice in plan.reads() {
        let nodes: Vec<String> = grid
            .reads()
            .nodes(choice.quorum)
            .map(|n| n.to_string())
            .collect();
        println!(
            "  {:>3.0}% of the reads ask {}",
            100.0 * choice.probability,
            nodes.join(", ")
        );
    }

    println!("\nRaft takes a system only if no two leaders can be elected and no commit is lost:");
    let in_each = centres.map(Expr::majority);
    let two_centres = Quorum::new(Expr::majority(in_each.clone()))?;
    let every_centre = Quorum::new(Expr::all(in_each.clone()))?;
    let one_centre = Quorum::new(Expr::any(in_each))?;
    for (election, replication) in [
        (&two_centres, &two_centres),
        (&two_centres, &one_centre),
        // commits stay inside one data centre; the price: an election needs all three
        (&every_centre, &one_centre),
    ] {
        println!("  elect     {election}\n  replicate {replication}");
        match Phases::new(election, replication) {
            Ok(_) => println!("    accepted"),
            Err(error) => println!("    refused: {error}"),
        }
    }
    Ok(())
}

/// The first data centre has two votes per node.
fn weighted(nodes: impl Iterator<Item = NodeId>) -> Result<ReadWrite, Box<dyn Error>> {
    let votes = |node: NodeId| (node, if node.0 <= 3 { 2 } else { 1 });
    let majority = Quorum::weighted_majority(nodes.map(votes))?;
    Ok(ReadWrite::new(&majority, &majority)?)
}

/// A node does 1000 operations per second, in the first data centre 2000.
fn machines(demand: Demand) -> Demand {
    (1..=9).fold(demand, |demand, id| {
        let capacity = if id <= 3 { 2000.0 } else { 1000.0 };
        demand.node(NodeId(id), capacity, capacity)
    })
}
