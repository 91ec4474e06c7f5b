//! The contents of a snapshot: the pieces as they came, never copied together.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use bytes::{Bytes, BytesMut};

/// Bytes in pieces, each with the place behind its end. No piece is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces(Vec<(u64, Bytes)>);

impl Pieces {
    pub(super) fn len(&self) -> u64 {
        self.0.last().map_or(0, |(end, _)| *end)
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.0.push((self.len() + piece.len() as u64, piece));
        }
    }

    /// At most `max_bytes` from `offset` on, and at least one byte unless that is the end. `None`
    /// behind the end.
    pub(super) fn read(&self, offset: u64, max_bytes: usize) -> Option<Bytes> {
        let left = usize::try_from(self.len().checked_sub(offset)?).unwrap_or(usize::MAX);
        let wanted = max_bytes.max(1).min(left);
        let at = self.0.partition_point(|(end, _)| *end <= offset);
        let Some((end, piece)) = self.0.get(at) else {
            return Some(Bytes::new());
        };
        let skip = piece.len() - usize::try_from(end - offset).unwrap_or(piece.len());
        let first = piece.slice(skip..piece.len().min(skip.saturating_add(wanted)));
        if first.len() == wanted {
            return Some(first);
        }
        let mut all = BytesMut::with_capacity(wanted);
        all.extend_from_slice(&first);
        for (_, piece) in &self.0[at + 1..] {
            let part = piece.len().min(wanted - all.len());
            all.extend_from_slice(&piece[..part]);
        }
        Some(all.freeze())
    }

    /// All of it.
    pub(super) fn whole(&self) -> Bytes {
        let len = usize::try_from(self.len()).unwrap_or(usize::MAX);
        self.read(0, len).unwrap_or_default()
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.0.iter().flat_map(|(_, piece)| piece.iter().copied())
    }
}

/// By contents: how they are cut makes no difference.
impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.len() == other.len() && self.bytes().eq(other.bytes()))
    }
}

impl Eq for Pieces {}

impl Hash for Pieces {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.bytes().for_each(|byte| byte.hash(state));
    }
}
