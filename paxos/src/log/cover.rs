//! [`Cover`]: a set of slots, nearly always all of them up to one.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode, LogIndex};

/// Which slots something holds of: all up to one, and perhaps stretches behind the first gap.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Plain", into = "Plain"))]
pub struct Cover {
    through: LogIndex,
    /// First and last slot of each stretch, ascending; between any two and before the first there
    /// is a gap.
    beyond: Vec<(LogIndex, LogIndex)>,
}

impl Cover {
    /// More stretches than this do not travel: what is left out is sent again.
    pub const MOST_STRETCHES: usize = 32;

    /// Everything up to and with `through`.
    #[must_use]
    pub const fn up_to(through: LogIndex) -> Self {
        Self {
            through,
            beyond: Vec::new(),
        }
    }

    /// The last slot before the first gap.
    #[must_use]
    pub const fn through(&self) -> LogIndex {
        self.through
    }

    /// The stretches behind the first gap.
    #[must_use]
    pub fn beyond(&self) -> &[(LogIndex, LogIndex)] {
        &self.beyond
    }

    /// The last slot of all.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        self.beyond.last().map_or(self.through, |(_, last)| *last)
    }

    /// Whether `index` is in it.
    #[must_use]
    pub fn contains(&self, index: LogIndex) -> bool {
        self.end_of(index).is_some()
    }

    /// The end of the stretch that `index` is in.
    #[must_use]
    pub fn end_of(&self, index: LogIndex) -> Option<LogIndex> {
        if index <= self.through {
            return Some(self.through);
        }
        let stretch = self
            .beyond
            .iter()
            .find(|(first, last)| (*first..=*last).contains(&index));
        stretch.map(|(_, last)| *last)
    }

    /// The slot before the next stretch behind `index`, which is in none: how far the gap goes.
    #[must_use]
    pub fn gap_end(&self, index: LogIndex) -> Option<LogIndex> {
        let next = self.beyond.iter().find(|(first, _)| *first > index);
        next.map(|(first, _)| first.previous())
    }

    /// Adds `first..=last`.
    pub fn add(&mut self, first: LogIndex, last: LogIndex) {
        if last < first {
            return;
        }
        if first <= self.through.next() {
            return self.raise(last);
        }
        // Nearly always behind all others.
        let (mut first, mut last) = (first, last);
        self.beyond.retain(|(start, end)| {
            let apart = *start > last.next() || end.next() < first;
            if !apart {
                first = first.min(*start);
                last = last.max(*end);
            }
            apart
        });
        let place = self.beyond.partition_point(|(start, _)| *start < first);
        self.beyond.insert(place, (first, last));
    }

    /// Adds everything up to and with `through`.
    pub fn raise(&mut self, through: LogIndex) {
        if through <= self.through {
            return;
        }
        self.through = through;
        if self.beyond.is_empty() {
            return;
        }
        let mut reached = through;
        self.beyond.retain(|(start, end)| {
            if *start <= reached.next() {
                reached = reached.max(*end);
                return false;
            }
            true
        });
        self.through = reached;
    }

    /// Leaves out everything behind `end`.
    pub fn clamp(&mut self, end: LogIndex) {
        self.through = self.through.min(end);
        self.beyond.retain(|(start, _)| *start <= end);
        if let Some((_, last)) = self.beyond.last_mut() {
            *last = (*last).min(end);
        }
    }

    /// What may travel: no more than so many stretches, the first ones.
    pub(crate) fn short(&self) -> Self {
        let mut short = self.clone();
        short.beyond.truncate(Self::MOST_STRETCHES);
        short
    }

    fn is_in_order(&self) -> bool {
        let mut end = self.through;
        self.beyond.iter().all(|(first, last)| {
            let apart = end.0.checked_add(1).is_some_and(|next| first.0 > next);
            end = *last;
            apart && first <= last
        })
    }
}

impl Encode for Cover {
    fn encode(&self, out: &mut BytesMut) {
        self.through.encode(out);
        self.beyond.encode(out);
    }
}

impl Decode for Cover {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let cover = Self {
            through: Decode::decode(input)?,
            beyond: Decode::decode(input)?,
        };
        if !cover.is_in_order() {
            return Err(DecodeError::Invalid {
                what: "cover",
                why: "has stretches that are not apart and in order",
            });
        }
        Ok(cover)
    }
}

/// How `serde` sees a [`Cover`].
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Plain {
    through: LogIndex,
    beyond: Vec<(LogIndex, LogIndex)>,
}

#[cfg(feature = "serde")]
impl From<Cover> for Plain {
    fn from(cover: Cover) -> Self {
        Self {
            through: cover.through,
            beyond: cover.beyond,
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Plain> for Cover {
    type Error = &'static str;

    fn try_from(plain: Plain) -> Result<Self, Self::Error> {
        let cover = Self {
            through: plain.through,
            beyond: plain.beyond,
        };
        if cover.is_in_order() {
            Ok(cover)
        } else {
            Err("cover: stretches must be apart and in order")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use synod_core::Rng;

    fn slots(cover: &Cover) -> BTreeSet<u64> {
        (1..60)
            .filter(|slot| cover.contains(LogIndex(*slot)))
            .collect()
    }

    /// Against a plain set of numbers, by random steps.
    #[test]
    fn a_cover_is_a_set() {
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let (mut cover, mut set) = (Cover::default(), BTreeSet::new());
            for _ in 0..12 {
                let (a, b) = (rng.within(1, 40), rng.within(1, 40));
                let (first, last) = (a.min(b).max(a.max(b).saturating_sub(6)), a.max(b));
                match rng.below(8) {
                    0 => {
                        cover.raise(LogIndex(first));
                        set.extend(1..=first);
                    }
                    1 => {
                        cover.clamp(LogIndex(last));
                        set.retain(|slot| *slot <= last);
                    }
                    _ => {
                        cover.add(LogIndex(first), LogIndex(last));
                        set.extend(first..=last);
                    }
                }
                assert!(cover.is_in_order(), "{cover:?}");
                assert_eq!(slots(&cover), set, "{cover:?} in seed {seed}");
                let gap = (1..).find(|slot| !set.contains(slot)).unwrap_or(0);
                assert_eq!(cover.through(), LogIndex(gap - 1), "seed {seed}");
                let last = set.last().copied().unwrap_or(0);
                assert_eq!(cover.last(), LogIndex(last), "seed {seed}");
                for slot in 1..60 {
                    let end = (slot..).take_while(|slot| set.contains(slot)).last();
                    assert_eq!(cover.end_of(LogIndex(slot)), end.map(LogIndex), "{cover:?}");
                    if end.is_none() {
                        let next = set.range(slot..).next().map(|next| LogIndex(next - 1));
                        assert_eq!(cover.gap_end(LogIndex(slot)), next, "{cover:?}");
                    }
                }
                let there = Cover::decode_all(cover.to_bytes());
                assert_eq!(there, Ok(cover.clone()));
            }
        }
    }

    #[test]
    fn stretches_are_apart() {
        let bytes = |beyond: &[(u64, u64)]| {
            let beyond = beyond
                .iter()
                .map(|(first, last)| (LogIndex(*first), LogIndex(*last)));
            let cover = Cover {
                through: LogIndex(3),
                beyond: beyond.collect(),
            };
            Cover::decode_all(cover.to_bytes()).is_ok()
        };
        assert!(bytes(&[(5, 5), (7, 9)]));
        for wrong in [
            &[(4, 5)][..],
            &[(6, 5)],
            &[(5, 7), (8, 9)],
            &[(7, 9), (5, 5)],
            &[(5, u64::MAX), (6, 7)],
        ] {
            assert!(!bytes(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn only_so_many_stretches_travel() {
        let mut cover = Cover::default();
        for k in 1..100 {
            cover.add(LogIndex(2 * k), LogIndex(2 * k));
        }
        let short = cover.short();
        assert_eq!(short.beyond().len(), Cover::MOST_STRETCHES);
        assert!(short.contains(LogIndex(2)) && !short.contains(LogIndex(198)));
    }
}
