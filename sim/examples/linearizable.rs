//! Record what concurrent clients see of a store, and judge it: `cargo run --example linearizable`.
//!
//! The store answers reads from a replica that is one write behind, or, when told so, does not.

#![allow(clippy::print_stdout)] // an example talks

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant as Clock;

use synod_sim::history::{ClientId, History, Instant};
use synod_sim::linear::{Checker, Register, RegisterOp, RegisterRet, Verdict};

/// One register: the primary's value, and the replica's.
#[derive(Default)]
struct Store {
    primary: u64,
    replica: u64,
    reads_from_primary: bool,
}

impl Store {
    fn serve(&mut self, op: &RegisterOp<(), u64>) -> RegisterRet<u64> {
        match op {
            RegisterOp::Write { value, .. } => {
                self.replica = self.primary;
                self.primary = *value;
                RegisterRet::Written
            }
            RegisterOp::Read { .. } if self.reads_from_primary => RegisterRet::Value(self.primary),
            RegisterOp::Read { .. } => RegisterRet::Value(self.replica),
            RegisterOp::Cas { .. } => RegisterRet::Swapped(false),
        }
    }
}

/// Three clients, each with fifty writes and fifty reads; each write has a value of its own.
fn record(store: Store) -> History<RegisterOp<(), u64>, RegisterRet<u64>> {
    let (store, history) = (Mutex::new(store), Mutex::new(History::new()));
    let start = Clock::now();
    let now = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let client = |client: u64| {
        for number in 0..100 {
            let op = if number % 2 == 0 {
                let value = 1_000 * client + number;
                RegisterOp::Write { key: (), value }
            } else {
                RegisterOp::Read { key: () }
            };
            // First say that it is asked, then ask; first have the answer, then say so.
            let id = lock(&history).invoke(ClientId(client), op.clone(), now());
            let ret = lock(&store).serve(&op);
            let at = now();
            lock(&history).complete(id, ret, at);
        }
    };
    thread::scope(|scope| {
        for number in 1..=3 {
            scope.spawn(move || client(number));
        }
    });
    history.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> impl core::ops::DerefMut<Target = T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() {
    let checker = Checker::new(Register::new(0));
    for reads_from_primary in [true, false] {
        let store = Store {
            reads_from_primary,
            ..Store::default()
        };
        let history = record(store);
        let verdict = checker.check(&history);
        println!("reads from the primary: {reads_from_primary}; linearizable: {verdict}");
        if let Verdict::NotLinearizable(violation) = &verdict {
            println!("\n{}", violation.render(&history));
        }
        assert_eq!(verdict.is_linearizable(), reads_from_primary);
    }
}
