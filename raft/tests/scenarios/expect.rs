//! What an author claims: checked always, and never rewritten.

use synod_core::{NodeId, ReplicatedLog, Role, Status};

use crate::stage::{Done, Stage};

impl Stage {
    pub(crate) fn expect(&self, words: &[&str]) -> Done {
        let mut nodes = Vec::new();
        let mut rest = words;
        while let [first, tail @ ..] = rest
            && let Ok(id) = self.node(first)
        {
            nodes.push(id);
            rest = tail;
        }
        match (nodes.is_empty(), rest) {
            (true, [request, fate @ ..]) => self.expect_of_client(request, fate),
            (false, [_, ..]) => nodes.iter().try_for_each(|id| self.expect_of(*id, rest)),
            (_, []) => Err("what is expected?".into()),
        }
    }

    fn expect_of_client(&self, request: &str, fate: &[&str]) -> Done {
        let Some(known) = self.requests.get(request) else {
            return Err(format!("{request} is neither a node nor a request"));
        };
        // Why it was refused may be left out.
        let short = known.fate.split(" (").next().unwrap_or_default();
        let wanted = fate.join(" ");
        if wanted == known.fate || wanted == short {
            return Ok(());
        }
        Err(format!(
            "{request} is expected to be {wanted}, and is {}",
            known.fate
        ))
    }

    fn expect_of(&self, id: NodeId, what: &[&str]) -> Done {
        let server = &self.cluster.servers[&id];
        let status = server.raft.status();
        let name = self.names.of(id);
        let wanted = what[1..].join(" ");
        let found = match what[0] {
            "leads" | "follows" | "stands" | "learns" | "is" if !server.up => "down".into(),
            "leads" | "follows" | "stands" | "learns" | "is" => {
                return self.expect_role(&status, what);
            }
            "holds" | "hold" => self.row(id),
            "applied" => self.applied(id),
            "committed" => status.committed.0.to_string(),
            "voters" => self.names.list(&status.voters),
            "learners" => self.names.list(&status.learners),
            "snapshot" => status.snapshot.0.to_string(),
            "term" => status.era.to_string(),
            other => return Err(format!("{other} can not be expected of a node")),
        };
        if found == wanted {
            return Ok(());
        }
        Err(format!(
            "{name}: expected {}, found {found}",
            what.join(" ")
        ))
    }

    fn expect_role(&self, status: &Status, what: &[&str]) -> Done {
        let leader = |id: Option<NodeId>| self.names.list(id.as_slice());
        let found = match status.role {
            Role::Leader => format!("leads term {}", status.era),
            Role::Follower => format!("follows {} in term {}", leader(status.leader), status.era),
            Role::Candidate => format!("stands in term {}", status.era),
            Role::Learner => format!(
                "learns from {} in term {}",
                leader(status.leader),
                status.era
            ),
            other => format!("is {other}"),
        };
        if found == what.join(" ") {
            return Ok(());
        }
        let name = self.names.of(status.node);
        Err(format!(
            "{name}: expected {}, found {found}",
            what.join(" ")
        ))
    }
}
