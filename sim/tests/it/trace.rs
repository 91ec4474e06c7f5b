//! Pictures of a run.

extern crate alloc;

use alloc::collections::BTreeMap;
use core::iter::Peekable;
use core::str::Chars;

use synod_core::LogImage;
use synod_raft::{Config, Raft};
use synod_sim::trace::{SHIVIZ_PARSER, Trace, What};
use synod_sim::{Kv, LogSubject, Schedule, Simulation, Start, Subject};

struct OnRaft;

impl Subject for OnRaft {
    type Machine = Raft;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Raft {
        let voters = start.voters.iter().copied();
        let config = Config::builder(start.id).voters(voters).seed(start.seed);
        let config = config.build().expect("these settings are valid");
        Raft::new(config, start.restored, start.now).expect("the disk is readable")
    }
}

impl LogSubject for OnRaft {}

fn trace() -> Trace {
    let simulation = Simulation::new(OnRaft, Kv);
    let mut seeds = (0..).map(|seed| simulation.watch(seed, &Schedule::all(), 3_000));
    let telling = |trace: &Trace| {
        let crash = |step: &synod_sim::trace::Step| step.what == What::Crash;
        trace.nodes.len() >= 3 && trace.steps.iter().any(crash)
    };
    seeds
        .find(telling)
        .expect("some seed has a crash near its end")
}

#[test]
fn all_steps_are_there_and_only_the_last_are_kept() {
    let trace = trace();
    assert_eq!(trace.steps.len(), 3_000);
    assert!(trace.dropped > 0);
    let sent = |what: &What| matches!(what, What::Send { .. });
    assert!(trace.steps.iter().any(|step| sent(&step.what)));
    assert!(
        trace
            .steps
            .iter()
            .zip(trace.steps.iter().skip(1))
            .all(|(a, b)| a.at <= b.at)
    );
    assert_eq!(trace.clone().last(7).steps.len(), 7);
}

#[test]
fn columns_are_as_wide_as_asked() {
    let trace = trace().last(200);
    let text = trace.columns(20).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 201);
    let wide = 10 + 21 * trace.nodes.len();
    let of_nodes = lines[1..]
        .iter()
        .filter(|line| !line.contains(" -- ") && !line.contains(" == "));
    for line in of_nodes {
        assert_eq!(line.chars().count(), wide, "{line:?}");
    }
}

/// The page asks for nothing from anywhere, and its data is one script that nothing ends early.
#[test]
fn the_page_is_self_contained() {
    let page = trace().html();
    for outside in [
        "http:", "https:", "src=", "href=", "import ", "fetch(", "@import", "url(",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("</script>").count(), 1);
    assert!(!page.contains("\"TRACE\""));
    assert_eq!(page.matches("\n[").count(), 2_999);
}

/// What the documented expression asks of two lines: `host {clock}`, then the event, for every two
/// lines of the log. A clock is a JSON object of counts, in which the host itself counts up by one.
#[test]
fn the_log_for_shiviz_is_as_its_manual_asks() {
    assert_eq!(SHIVIZ_PARSER, r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)");
    let trace = trace();
    let log = trace.shiviz();
    let mut own = BTreeMap::new();
    let mut lines = log.lines();
    let mut events = 0;
    while let Some(first) = lines.next() {
        let (host, clock) = first.split_once(' ').expect("a host and its clock");
        assert!(!host.is_empty() && !host.contains(char::is_whitespace));
        let clock = counts(&mut clock.chars().peekable()).expect("a JSON object of counts");
        let mine = clock.iter().find(|(name, _)| name == host);
        let (_, mine) = mine.expect("a host knows of itself");
        let before: u64 = own.insert(host.to_owned(), *mine).unwrap_or(0);
        assert_eq!(*mine, before + 1, "{first}");
        for (name, count) in &clock {
            let known = own.get(name).copied().unwrap_or(0);
            assert!(*count <= known, "{host} knows more of {name} than happened");
        }
        assert!(!lines.next().expect("an event").is_empty());
        events += 1;
    }
    assert!(events > 1_000, "{events}");
    let others = log.lines().filter(|line| line.matches("\":").count() > 1);
    assert!(others.count() > 100, "clocks travel with messages");
}

fn counts(input: &mut Peekable<Chars<'_>>) -> Option<Vec<(String, u64)>> {
    let mut all = Vec::new();
    (input.next()? == '{').then_some(())?;
    while input.peek()? != &'}' {
        (input.next()? == '"').then_some(())?;
        let name: String = input.by_ref().take_while(|c| *c != '"').collect();
        (input.next()? == ':').then_some(())?;
        let mut count = String::new();
        while let Some(digit) = input.next_if(char::is_ascii_digit) {
            count.push(digit);
        }
        all.push((name, count.parse().ok()?));
        input.next_if_eq(&',');
    }
    input.next();
    input.next().is_none().then_some(all)
}
