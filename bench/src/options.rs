//! The command line, and the plan it asks for.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::driver::{self, Load};
use crate::subjects;
use crate::work::{Done, Work};

/// Compares consensus crates on the same work, in one run.
///
/// Machines: several nodes in one thread, storage in memory, messages moved without encoding, a sliding window of
/// proposals. Drivers: whole services on an async runtime, with client tasks that propose in a loop. Every run is
/// verified: each node must hold exactly the commands that were proposed.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench --", version)]
pub struct Options {
    /// Commands in one measured run (driver with one client: a tenth) [default: 100000; quick: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub entries: Option<u64>,

    /// Passes over all subjects, interleaved: A B C, A B C, ... [default: 5; quick: 2]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub passes: Option<u32>,

    /// Only these subjects, by name or family (see --list) [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub subjects: Vec<String>,

    /// Bytes in one command [default: 16,256,4096; quick: 16]
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(8..=1 << 20))]
    pub sizes: Vec<u32>,

    /// Proposals under way at once [default: 1,64,1024]
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub windows: Vec<u64>,

    /// Voters in the cluster [default: 3]
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(2..=15))]
    pub nodes: Vec<u32>,

    /// When an entry counts as done [default: leader,all; quick: leader]
    #[arg(long, value_name = "WHEN", value_delimiter = ',', value_enum)]
    pub done: Vec<Done>,

    /// Client tasks in the driver section [default: 1,64,1024]
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub clients: Vec<u64>,

    /// Only the machine section
    #[arg(long, conflicts_with = "driver")]
    pub machines: bool,

    /// Only the driver section
    #[arg(long)]
    pub driver: bool,

    /// Fewer entries, passes and works; what is given explicitly stays
    #[arg(long)]
    pub quick: bool,

    /// Also writes one row per subject and work to FILE, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Lists the subjects and ends
    #[arg(long)]
    pub list: bool,

    /// `cargo bench` adds this to every command line.
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The machines, in roster order.
    pub machines: Vec<subjects::Entrant>,
    /// What each of them does.
    pub works: Vec<Work>,
    /// The services, in roster order.
    pub services: Vec<driver::Entrant>,
    /// What each of them does.
    pub loads: Vec<Load>,
    /// How often everything is repeated.
    pub passes: u32,
}

/// Bytes in one command of the driver section: what is compared there is the driver, not the copying.
const DRIVER_SIZE: usize = 16;

impl Options {
    /// The plan.
    ///
    /// # Errors
    ///
    /// A subject that no roster knows, or nothing left to measure.
    pub fn plan(&self) -> Result<Plan, clap::Error> {
        for name in &self.subjects {
            if !known().any(|known| known == name) {
                let known = known().collect::<Vec<_>>().join(", ");
                return Err(error(&format!(
                    "unknown subject '{name}'; known names and families: {known}"
                )));
            }
        }
        let wanted = |name: &str, family: &str| {
            self.subjects.is_empty()
                || self
                    .subjects
                    .iter()
                    .any(|wanted| wanted == name || wanted == family)
        };
        let mut machines = subjects::ROSTER.to_vec();
        machines.retain(|entrant| !self.driver && wanted(entrant.name, entrant.family));
        let mut services = driver::ROSTER.to_vec();
        services.retain(|entrant| !self.machines && wanted(entrant.name, entrant.family));
        if machines.is_empty() && services.is_empty() {
            return Err(error(
                "none of the subjects asked for is in the section asked for",
            ));
        }
        Ok(Plan {
            machines,
            works: self.works(),
            services,
            loads: self.loads(),
            passes: self.passes(),
        })
    }

    fn works(&self) -> Vec<Work> {
        let sizes = or(
            &self.sizes,
            if self.quick { &[16] } else { &[16, 256, 4096] },
        );
        let windows = or(&self.windows, &[1, 64, 1024]);
        let nodes = or(&self.nodes, &[3]);
        let done = or(
            &self.done,
            if self.quick {
                &[Done::Leader]
            } else {
                &[Done::Leader, Done::All]
            },
        );
        let mut works = Vec::new();
        for &done in done {
            for &nodes in nodes {
                for &size in sizes {
                    for &window in windows {
                        works.push(Work::new(
                            nodes as usize,
                            size as usize,
                            window,
                            self.entries(),
                            done,
                        ));
                    }
                }
            }
        }
        works
    }

    fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for &nodes in or(&self.nodes, &[3]) {
            for &clients in or(&self.clients, &[1, 64, 1024]) {
                // One client waits for every single answer: the same number would take ten times as long.
                let operations = if clients == 1 {
                    self.entries().div_ceil(10)
                } else {
                    self.entries()
                };
                loads.push(Load::new(nodes as usize, DRIVER_SIZE, clients, operations));
            }
        }
        loads
    }

    fn entries(&self) -> u64 {
        self.entries
            .unwrap_or(if self.quick { 20_000 } else { 100_000 })
    }

    fn passes(&self) -> u32 {
        self.passes.unwrap_or(if self.quick { 2 } else { 5 })
    }
}

/// The subjects as `--list` prints them.
pub fn list() -> String {
    let machines = subjects::ROSTER
        .iter()
        .map(|entrant| ("machine", entrant.name, entrant.about));
    let services = driver::ROSTER
        .iter()
        .map(|entrant| ("driver", entrant.name, entrant.about));
    machines
        .chain(services)
        .map(|(section, name, about)| format!("{section:8} {name:22} {about}\n"))
        .collect()
}

fn known() -> impl Iterator<Item = &'static str> {
    let machines = subjects::ROSTER
        .iter()
        .flat_map(|entrant| [entrant.family, entrant.name]);
    let services = driver::ROSTER
        .iter()
        .flat_map(|entrant| [entrant.family, entrant.name]);
    let mut names: Vec<_> = machines.chain(services).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

fn or<'a, T>(given: &'a [T], default: &'a [T]) -> &'a [T] {
    if given.is_empty() { default } else { given }
}

fn error(message: &str) -> clap::Error {
    Options::command().error(ErrorKind::InvalidValue, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Plan, clap::Error> {
        let words = core::iter::once("bench").chain(line.split_whitespace());
        Options::try_parse_from(words)?.plan()
    }

    #[test]
    fn defaults_are_everything() {
        let plan = parse("--bench").unwrap();
        assert_eq!(plan.works.len(), 3 * 3 * 2);
        assert_eq!(plan.machines.len(), subjects::ROSTER.len());
        assert_eq!(plan.services.len(), driver::ROSTER.len());
        assert_eq!(plan.passes, 5);
    }

    #[test]
    fn explicit_options_win_over_quick() {
        let plan = parse("--quick --entries 64 --sizes 16,256 --windows 64 --nodes 3,5 --done all")
            .unwrap();
        assert_eq!(plan.works.len(), 4);
        assert!(
            plan.works
                .iter()
                .all(|work| work.entries == 64 && work.done == Done::All)
        );
    }

    #[test]
    fn families_and_names_select() {
        let names = |line| {
            parse(line)
                .unwrap()
                .machines
                .iter()
                .map(|entrant| entrant.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("--subjects noraft,omnipaxos-bytes"),
            ["omnipaxos-bytes", "noraft"]
        );
        assert_eq!(
            names("--subjects omnipaxos"),
            ["omnipaxos", "omnipaxos-bytes"]
        );
        assert!(parse("--subjects omnipaxos").unwrap().services.is_empty());
    }

    #[test]
    fn bad_arguments_say_what_is_wrong() {
        for (line, complaint) in [
            (
                "--subjects etcd",
                "unknown subject 'etcd'; known names and families: noraft",
            ),
            ("--driver --subjects noraft", "none of the subjects"),
            ("--windows 0", "0 is not in 1..=65536"),
            ("--sizes 16,x", "invalid value 'x'"),
            ("--nodes 1", "1 is not in 2..=15"),
            ("--machines --driver", "cannot be used with"),
            ("--fast", "unexpected argument '--fast'"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(complaint), "{line}: {error}");
        }
    }
}
