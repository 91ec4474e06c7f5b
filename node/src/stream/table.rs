//! Whom we know, where they are and which link to them is the current one.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use synod_core::{Instant, LinkId, NodeId};

use super::Refusal;
use super::outbound::Outbound;

/// One incarnation of a link.
#[derive(Debug)]
pub(crate) struct LinkState {
    pub(crate) id: LinkId,
    pub(crate) peer: NodeId,
    /// The life of the peer's transport that it belongs to.
    pub(crate) boot: u64,
    /// The number that the peer has confirmed it with, if confirming is the peer's part.
    pub(crate) number: Option<u64>,
    pub(crate) since: Instant,
    pub(crate) out: Outbound,
}

#[derive(Debug)]
pub(crate) struct Table {
    peers: BTreeMap<NodeId, Peer>,
    next_link: u64,
    next_entry: u64,
    max_peers: usize,
    accept_unknown: bool,
    /// Peers that are new in the address book and have no dialler yet.
    new: Vec<(NodeId, Entry)>,
    closing: bool,
}

/// Tells an entry of the address book from a later one for the same node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry(u64);

#[derive(Debug)]
struct Peer {
    entry: Entry,
    /// `None` for a peer that is not in the address book and has come by itself.
    address: Option<String>,
    /// Rises with each change of the address.
    edition: u64,
    link: Option<Arc<LinkState>>,
    /// How often in a row a link could not be had or did not last.
    failures: u32,
    dialler: Option<Waker>,
}

/// Where to dial, and how often that has failed.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) peer: NodeId,
    pub(crate) entry: Entry,
    pub(crate) address: String,
    pub(crate) failures: u32,
    edition: u64,
}

/// What a dialler finds.
#[derive(Debug)]
pub(crate) enum Need {
    /// The peer has a link.
    Nothing,
    /// The peer is to be dialled.
    Dial(Target),
    /// The peer has left the address book, or the transport is closed.
    End,
}

impl Table {
    pub(crate) const fn new(max_peers: usize, accept_unknown: bool) -> Self {
        Self {
            peers: BTreeMap::new(),
            next_link: 1,
            next_entry: 0,
            max_peers,
            accept_unknown,
            new: Vec::new(),
            closing: false,
        }
    }

    /// The current link to `peer`.
    pub(crate) fn link(&self, peer: NodeId) -> Option<&Arc<LinkState>> {
        self.peers.get(&peer)?.link.as_ref()
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<LinkState>> {
        self.peers.values().filter_map(|peer| peer.link.as_ref())
    }

    pub(crate) const fn closing(&self) -> bool {
        self.closing
    }

    /// Takes no further links.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.peers.values_mut().for_each(Peer::wake);
    }

    /// Enters `peer` into the address book, or changes where it is.
    pub(crate) fn set(&mut self, node: NodeId, address: String) -> Result<(), Refusal> {
        self.room(node)?;
        let peer = self.entry(node);
        if peer.address.as_ref() == Some(&address) {
            return Ok(());
        }
        let fresh = peer.address.is_none();
        peer.address = Some(address);
        peer.edition += 1;
        peer.failures = 0;
        peer.wake();
        let entry = peer.entry;
        if fresh {
            self.new.push((node, entry));
        }
        Ok(())
    }

    /// Takes `peer` out of the address book; its link, which is to be ended.
    pub(crate) fn remove(&mut self, node: NodeId) -> Option<Arc<LinkState>> {
        let mut peer = self.peers.remove(&node)?;
        peer.wake();
        peer.link
    }

    pub(crate) fn take_new(&mut self) -> Vec<(NodeId, Entry)> {
        core::mem::take(&mut self.new)
    }

    /// Whether `node` may have a link.
    pub(crate) fn admits(&self, node: NodeId) -> Result<(), Refusal> {
        if self.closing {
            return Err(Refusal::Closing);
        }
        let known = self.peers.get(&node).is_some_and(|p| p.address.is_some());
        if !known && !self.accept_unknown {
            return Err(Refusal::UnknownPeer(node));
        }
        self.room(node)
    }

    fn room(&self, node: NodeId) -> Result<(), Refusal> {
        if self.peers.contains_key(&node) || self.peers.len() < self.max_peers {
            return Ok(());
        }
        Err(Refusal::Full(self.max_peers as u64))
    }

    /// Makes the next link id.
    pub(crate) const fn next_link(&mut self) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        id
    }

    /// Makes `link` the current one of its peer; the one that it replaces.
    pub(crate) fn install(&mut self, link: Arc<LinkState>) -> Option<Arc<LinkState>> {
        let peer = self.entry(link.peer);
        peer.wake();
        peer.link.replace(link)
    }

    /// Forgets `link` if it is still the current one; `lasted` if it was worth having.
    pub(crate) fn uninstall(&mut self, link: &LinkState, lasted: bool) {
        let Some(peer) = self.peers.get_mut(&link.peer) else {
            return;
        };
        if peer.link.as_ref().is_none_or(|now| now.id != link.id) {
            return;
        }
        peer.link = None;
        peer.failures = if lasted {
            0
        } else {
            peer.failures.saturating_add(1)
        };
        peer.wake();
        if peer.address.is_none() {
            self.peers.remove(&link.peer);
        }
    }

    /// Counts an attempt that came to nothing.
    pub(crate) fn failed(&mut self, target: &Target) {
        if let Some(peer) = self.peers.get_mut(&target.peer) {
            // An address that has changed meanwhile starts over.
            if peer.entry == target.entry && peer.edition == target.edition {
                peer.failures = peer.failures.saturating_add(1);
            }
        }
    }

    /// What the dialler of this entry has to do; it will be woken when that changes.
    pub(crate) fn need(&mut self, node: NodeId, entry: Entry, waker: &Waker) -> Need {
        let closing = self.closing;
        let peer = self
            .peers
            .get_mut(&node)
            .filter(|p| p.entry == entry && !closing);
        let Some(peer) = peer else {
            return Need::End;
        };
        peer.dialler = Some(waker.clone());
        match (&peer.link, &peer.address) {
            (None, Some(address)) => Need::Dial(Target {
                peer: node,
                entry,
                address: address.clone(),
                failures: peer.failures,
                edition: peer.edition,
            }),
            _ => Need::Nothing,
        }
    }

    fn entry(&mut self, node: NodeId) -> &mut Peer {
        self.peers.entry(node).or_insert_with(|| {
            self.next_entry += 1;
            Peer {
                entry: Entry(self.next_entry),
                address: None,
                edition: 0,
                link: None,
                failures: 0,
                dialler: None,
            }
        })
    }
}

impl Target {
    /// Whether this is no longer what there is to do.
    pub(crate) fn outdated(&self, need: &Need) -> bool {
        !matches!(need, Need::Dial(now) if now.edition == self.edition)
    }
}

impl Peer {
    fn wake(&mut self) {
        if let Some(dialler) = self.dialler.take() {
            dialler.wake();
        }
    }
}
