//! One list of inputs replays a run bit for bit.

use core::time::Duration;

use synod_core::{
    Envelope, Input, Instant, Link, LinkId, LoadId, Machine, NodeId, Outbox, Output, Rng, Wake,
    WriteId,
};

/// A machine that remembers a sum and tells its peer of it, to have something of everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Sum {
    total: u64,
    durable: u64,
    link: Option<LinkId>,
    due: Option<Instant>,
    outbox: Outbox<u64, u64, u64, u64, u64>,
}

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

impl Sum {
    fn new() -> Self {
        Self {
            total: 0,
            durable: 0,
            link: None,
            due: None,
            outbox: Outbox::new(1),
        }
    }

    fn add(&mut self, now: Instant, count: u64) {
        self.total = self.total.wrapping_add(count);
        self.outbox.write(self.total);
        self.outbox.note_after(self.total);
        self.outbox.event_after(self.total);
        self.tell();
        self.due = Some(now + Duration::from_millis(10));
    }

    fn tell(&mut self) {
        if let Some(link) = self.link {
            self.outbox.send_after(Envelope {
                from: ME,
                to: PEER,
                link,
                message: self.total,
            });
        }
    }
}

impl Machine for Sum {
    type Command = u64;
    type Reply = u64;
    type Message = u64;
    type Record = u64;
    type Load = u64;
    type Loaded = u64;
    type Event = u64;

    fn call(&mut self, now: Instant, command: u64) -> u64 {
        self.add(now, command);
        self.total
    }

    fn step(&mut self, now: Instant, envelope: Envelope<u64>) {
        if envelope.from == PEER && Some(envelope.link) == self.link {
            self.add(now, envelope.message);
        }
    }

    fn link(&mut self, _: Instant, peer: NodeId, link: Link) {
        self.outbox.purge(peer);
        self.link = match link {
            Link::Up(link) => Some(link),
            Link::Down => None,
        };
    }

    fn tick(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.outbox.load(self.total);
            self.tell();
        }
    }

    fn persisted(&mut self, _: Instant, write: WriteId) {
        self.outbox.persisted(write);
        while let Some(total) = self.outbox.next_note() {
            self.durable = total;
        }
    }

    fn loaded(&mut self, now: Instant, _: LoadId, answer: Option<u64>) {
        if let Some(count) = answer {
            self.add(now, count);
        }
    }

    fn poll(&mut self) -> Option<Output<u64, u64, u64, u64>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        self.due.map(|at| Wake { at, why: "tell" })
    }
}

type Recorded = (Instant, Input<u64, u64, u64>);
type Trace = Vec<Output<u64, u64, u64, u64>>;

/// Drives a machine at random as its surroundings may, and writes down what it was given.
fn run(seed: u64) -> (Sum, Vec<Recorded>, Trace) {
    let mut rng = Rng::new(seed);
    let (mut machine, mut inputs, mut trace) = (Sum::new(), Vec::new(), Vec::new());
    let (mut writes, mut loads, mut now) = (Vec::new(), Vec::new(), Instant::START);
    for _ in 0..200 {
        now = now + Duration::from_millis(rng.below(8));
        let link = LinkId(rng.below(2));
        let input = match rng.below(7) {
            0 => Input::Link(PEER, Link::Up(link)),
            1 if rng.chance(200_000) => Input::Link(PEER, Link::Down),
            2 => Input::Call(rng.below(9)),
            3 => Input::Step(Envelope {
                from: PEER,
                to: ME,
                link,
                message: rng.below(9),
            }),
            4 if !writes.is_empty() => Input::Persisted(writes.remove(0)),
            5 if !loads.is_empty() => Input::Loaded(
                loads.remove(0),
                rng.pick(&[None, Some(3)]).copied().flatten(),
            ),
            _ => Input::Tick,
        };
        inputs.push((now, input.clone()));
        input.feed(&mut machine, now);
        while let Some(output) = machine.poll() {
            match &output {
                Output::Persist(write, _) => writes.push(*write),
                Output::Load(id, _) => loads.push(*id),
                Output::Send(_) | Output::Event(_) => {}
            }
            trace.push(output);
        }
    }
    (machine, inputs, trace)
}

#[test]
fn a_recorded_run_replays() {
    for seed in 0..50 {
        let (machine, inputs, trace) = run(seed);
        let mut again = Sum::new();
        let mut replayed = Trace::new();
        for (now, input) in inputs {
            input.feed(&mut again, now);
            replayed.extend(core::iter::from_fn(|| again.poll()));
        }
        assert_eq!(replayed, trace, "seed {seed}");
        assert_eq!(again, machine, "seed {seed}");
        let kinds = |kind: fn(&Output<u64, u64, u64, u64>) -> bool| trace.iter().any(kind);
        assert!(
            kinds(|o| matches!(o, Output::Persist(..))),
            "seed {seed} writes"
        );
    }
}

#[test]
fn only_a_call_has_a_reply() {
    let mut machine = Sum::new();
    let now = Instant::START;
    assert_eq!(Input::Call(5).feed(&mut machine, now), Some(5));
    assert_eq!(Input::Tick.feed(&mut machine, now), None);
}

/// The trait can be used without knowing the machine.
#[test]
fn a_machine_may_be_boxed() {
    type Any = dyn Machine<
            Command = u64,
            Reply = u64,
            Message = u64,
            Record = u64,
            Load = u64,
            Loaded = u64,
            Event = u64,
        >;
    let mut machine: Box<Any> = Box::new(Sum::new());
    assert_eq!(Input::Call(5).feed(&mut *machine, Instant::START), Some(5));
    assert!(matches!(machine.poll(), Some(Output::Persist(..))));
}
