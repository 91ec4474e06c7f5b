//! A history, or the window of a violation, as plain text with a column for each client.

use alloc::collections::BTreeMap;
use core::fmt::Debug;

use super::Violation;
use crate::history::{ClientId, History, OpId, Outcome, Record, Stamp};

impl<K: Debug> Violation<K> {
    /// The window as text: time runs down, each client has a column (a further one for operations
    /// that overlap within one client).
    ///
    /// # Panics
    ///
    /// If `history` is not the one that was checked.
    #[must_use]
    pub fn render<Op: Debug, Ret: Debug>(&self, history: &History<Op, Ret>) -> String {
        let Self {
            key,
            ops,
            stuck,
            since_start,
        } = self;
        let (from, to) = self.window(history);
        let state = if *since_start {
            "from the initial state on"
        } else {
            "whatever the state was before"
        };
        let head = format!(
            "not linearizable: {} operations on {key:?}, from {from} to {to}\n\
             no order gives these answers, {state}; none gets past the answer to {stuck}\n",
            ops.len()
        );
        head + &render(history, ops)
    }
}

/// One line of the picture, in one column.
struct Event {
    stamp: Option<Stamp>,
    column: usize,
    text: String,
    opens: bool,
}

/// The operations `ops` of `history` as text, with a column for each client.
///
/// # Panics
///
/// If an operation is not of this history.
#[must_use]
pub(super) fn render<Op: Debug, Ret: Debug>(history: &History<Op, Ret>, ops: &[OpId]) -> String {
    let (columns, column_of) = columns(history, ops);
    let mut events: Vec<Event> = Vec::new();
    for &id in ops {
        let record = history.get(id);
        let column = column_of[&id];
        let asked = format!("[ {id} {:?}", record.op());
        events.push(Event {
            stamp: Some(record.invoked()),
            column,
            text: asked,
            opens: true,
        });
        let answer = format!("] {id} {}", answer(record));
        events.push(Event {
            stamp: end(record),
            column,
            text: answer,
            opens: false,
        });
    }
    events.sort_by_key(|event| (event.stamp.is_none(), event.stamp));
    draw(&columns, &events)
}

/// Where the operation's line ends; never, for an open end.
fn end<Op, Ret>(record: &Record<Op, Ret>) -> Option<Stamp> {
    record.completed().or_else(|| record.effect_by())
}

fn answer<Op, Ret: Debug>(record: &Record<Op, Ret>) -> String {
    match (record.outcome(), record.bound()) {
        (Outcome::Completed(ret), _) => format!("{ret:?}"),
        (Outcome::Failed, _) => String::from("failed"),
        (Outcome::Open | Outcome::Unknown, Some(_)) => String::from("in the log by now"),
        (Outcome::Open, None) => String::from("no answer yet"),
        (Outcome::Unknown, None) => String::from("unknown"),
    }
}

/// The client of each column, and the column of each operation: the first of its client's that is
/// free.
fn columns<Op, Ret>(
    history: &History<Op, Ret>,
    ops: &[OpId],
) -> (Vec<ClientId>, BTreeMap<OpId, usize>) {
    let mut lanes: BTreeMap<(ClientId, usize), Option<Stamp>> = BTreeMap::new();
    let mut lane_of = BTreeMap::new();
    let mut ordered = ops.to_vec();
    ordered.sort_by_key(|&id| history.get(id).invoked());
    for id in ordered {
        let record = history.get(id);
        let is_free = |lane: &usize| {
            lanes
                .get(&(record.client(), *lane))
                .is_none_or(|busy| busy.is_some_and(|until| until < record.invoked()))
        };
        let lane = (record.client(), (0..).find(is_free).unwrap_or_default());
        lanes.insert(lane, end(record));
        lane_of.insert(id, lane);
    }
    let lanes: Vec<(ClientId, usize)> = lanes.into_keys().collect();
    let place = |lane| lanes.iter().position(|at| *at == lane).unwrap_or_default();
    let column_of = lane_of.into_iter().map(|(id, lane)| (id, place(lane)));
    (
        lanes.iter().map(|&(client, _)| client).collect(),
        column_of.collect(),
    )
}

fn draw(columns: &[ClientId], events: &[Event]) -> String {
    let longest = |column: usize| {
        let texts = events.iter().filter(|event| event.column == column);
        texts
            .map(|event| event.text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(longest).collect();
    let time = |event: &Event| {
        event
            .stamp
            .map_or_else(|| "...".into(), |s| s.at.to_string())
    };
    let margin = events
        .iter()
        .map(|event| time(event).chars().count())
        .max()
        .unwrap_or(0);
    let line = |left: &str, cells: &[String]| {
        let mut line = format!("{left:>margin$}");
        for (cell, width) in cells.iter().zip(&widths) {
            line += &format!("  {cell:<width$}");
        }
        line.trim_end().to_owned() + "\n"
    };
    let names: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let mut picture = line("", &names);
    let mut is_open = vec![false; columns.len()];
    for event in events {
        let cell = |column: usize| match is_open[column] {
            _ if column == event.column => event.text.clone(),
            true => String::from("|"),
            false => String::new(),
        };
        let cells: Vec<String> = (0..columns.len()).map(cell).collect();
        picture += &line(&time(event), &cells);
        is_open[event.column] = event.opens;
    }
    picture
}
