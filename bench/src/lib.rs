#![doc = include_str!("../README.md")]
//!
//! # Map of the files
//!
//! | file | about |
//! | --- | --- |
//! | `options.rs` | the command line, and the plan it asks for |
//! | `work.rs` | one cell of the comparison: how many commands, how large, how many at once |
//! | `payload.rs` | the commands' contents and the digest that proves they arrived |
//! | `subject.rs` | what a machine must offer to be measured; messages between nodes in one thread |
//! | `run.rs` | the loop that drives a subject, and the verification at its end |
//! | `subjects/` | one file per crate under test, and the roster |
//! | `driver/` | the same for whole services on an async runtime |
//! | `passes.rs` | interleaved repetitions and their statistics |
//! | `report.rs` | the table and the JSON rows |

pub mod driver;
pub mod options;
pub mod passes;
pub mod payload;
pub mod report;
pub mod run;
pub mod subject;
pub mod subjects;
pub mod work;
