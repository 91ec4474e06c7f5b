//! The demonstration: a cluster of real processes, a load, a dead leader, and the proof.

pub(crate) mod cluster;
mod fault;
mod input;
pub(crate) mod load;
pub(crate) mod record;
mod report;
mod screen;
mod story;
pub(crate) mod verify;
pub(crate) mod views;

use std::sync::Arc;
use std::time::Duration;

use crate::args::DemoArgs;
use crate::serve::fresh_seed;
use cluster::Cluster;
use load::{PATIENCE, Shared};
use report::Figures;
use screen::Screen;
use story::Story;

/// It ends by then, whatever happens.
const LONGEST: Duration = Duration::from_secs(55);

/// Runs the demonstration.
///
/// # Errors
///
/// Why it could not be run, or which check has failed. No process is left behind.
pub(crate) async fn run(args: DemoArgs) -> Result<(), String> {
    // Everything that it starts is stopped when this future is dropped, also by a panic.
    let demonstration = tokio::time::timeout(LONGEST, demonstrate(&args));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    tokio::select! {
        done = demonstration => done.unwrap_or_else(|_| {
            Err(format!("not done within {} s: whether anything was lost is unknown", LONGEST.as_secs()))
        }),
        _ = tokio::signal::ctrl_c() => Err("interrupted; all nodes are stopped".into()),
        _ = terminate.recv() => Err("told to terminate; all nodes are stopped".into()),
    }
}

async fn demonstrate(args: &DemoArgs) -> Result<(), String> {
    let source = input::Source::open(args.input.as_deref())?;
    let mut cluster = Cluster::new(args)?;
    let mut screen = Screen::new();
    let shared = Arc::new(Shared::new(cluster.clients(), fresh_seed(), PATIENCE));
    let mut story = Story::new(args, Arc::clone(&shared));
    let told = async {
        story.start(&mut cluster, &mut screen).await?;
        let loaded = story.load(source, &mut cluster, &mut screen).await?;
        story.prove(loaded, &mut screen).await
    };
    let figures = match told.await {
        Ok(figures) => figures,
        Err(why) => {
            screen.end();
            cluster.show_logs();
            return Err(why);
        }
    };
    cluster.stop();
    finish(args, &figures, &cluster)
}

/// The last line, the report, and what it all means for the exit code.
fn finish(args: &DemoArgs, figures: &Figures, cluster: &Cluster) -> Result<(), String> {
    if let Some(dir) = cluster.kept() {
        crate::say::say(&format!("The logs are in {}", dir.display()));
    }
    if let Some(path) = &args.report {
        let written = std::fs::write(path, figures.to_json());
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    crate::say::say(&figures.to_string());
    figures.verdict()
}
