//! Which links are up: what every machine needs to address an envelope.

use alloc::collections::BTreeMap;

use synod_core::{Envelope, Link, LinkId, NodeId};

/// The current incarnation of the link to each peer that has one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Links {
    me: NodeId,
    up: BTreeMap<NodeId, LinkId>,
}

impl Links {
    pub(crate) const fn new(me: NodeId) -> Self {
        let up = BTreeMap::new();
        Self { me, up }
    }

    pub(crate) fn set(&mut self, peer: NodeId, link: Link) {
        match link {
            Link::Up(id) => self.up.insert(peer, id),
            Link::Down => self.up.remove(&peer),
        };
    }

    pub(crate) fn is_up(&self, peer: NodeId) -> bool {
        self.up.contains_key(&peer)
    }

    /// Whether a message is of a link's current incarnation and for this node. The transport has
    /// seen to it; a machine that checks too survives a broken one.
    pub(crate) fn is_current<M>(&self, envelope: &Envelope<M>) -> bool {
        envelope.to == self.me && self.up.get(&envelope.from) == Some(&envelope.link)
    }

    /// An envelope for `to`, if there is a way now.
    pub(crate) fn address<M>(&self, to: NodeId, message: M) -> Option<Envelope<M>> {
        let link = *self.up.get(&to)?;
        let from = self.me;
        Some(Envelope {
            from,
            to,
            link,
            message,
        })
    }
}
