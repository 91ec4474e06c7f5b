//! The leader's death and return.

use std::time::Duration;

use synod_core::NodeId;

use super::cluster::Cluster;
use super::load::Shared;
use super::screen::Screen;
use crate::wire::View;

/// What has happened so far; times are those of the recorder.
enum Stage {
    Calm,
    Killed(Victim),
    /// Another leads since then.
    Elected(Victim, Duration),
    /// The victim runs again since then.
    Restarted(Victim, Duration),
    CaughtUp,
}

/// The leader that was killed.
#[derive(Clone, Copy)]
struct Victim {
    node: NodeId,
    era: u64,
    killed: Duration,
}

/// Kills the leader, and starts it again.
pub(crate) struct Fault {
    stage: Stage,
    /// When to kill and when to restart.
    kill_at: Duration,
    restart_at: Duration,
    /// The longest time without an acknowledged write between the kill and the restart.
    pub(crate) pause: Option<Duration>,
}

impl Fault {
    /// A fault in a load that begins at `began` and lasts for `seconds`.
    pub(crate) fn new(began: Duration, seconds: Duration) -> Self {
        Self {
            stage: Stage::Calm,
            kill_at: began + seconds * 3 / 10,
            restart_at: began + seconds * 6 / 10,
            pause: None,
        }
    }

    /// Whether all of it has happened.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::CaughtUp)
    }

    /// What has not happened yet.
    pub(crate) const fn missing(&self) -> &'static str {
        match self.stage {
            Stage::Calm => "there was no leader to kill",
            Stage::Killed(_) => "no new leader was elected",
            Stage::Elected(..) => "no write was acknowledged under the new leader",
            Stage::Restarted(..) | Stage::CaughtUp => "the node that was killed has not caught up",
        }
    }

    /// Does and tells what is next, if its time has come.
    pub(crate) fn go_on(
        &mut self,
        shared: &Shared,
        cluster: &mut Cluster,
        screen: &mut Screen,
    ) -> Result<(), String> {
        let now = shared.recorder.elapsed();
        let Some(leader) = shared.views.leader() else {
            return Ok(());
        };
        match self.stage {
            Stage::Calm if now >= self.kill_at => self.kill(&leader, shared, cluster, screen),
            Stage::Killed(victim) if leader.era > victim.era => {
                let took = (now - victim.killed).as_millis();
                let (node, era) = (leader.node.0, leader.era);
                screen.tell(&format!(
                    "Node {node} was elected leader in term {era}, {took} ms after the kill"
                ));
                self.stage = Stage::Elected(victim, now);
            }
            Stage::Elected(victim, since)
                if now >= self.restart_at && shared.recorder.last_acknowledged() > Some(since) =>
            {
                self.restart(victim, shared, cluster, screen)?;
            }
            Stage::Restarted(victim, since) => {
                let back = shared.views.all().remove(&victim.node);
                if let Some(back) = back.filter(|back| back.applied >= leader.applied) {
                    let (node, index) = (back.node.0, back.applied.0);
                    let took = (now - since).as_millis();
                    screen.tell(&format!(
                        "Node {node} has caught up with entry {index}, {took} ms after its start"
                    ));
                    self.stage = Stage::CaughtUp;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn kill(&mut self, leader: &View, shared: &Shared, cluster: &mut Cluster, screen: &mut Screen) {
        let (node, era) = (leader.node, leader.era);
        let killed = shared.recorder.elapsed();
        cluster.kill(node);
        screen.tell(&format!(
            "SIGKILL to node {}, the leader: the others must notice and elect another",
            node.0
        ));
        self.stage = Stage::Killed(Victim { node, era, killed });
    }

    fn restart(
        &mut self,
        victim: Victim,
        shared: &Shared,
        cluster: &mut Cluster,
        screen: &mut Screen,
    ) -> Result<(), String> {
        let now = shared.recorder.elapsed();
        self.pause = shared.recorder.longest_pause(victim.killed, now);
        if let Some(pause) = self.pause {
            screen.tell(&format!(
                "For {} ms after the kill no write was acknowledged",
                pause.as_millis()
            ));
        }
        cluster.start(victim.node)?;
        screen.tell(&format!(
            "Node {} starts again, from its log",
            victim.node.0
        ));
        self.stage = Stage::Restarted(victim, now);
        Ok(())
    }
}
