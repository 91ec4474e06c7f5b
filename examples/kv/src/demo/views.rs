//! What each node says about itself, asked all the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use synod_core::NodeId;

use super::load::Shared;
use crate::client::Admin;
use crate::wire::View;

/// How often a node is asked.
const EVERY: Duration = Duration::from_millis(25);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// The latest answers; nodes that do not answer are not in it.
#[derive(Default, Debug)]
pub struct Views(Mutex<BTreeMap<NodeId, View>>);

impl Views {
    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<NodeId, View> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, node: NodeId, view: Option<View>) {
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match view {
            Some(view) => drop(views.insert(node, view)),
            None => drop(views.remove(&node)),
        }
    }

    /// The node that leads in the newest term and that term, if one says that it does.
    #[must_use]
    pub fn leads(&self) -> Option<(NodeId, u64)> {
        self.leader().map(|view| (view.node, view.era))
    }

    /// The same, with all that it says.
    pub(crate) fn leader(&self) -> Option<View> {
        let leaders = self
            .all()
            .into_values()
            .filter(|view| view.role == "leader");
        leaders.max_by_key(|view| view.era)
    }
}

/// Asks `node` again and again.
pub async fn watch(shared: Arc<Shared>, node: NodeId) {
    let address = shared.cluster[&node].clone();
    loop {
        if let Ok(mut admin) = Admin::connect(node, &address).await {
            while let Ok(view) = admin.view(PATIENCE).await {
                shared.views.set(node, Some(view));
                tokio::time::sleep(EVERY).await;
            }
        }
        shared.views.set(node, None);
        tokio::time::sleep(EVERY).await;
    }
}
