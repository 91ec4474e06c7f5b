//! Persist before you speak, whatever the order of calls.

use core::hash::{Hash, Hasher};
use std::collections::VecDeque;
use std::hash::DefaultHasher;

use proptest::collection::vec;
use proptest::prelude::*;
use synod_core::{Envelope, LinkId, NodeId, Outbox, Output, WriteId};

type Box = Outbox<u32, u32, u32, u32, u32>;

fn to(peer: u64, message: u32) -> Envelope<u32> {
    Envelope {
        from: NodeId(0),
        to: NodeId(peer),
        link: LinkId(1),
        message,
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write,
    SendNow(u64),
    SendAfter(u64),
    EventNow,
    EventAfter,
    NoteAfter,
    Load,
    Poll,
    /// Acknowledges the next so many writes in flight.
    Persisted(usize),
    Purge(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Write),
        1 => (1..3_u64).prop_map(Op::SendNow),
        3 => (1..3_u64).prop_map(Op::SendAfter),
        1 => Just(Op::EventNow),
        2 => Just(Op::EventAfter),
        2 => Just(Op::NoteAfter),
        1 => Just(Op::Load),
        6 => Just(Op::Poll),
        2 => (1..3_usize).prop_map(Op::Persisted),
        1 => (1..3_u64).prop_map(Op::Purge),
    ]
}

/// What must not come out before all records up to this one are durable.
#[derive(Debug, PartialEq)]
enum Waits {
    Send(u64, u32),
    Event(u32),
    Note(u32),
}

/// Counts records instead of writes.
#[derive(Default)]
struct Model {
    written: usize,
    handed_out: usize,
    durable: usize,
    /// For each write in flight: its id and the records up to its end.
    in_flight: VecDeque<(WriteId, usize)>,
    waiting: Vec<(usize, Waits)>,
    number: u32,
}

impl Model {
    /// Something that waits has come out.
    fn came(&mut self, what: &Waits) {
        let at = self.waiting.iter().position(|(_, waits)| waits == what);
        let (needs, _) = self.waiting.remove(at.expect("nothing comes out twice"));
        let durable = self.durable;
        assert!(
            needs <= durable,
            "{what:?} needs {needs} records, {durable} are durable"
        );
        let kind = core::mem::discriminant(what);
        let earlier = self.waiting[..at.unwrap()].iter();
        let overtaken = earlier.filter(|(_, other)| core::mem::discriminant(other) == kind);
        assert_eq!(overtaken.count(), 0, "{what:?} overtakes one of its kind");
    }

    fn output(&mut self, output: Output<u32, u32, u32, u32>, depth: usize) {
        match output {
            Output::Send(envelope) if envelope.message % 2 == 0 => {
                self.came(&Waits::Send(envelope.to.0, envelope.message));
            }
            Output::Event(event) if event % 2 == 0 => self.came(&Waits::Event(event)),
            Output::Persist(write, batch) => {
                for record in batch {
                    assert_eq!(record as usize, self.handed_out, "records keep their order");
                    self.handed_out += 1;
                }
                self.in_flight.push_back((write, self.handed_out));
                assert!(self.in_flight.len() <= depth);
            }
            Output::Send(_) | Output::Event(_) | Output::Load(..) => {}
        }
    }

    /// Numbers what is said: even what waits, odd what does not.
    fn number(&mut self, waits: bool) -> u32 {
        self.number += 2;
        self.number + u32::from(!waits)
    }

    fn play(&mut self, outbox: &mut Box, op: &Op, depth: usize) {
        match *op {
            Op::Write => {
                outbox.write(self.written as u32);
                self.written += 1;
            }
            Op::SendNow(peer) => outbox.send_now(to(peer, self.number(false))),
            Op::SendAfter(peer) => {
                let message = self.number(true);
                outbox.send_after(to(peer, message));
                self.waiting
                    .push((self.written, Waits::Send(peer, message)));
            }
            Op::EventNow => outbox.event_now(self.number(false)),
            Op::EventAfter => {
                let event = self.number(true);
                outbox.event_after(event);
                self.waiting.push((self.written, Waits::Event(event)));
            }
            Op::NoteAfter => {
                let note = self.number(true);
                outbox.note_after(note);
                self.waiting.push((self.written, Waits::Note(note)));
            }
            Op::Load => drop(outbox.load(1)),
            Op::Poll => {
                if let Some(output) = outbox.poll() {
                    self.output(output, depth);
                }
            }
            Op::Persisted(count) => {
                let count = count.min(self.in_flight.len());
                if let Some((write, records)) = self.in_flight.drain(..count).next_back() {
                    self.durable = records;
                    outbox.persisted(write);
                }
            }
            Op::Purge(peer) => {
                outbox.purge(NodeId(peer));
                self.waiting
                    .retain(|(_, waits)| !matches!(waits, Waits::Send(to, _) if *to == peer));
            }
        }
        while let Some(note) = outbox.next_note() {
            self.came(&Waits::Note(note));
        }
    }
}

proptest! {
    #[test]
    fn nothing_speaks_of_what_is_not_durable(depth in 1..4_u64, ops in vec(op(), 0..80)) {
        let mut outbox = Box::new(depth);
        let mut model = Model::default();
        let depth = depth as usize;
        for op in &ops {
            model.play(&mut outbox, op, depth);
        }
        // And everything comes out in the end.
        for _ in 0..ops.len() + 1 {
            while let Some(output) = outbox.poll() {
                model.output(output, depth);
            }
            model.play(&mut outbox, &Op::Persisted(1), depth);
        }
        prop_assert_eq!(&model.waiting, &[]);
        prop_assert_eq!(model.durable, model.written);
        prop_assert!(outbox.is_settled());
        prop_assert!(!outbox.has_ready());
    }

    #[test]
    fn equality_does_not_count_from_the_start(past in 0..5_u64, ops in vec(op(), 0..30)) {
        let (mut young, mut old) = (Box::new(2), Box::new(2));
        for _ in 0..past {
            old.write(0);
            let Some(Output::Persist(write, _)) = old.poll() else { panic!("a write") };
            old.persisted(write);
            old.load(7);
            old.poll();
        }
        let (mut one, mut other) = (Model::default(), Model::default());
        for op in &ops {
            one.play(&mut young, op, 2);
            other.play(&mut old, op, 2);
            prop_assert_eq!(&young, &old);
            prop_assert_eq!(hash(&young), hash(&old));
        }
    }
}

fn hash(outbox: &Box) -> u64 {
    let mut hasher = DefaultHasher::new();
    outbox.hash(&mut hasher);
    hasher.finish()
}

fn write(outbox: &mut Box) -> WriteId {
    match outbox.poll() {
        Some(Output::Persist(write, _)) => write,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_differs_is_not_equal() {
    let mut one = Box::new(1);
    let other = one.clone();
    assert_eq!(one, other);
    one.write(1);
    assert_ne!(one, other);
    let gathering = one.clone();
    write(&mut one);
    assert_ne!(one, gathering, "a write in flight is not one that gathers");
    assert_ne!(Box::new(1), Box::new(2), "the depth matters");
}

#[test]
fn a_second_write_gathers_while_the_first_runs() {
    let mut outbox = Box::new(1);
    outbox.write(1);
    let first = write(&mut outbox);
    outbox.write(2);
    outbox.write(3);
    assert_eq!(outbox.poll(), None);
    assert!(!outbox.has_room());
    outbox.persisted(first);
    let Some(Output::Persist(_, batch)) = outbox.poll() else {
        panic!("the second write");
    };
    assert_eq!(batch.into_iter().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn notes_can_be_clamped_while_they_wait() {
    let mut outbox = Box::new(1);
    outbox.write(1);
    outbox.note_after(10);
    outbox.notes_mut().for_each(|note| *note = (*note).min(4));
    let id = write(&mut outbox);
    assert_eq!(outbox.next_note(), None);
    outbox.persisted(id);
    assert_eq!(outbox.next_note(), Some(4));
}

#[test]
#[should_panic(expected = "w2 was never handed out")]
fn a_write_that_never_was_is_not_durable() {
    let mut outbox = Box::new(1);
    outbox.write(1);
    write(&mut outbox);
    outbox.persisted(WriteId(2));
}
