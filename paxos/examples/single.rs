//! Three nodes agree on one value: their whole world on one page, a network and disks in memory, no
//! runtime. Two clients propose at once; one wins, the other is told what has won.
//!
//! `cargo run -p synod-paxos --example single`
#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example has std, and shows what it does"
)]

use std::{collections::VecDeque, error::Error};

use synod_core::{Instant, Link, LinkId, Machine, NodeId, Output};
use synod_paxos::single::{Config, Decree, Event, Record, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let ids = [NodeId(1), NodeId(2), NodeId(3)];
    let mut now = Instant::START;
    let (mut nodes, mut mail) = (Vec::new(), VecDeque::new());
    for id in ids {
        // A disk is the records written so far, in order: here an empty one.
        let disk: Vec<Record> = Vec::new();
        let config = Config::builder(id).acceptors(ids).seed(id.0).build()?;
        let mut decree = Decree::new(config, disk.clone(), now)?;
        for peer in ids.into_iter().filter(|peer| *peer != id) {
            decree.link(now, peer, Link::Up(LinkId(1)));
        }
        nodes.push((id, decree, disk));
    }

    // Who proposes names the value: a client, and the how manyth of its values it is.
    nodes[0].1.propose(now, Value::new(100, 1, "red".into()))?;
    nodes[1].1.propose(now, Value::new(200, 1, "blue".into()))?;

    while nodes.iter().any(|(_, decree, _)| decree.chosen().is_none()) {
        for (id, decree, disk) in &mut nodes {
            while let Some(output) = decree.poll() {
                match output {
                    Output::Send(envelope) => mail.push_back(envelope),
                    Output::Persist(write, records) => {
                        disk.extend(records); // then one sync
                        decree.persisted(now, write);
                    }
                    Output::Load(_, never) => match never {},
                    Output::Event(Event::Chosen(value)) => {
                        println!("{id} learns that {:?} was chosen", value.payload);
                    }
                    Output::Event(event) => println!("{id} says {event:?}"),
                }
            }
        }
        match mail.pop_front() {
            Some(envelope) => {
                let to = nodes.iter_mut().find(|(id, ..)| *id == envelope.to);
                if let Some((_, decree, _)) = to {
                    decree.step(now, envelope);
                }
            }
            // Nothing is under way: time goes by until somebody wants to do something.
            None => {
                let wakes = nodes.iter().filter_map(|(_, decree, _)| decree.deadline());
                now = wakes.map(|wake| wake.at).min().unwrap_or(now);
                for (_, decree, _) in &mut nodes {
                    decree.tick(now);
                }
            }
        }
    }
    let first = nodes[0].1.chosen();
    assert!(nodes.iter().all(|(_, decree, _)| decree.chosen() == first));
    Ok(())
}
