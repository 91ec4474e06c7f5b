//! [`NodeSet`]: which members, as one machine word.

use core::fmt;
use core::ops::{BitAnd, BitOr, Sub};

/// The most members that one quorum system can have: a [`NodeSet`] is one 64-bit word.
pub const MAX_MEMBERS: usize = 64;

/// A set of members of a quorum system, each given by its position in the ascending member list
/// ([`Quorum::position`](crate::Quorum::position)).
///
/// A set means nothing without the member list that it was made for; the quorum systems that are
/// used together (an election and a replication quorum, say) share one list for that reason.
///
/// ```
/// use synod_quorum::NodeSet;
///
/// let mut set = NodeSet::EMPTY;
/// assert!(set.insert(0));
/// assert!(!set.insert(0)); // was there already
/// assert_eq!((set | NodeSet::single(5)).len(), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct NodeSet(u64);

impl NodeSet {
    /// No member at all.
    pub const EMPTY: Self = Self(0);

    /// The set whose member at position `p` is bit `p`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// One bit per member, position 0 in the lowest bit.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The members at positions `0..count`.
    ///
    /// # Panics
    /// If `count` is above [`MAX_MEMBERS`].
    #[must_use]
    pub const fn first(count: usize) -> Self {
        assert!(count <= MAX_MEMBERS, "a NodeSet has at most 64 members");
        if count == 0 {
            Self::EMPTY
        } else {
            Self(u64::MAX >> (MAX_MEMBERS - count))
        }
    }

    /// The one member at `position`.
    ///
    /// # Panics
    /// If `position` is not below [`MAX_MEMBERS`].
    #[must_use]
    pub const fn single(position: usize) -> Self {
        assert!(position < MAX_MEMBERS, "a NodeSet has at most 64 members");
        Self(1 << position)
    }

    /// Adds the member at `position`; false if it was there already.
    ///
    /// # Panics
    /// If `position` is not below [`MAX_MEMBERS`].
    pub const fn insert(&mut self, position: usize) -> bool {
        let before = self.0;
        self.0 |= Self::single(position).0;
        self.0 != before
    }

    /// Takes the member at `position` out; false if it was not there.
    ///
    /// # Panics
    /// If `position` is not below [`MAX_MEMBERS`].
    pub const fn remove(&mut self, position: usize) -> bool {
        let before = self.0;
        self.0 &= !Self::single(position).0;
        self.0 != before
    }

    /// Whether the member at `position` is in the set. A position that cannot exist is not.
    #[must_use]
    pub const fn contains(self, position: usize) -> bool {
        position < MAX_MEMBERS && self.0 >> position & 1 == 1
    }

    /// How many members.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is no member.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every member of this set is one of `other`.
    #[must_use]
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether the two sets have no member in common.
    #[must_use]
    pub const fn is_disjoint(self, other: Self) -> bool {
        self.0 & other.0 == 0
    }

    /// The positions, ascending.
    pub const fn iter(self) -> Positions {
        Positions(self.0)
    }
}

/// The positions of a [`NodeSet`], ascending.
#[derive(Clone, Debug)]
pub struct Positions(u64);

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lowest = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(lowest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.count_ones() as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Positions {}

impl IntoIterator for NodeSet {
    type Item = usize;
    type IntoIter = Positions;

    fn into_iter(self) -> Positions {
        self.iter()
    }
}

impl FromIterator<usize> for NodeSet {
    /// # Panics
    /// If a position is not below [`MAX_MEMBERS`].
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut set = Self::EMPTY;
        for position in positions {
            set.insert(position);
        }
        set
    }
}

impl BitOr for NodeSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for NodeSet {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The members of the left set that are not in the right one.
impl Sub for NodeSet {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    #[test]
    fn a_set_is_its_positions() {
        let set: NodeSet = [63, 0, 5, 5].into_iter().collect();
        assert_eq!(set.len(), 3);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!(set.iter().len(), 3);
        assert_eq!(format!("{set:?}"), "{0, 5, 63}");
        assert!(set.contains(63) && !set.contains(1) && !set.contains(64));
    }

    #[test]
    fn the_first_members_up_to_the_limit() {
        assert_eq!(NodeSet::first(0), NodeSet::EMPTY);
        assert_eq!(NodeSet::first(3).bits(), 0b111);
        assert_eq!(NodeSet::first(64).bits(), u64::MAX);
    }

    #[test]
    fn set_algebra() {
        let (a, b) = (NodeSet::from_bits(0b0110), NodeSet::from_bits(0b0011));
        assert_eq!((a | b).bits(), 0b0111);
        assert_eq!((a & b).bits(), 0b0010);
        assert_eq!((a - b).bits(), 0b0100);
        assert!((a & b).is_subset(a) && !a.is_subset(b));
        assert!(!a.is_disjoint(b) && (a - b).is_disjoint(b));
        let mut c = a;
        assert!(c.remove(1) && !c.remove(1));
        assert_eq!(c.bits(), 0b0100);
    }

    #[test]
    #[should_panic(expected = "at most 64 members")]
    fn a_position_past_the_word_is_a_bug_of_the_caller() {
        let _ = NodeSet::single(64);
    }
}
