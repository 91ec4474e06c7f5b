//! The commands against a running cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synod_core::{ClientError, NodeId, ReadLevel};

use crate::args::{Addresses, MembersAction};
use crate::client::{Admin, KvClient};
use crate::say::say;
use crate::store::Change;
use crate::wire::{Request, Response, View};

/// How long a command tries.
const PATIENCE: Duration = Duration::from_secs(5);

fn explain(error: &ClientError, cluster: &Addresses) -> String {
    let nodes: Vec<&str> = cluster.values().map(String::as_str).collect();
    let nodes = nodes.join(", ");
    match error {
        ClientError::TimedOut => format!(
            "no answer within {} s from {nodes}: is a majority of the nodes running? It did not happen",
            PATIENCE.as_secs()
        ),
        ClientError::Unknown => format!(
            "no answer within {} s from {nodes}; it may or may not have happened",
            PATIENCE.as_secs()
        ),
        other => other.to_string(),
    }
}

/// Sets a key.
pub(crate) async fn put(cluster: Addresses, key: Bytes, value: Bytes) -> Result<(), String> {
    let mut client = KvClient::new(Arc::new(cluster.clone()))?;
    let done = client.change(key, Change::Put(value), PATIENCE).await;
    done.map_err(|error| explain(&error, &cluster))?;
    say("ok");
    Ok(())
}

/// Prints a key's value.
pub(crate) async fn get(cluster: Addresses, key: Bytes, level: ReadLevel) -> Result<(), String> {
    let mut client = KvClient::new(Arc::new(cluster.clone()))?;
    let found = client.get(key.clone(), level, PATIENCE).await;
    match found.map_err(|error| explain(&error, &cluster))? {
        Some(value) => {
            say(&String::from_utf8_lossy(&value));
            Ok(())
        }
        None => Err(format!("there is no key `{}`", key.escape_ascii())),
    }
}

/// What each node says; the reason where one says nothing.
async fn views(cluster: &Addresses) -> Vec<(NodeId, Result<View, String>)> {
    let asked = cluster.iter().map(|(node, address)| async move {
        let view = async {
            Admin::connect(*node, address)
                .await?
                .view(PATIENCE / 5)
                .await
        };
        let view = view.await;
        (
            *node,
            view.map_err(|error| format!("no answer from {address}: {error}")),
        )
    });
    futures::future::join_all(asked).await
}

/// Prints what each node is doing.
pub(crate) async fn status(cluster: &Addresses) -> Result<(), String> {
    let views = views(cluster).await;
    say("node  role       term  leader  committed  applied  snapshot");
    for (node, view) in &views {
        match view {
            Ok(view) => say(&format!(
                "{:<4}  {:<9}  {:<4}  {:<6}  {:<9}  {:<7}  {}",
                view.node.0,
                view.role,
                view.era,
                view.leader
                    .map_or_else(|| "-".into(), |leader| leader.0.to_string()),
                view.committed.0,
                view.applied.0,
                view.snapshot.0,
            )),
            Err(why) => say(&format!("{:<4}  {why}", node.0)),
        }
    }
    let up = views.iter().filter(|(_, view)| view.is_ok()).count();
    if up == 0 {
        return Err("no node answers".into());
    }
    Ok(())
}

/// Shows or changes who belongs to the cluster.
pub(crate) async fn members(cluster: &Addresses, action: MembersAction) -> Result<(), String> {
    match action {
        MembersAction::List => list(cluster).await,
        MembersAction::AddLearner(node, address) => {
            if let Some(view) = leading_view(cluster).await
                && view.voters.contains(&node)
            {
                return Err(format!(
                    "node {} belongs to the cluster already, and votes",
                    node.0
                ));
            }
            introduce(cluster, node, &address).await?;
            change(cluster, &Request::AddLearner(node)).await?;
            say(&format!("node {} is a learner now, at {address}", node.0));
            say("give it to --peers of the other nodes when they start next");
            Ok(())
        }
        MembersAction::RemoveLearner(node) => {
            change(cluster, &Request::RemoveLearner(node)).await?;
            say(&format!("node {} is no member any more", node.0));
            Ok(())
        }
    }
}

/// What the leader of the newest term says is what counts.
async fn leading_view(cluster: &Addresses) -> Option<View> {
    let views = views(cluster).await.into_iter();
    let views = views.filter_map(|(_, view)| view.ok());
    views.max_by_key(|view| (view.era, view.role == "leader", view.committed))
}

async fn list(cluster: &Addresses) -> Result<(), String> {
    let Some(view) = leading_view(cluster).await else {
        return Err("no node answers".into());
    };
    for voter in &view.voters {
        let leads = if view.leader == Some(*voter) {
            ", leads"
        } else {
            ""
        };
        say(&format!("node {}: votes{leads}", voter.0));
    }
    for learner in &view.learners {
        say(&format!("node {}: learns, does not vote", learner.0));
    }
    if view.leader.is_none() {
        say("no leader is known");
    }
    Ok(())
}

/// Tells every node where the new one is: addresses do not travel in the log.
async fn introduce(cluster: &Addresses, node: NodeId, address: &str) -> Result<(), String> {
    let request = Request::Introduce(node, address.into());
    for (to, place) in cluster {
        let said = async {
            Admin::connect(*to, place)
                .await?
                .ask(&request, PATIENCE)
                .await
        };
        match said.await {
            Ok(Response::Changed(_)) => {}
            Ok(other) => return Err(format!("node {} refuses: {}", to.0, reason(&other))),
            Err(error) => return Err(format!("node {} at {place} does not answer: {error}", to.0)),
        }
    }
    Ok(())
}

fn reason(response: &Response) -> String {
    match response {
        Response::Refused(_, why) => why.clone(),
        Response::Unknown => "it may or may not have happened; see `members list`".into(),
        other => format!("it answers {other:?}"),
    }
}

/// Asks one node after the other until the leader has answered.
async fn change(cluster: &Addresses, request: &Request) -> Result<(), String> {
    let mut said = String::from("no node answers");
    let mut hint = None;
    for _ in 0..2 {
        for (node, address) in cluster {
            if hint.is_some_and(|leader| leader != *node) {
                continue;
            }
            let asked = async {
                Admin::connect(*node, address)
                    .await?
                    .ask(request, PATIENCE)
                    .await
            };
            match asked.await {
                Ok(Response::Changed(_)) => return Ok(()),
                Ok(Response::Refused(Some(leader), why)) if leader != *node => {
                    (hint, said) = (Some(leader), why);
                }
                Ok(other) => return Err(reason(&other)),
                Err(error) => said = format!("node {} does not answer: {error}", node.0),
            }
        }
    }
    Err(said)
}
