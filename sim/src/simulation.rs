//! One run of one seed.

use core::cell::RefCell;
use core::panic::AssertUnwindSafe;
use std::panic;
use std::sync::Once;

use crate::check::Breach;
use crate::plan::Plan;
use crate::report::{Failure, Report};
use crate::scene::Scenery;
use crate::schedule::Schedule;
use crate::subject::Subject;
use crate::trace::Trace;
use crate::world::World;

/// A machine and what stands on it, to be run from seeds: a replicated log and an
/// [`Application`](crate::Application), or any machine and a [`Scenery`].
#[derive(Clone, Debug)]
pub struct Simulation<S, A> {
    subject: S,
    app: A,
}

impl<S: Subject, A: Scenery<S>> Simulation<S, A> {
    /// Runs `app` on `subject`.
    pub const fn new(subject: S, app: A) -> Self {
        Self { subject, app }
    }

    /// Runs one seed: 25 virtual seconds with faults, then the time that the cluster needs to come
    /// to rest. The same seed does the same in every process.
    ///
    /// # Errors
    ///
    /// [`Failure`] for the first rule that was broken; panics count as such.
    pub fn run(&self, seed: u64) -> Result<Report, Box<Failure>> {
        self.traced(seed, 0)
    }

    /// As [`run`](Self::run), and a failure has the last `steps` of what happened.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn traced(&self, seed: u64, steps: usize) -> Result<Report, Box<Failure>> {
        self.replay(seed, &Schedule::all(), steps)
    }

    /// As [`traced`](Self::traced), and of what the seed has drawn only `schedule` takes place.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn replay(
        &self,
        seed: u64,
        schedule: &Schedule,
        steps: usize,
    ) -> Result<Report, Box<Failure>> {
        self.played(seed, schedule, steps).0
    }

    /// What happens in a run, failing or not: its last `steps`.
    #[must_use]
    pub fn watch(&self, seed: u64, schedule: &Schedule, steps: usize) -> Trace {
        self.played(seed, schedule, steps.max(1)).1
    }

    fn played(
        &self,
        seed: u64,
        schedule: &Schedule,
        steps: usize,
    ) -> (Result<Report, Box<Failure>>, Trace) {
        let mut world = self.world(seed, schedule, steps);
        let breach = match guarded(|| world.run()) {
            Ok(None) => return (Ok(world.stage.report()), world.stage.trace()),
            Ok(Some(breach)) => breach,
            Err(panic) => Breach::new("nothing panics", panic),
        };
        (
            Err(Box::new(world.stage.failed(breach))),
            world.stage.trace(),
        )
    }

    fn world<'a>(
        &'a self,
        seed: u64,
        schedule: &'a Schedule,
        steps: usize,
    ) -> World<'a, S, A::Scene<'a>> {
        let Self { subject, app } = self;
        let plan = Plan::draw(seed, subject, |fault| app.plays(fault));
        let scene = app.scene(subject, &plan);
        World::new(subject, plan, scene, schedule, steps)
    }

    /// Runs `seed` twice, and fails too if the runs differ.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn twice(&self, seed: u64) -> Result<Report, Box<Failure>> {
        let (one, other) = (self.run(seed)?, self.run(seed)?);
        if one == other {
            return Ok(one);
        }
        let evidence = format!("{:x} and {:x}", one.hash, other.hash);
        let all = Schedule::all();
        let world = self.world(seed, &all, 0);
        let breach = Breach::new("the same seed gives the same run", evidence);
        Err(Box::new(world.stage.failed(breach)))
    }
}

thread_local! {
    /// The message of a panic in a run on this thread; `None` outside of runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `inner` and catches its panic, message and place, without printing it.
fn guarded<T>(inner: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let outer = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let ours = PANIC.with_borrow_mut(|message| {
                message.as_mut().map(|message| *message = info.to_string())
            });
            if ours.is_none() {
                outer(info);
            }
        }));
    });
    PANIC.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(inner));
    let message = PANIC.take().unwrap_or_default();
    result.map_err(|_| message)
}
