//! `synod-kv`: a replicated key-value service on synod, and a demonstration that kills its leader.
//! `synod-kv --help` says how to use it.
//!
//! A library so that the tests with real processes (`tests/processes`) share the demonstration's
//! load, record and judge: what is public here is for them.
//!
//! The files: `store` (the application), `codec` (its bytes) · `protocol` (which replicated log) ·
//! `serve`, `service` (a node) · `wire` (between client and node) · `client` (finds the leader,
//! retries) · `commands` (put, get, status, members) · `args`, `help` (the command line) · `demo`.
#![allow(
    clippy::alloc_instead_of_core,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program has std"
)]

mod args;
mod client;
mod codec;
mod commands;
mod demo;
mod help;
#[cfg(feature = "planted")]
mod planted;
mod protocol;
mod say;
mod serve;
mod service;
mod store;
mod wire;

use std::process::ExitCode;

use args::Action;
use say::{complain, say};

pub use args::Addresses;
pub use client::KvClient;
pub use demo::cluster::free_ports;
pub use demo::load::{PATIENCE, Shared, generate};
pub use demo::record::{Recorder, Tally};
pub use demo::verify::{Counted, agreement, count, judge, read_all};
pub use demo::views::{Views, watch};

/// What the command line asked for could not be done.
const FAILED: u8 = 1;

/// The command line makes no sense.
const USAGE: u8 = 2;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let action = match args::parse(std::env::args_os().skip(1)) {
        Ok(action) => action,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    match act(action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(FAILED)
        }
    }
}

fn act(action: Action) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        match action {
            Action::Help(text) => say(text.trim_end()),
            Action::Version => say(concat!("synod-kv ", env!("CARGO_PKG_VERSION"))),
            Action::Demo(args) => return demo::run(args).await,
            Action::Serve(args) => return serve::run(args).await,
            Action::Put(cluster, key, value) => return commands::put(cluster, key, value).await,
            Action::Get(cluster, key, level) => return commands::get(cluster, key, level).await,
            Action::Status(cluster) => return commands::status(&cluster).await,
            Action::Members(cluster, action) => return commands::members(&cluster, action).await,
        }
        Ok(())
    })
}
