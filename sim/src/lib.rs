#![doc = include_str!("../README.md")]

extern crate alloc;

mod agenda;
mod application;
mod campaign;
pub mod check;
pub mod history;
mod kv;
pub mod linear;
mod plan;
mod report;
mod sessions;
mod simulation;
mod subject;
mod world;

pub use application::{Application, Request, Workload};
pub use campaign::{Campaign, Summary};
pub use kv::{Kv, KvStore};
pub use plan::{DiskPlan, Fault, FaultPlan, MachinePlan, NetworkPlan, Plan, Span};
pub use report::{Failure, Marks, Report};
pub use simulation::Simulation;
pub use subject::{Start, Subject};
