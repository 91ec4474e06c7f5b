#![doc = include_str!("../README.md")]

extern crate alloc;

mod agenda;
mod application;
mod campaign;
pub mod check;
mod device;
pub mod history;
mod kv;
pub mod linear;
mod plan;
mod report;
mod schedule;
mod sessions;
mod shrink;
mod simulation;
mod subject;
pub mod trace;
mod world;

pub use application::{Application, Request, Workload};
pub use campaign::{Campaign, Summary};
pub use device::{Device, Reopened, at_once};
pub use kv::{Kv, KvStore};
pub use plan::{Budget, DiskPlan, Fault, FaultPlan, MachinePlan, NetworkPlan, Plan, Span};
pub use report::{Failure, Marks, Report};
pub use schedule::{Incident, Kind, NoIncident, Schedule};
pub use shrink::{Effort, Shrunk};
pub use simulation::Simulation;
pub use subject::{Bounds, Framed, Start, Subject, Wire};
