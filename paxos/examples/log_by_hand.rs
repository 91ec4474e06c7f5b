//! Three nodes of Multi-Paxos and their whole world on one page: a network and disks in memory, no
//! runtime.
//!
//! `cargo run -p synod-paxos --example log_by_hand`
#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example has std, and shows what it does"
)]

use std::{collections::VecDeque, error::Error, time::Duration};

use synod_core::{
    Instant, Link, LinkId, LogEvent, LogImage, Machine, NodeId, Output, ReplicatedLog, Role,
};
use synod_paxos::log::{Config, MultiPaxos};

fn main() -> Result<(), Box<dyn Error>> {
    let ids = [NodeId(1), NodeId(2), NodeId(3)];
    let mut now = Instant::START;
    let (mut nodes, mut mail, mut done, mut proposed) = (Vec::new(), VecDeque::new(), 0, false);
    for id in ids {
        let disk = LogImage::new();
        let config = Config::builder(id).voters(ids).seed(id.0).build()?;
        let mut log = MultiPaxos::new(config, disk.restored(usize::MAX), now)?;
        for peer in ids.into_iter().filter(|peer| *peer != id) {
            log.link(now, peer, Link::Up(LinkId(1)));
        }
        nodes.push((id, log, disk));
    }
    while done < ids.len() {
        for (id, log, disk) in &mut nodes {
            if log.deadline().is_some_and(|wake| wake.at <= now) {
                log.tick(now);
            }
            if log.status().role == Role::Leader && !proposed {
                proposed = log.propose(now, "hello".into()).is_ok();
            }
            while let Some(output) = log.poll() {
                match output {
                    Output::Send(envelope) => mail.push_back(envelope),
                    Output::Persist(write, records) => {
                        records
                            .into_iter()
                            .try_for_each(|record| disk.apply(record))?;
                        log.persisted(now, write);
                    }
                    Output::Load(load, what) => log.loaded(now, load, disk.load(&what)),
                    Output::Event(LogEvent::Committed(committed)) => {
                        for (index, _, command, ticket) in committed.iter() {
                            println!("{id} applies {command:?} at {index}, ticket {ticket:?}");
                            done += usize::from(command == "hello");
                        }
                        log.applied(now, committed.last());
                    }
                    Output::Event(event) => println!("{id} says {event:?}"),
                }
            }
        }
        match mail.pop_front() {
            Some(letter) => nodes[letter.to.0 as usize - 1].1.step(now, letter),
            None => now = now + Duration::from_millis(1),
        }
    }
    Ok(())
}
