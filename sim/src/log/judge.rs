//! What clients saw, judged at the end.

use super::{LogScene, Stage};
use crate::application::{Application, Request};
use crate::check::Breach;
use crate::linear::{Checker, Verdict, verify_order};
use crate::subject::LogSubject;

/// Steps for the search of an order, per key. The order of the log has been verified before, so
/// giving up loses nothing.
const STEPS: u64 = 100_000;

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    pub(super) fn judge_clients(&mut self, stage: &mut Stage<'_, S>) {
        self.order.sort_unstable();
        let writes = self.order.iter().filter(|((_, read), _)| *read == 0);
        let log: Vec<_> = writes.map(|(_, op)| *op).collect();
        let app = self.app;
        let logged = |op: &_| matches!(app.request(op), Request::Command(_));
        if let Err(contradiction) = self.history.bound_by_log(&log, logged) {
            let evidence = contradiction.to_string();
            return stage.fail(Breach::new("every effect is there exactly once", evidence));
        }
        let order: Vec<_> = self.order.iter().map(|(_, op)| *op).collect();
        let model = self.app.model();
        let in_order = verify_order(&model, &self.history, &order);
        let verdict = Checker::new(model).step_limit(STEPS).check(&self.history);
        match verdict {
            Verdict::NotLinearizable(violation) => {
                let evidence = violation.render(&self.history);
                stage.fail(Breach::new("histories are linearizable", evidence));
            }
            Verdict::Unknown { .. } => stage.marks.add("histories too long to search"),
            Verdict::Linearizable(_) => {}
        }
        if let Err(fault) = in_order {
            let evidence = fault.to_string();
            stage.fail(Breach::new(
                "the order of the log explains every answer",
                evidence,
            ));
        }
    }
}
