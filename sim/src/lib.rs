#![doc = include_str!("../README.md")]

extern crate alloc;

mod agenda;
mod application;
mod campaign;
pub mod check;
mod clients;
mod device;
mod disk;
pub mod history;
mod kv;
pub mod linear;
mod log;
mod plan;
mod report;
mod scene;
mod schedule;
mod sessions;
mod shrink;
mod simulation;
mod subject;
pub mod trace;
mod world;

pub use application::{Application, Request, Workload};
pub use campaign::{Campaign, Summary};
pub use clients::{ClientScene, Clients, Service, Settled, Turn};
pub use device::{Device, Reopened, at_once};
pub use disk::{Disk, Journal, Keyed, Latest};
pub use kv::{Kv, KvStore};
pub use log::LogScene;
pub use plan::{Budget, DiskPlan, Fault, FaultPlan, MachinePlan, NetworkPlan, Plan, Span};
pub use report::{Failure, Marks, Report};
pub use scene::{Scene, Scenery};
pub use schedule::{Incident, Kind, NoIncident, Schedule};
pub use shrink::{Effort, Shrunk};
pub use simulation::Simulation;
pub use subject::{
    Bounds, Command, Event, Found, Framed, Load, LogSubject, Message, Record, Reply, Start,
    Subject, Wire,
};
pub use world::Stage;
