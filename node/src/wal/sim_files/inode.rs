//! One simulated file: what programs see, what is on the disk, and where the two differ.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use synod_core::Rng;

use super::world::Luck;

/// What a disk writes at once or not at all, unless it tears even that.
const SECTOR: usize = 512;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Inode {
    seen: Vec<u8>,
    stored: Vec<u8>,
    /// The sectors that were written since the last sync, and which bytes of them.
    dirty: BTreeMap<usize, Range<usize>>,
    resized: bool,
}

impl Inode {
    pub(super) const fn size(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let from = place(offset).min(self.seen.len());
        let len = buffer.len().min(self.seen.len() - from);
        buffer[..len].copy_from_slice(&self.seen[from..from + len]);
        len
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let from = place(offset);
        let to = from + bytes.len();
        let old = self.seen.len();
        if to > old {
            self.seen.resize(to, 0);
            self.resized = true;
        }
        self.seen[from..to].copy_from_slice(bytes);
        self.touch(from.min(old)..to);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let (old, new) = (self.seen.len(), place(len));
        if old == new {
            return;
        }
        self.seen.resize(new, 0);
        self.resized = true;
        if new > old {
            self.touch(old..new);
        } else {
            self.dirty.retain(|sector, _| sector * SECTOR < new);
            for (sector, range) in &mut self.dirty {
                range.end = range.end.min(new - sector * SECTOR);
            }
        }
    }

    /// Notes that bytes are not on the disk.
    fn touch(&mut self, bytes: Range<usize>) {
        for sector in bytes.start / SECTOR..bytes.end.div_ceil(SECTOR) {
            let begin = sector * SECTOR;
            let low = bytes.start.saturating_sub(begin);
            let high = (bytes.end - begin).min(SECTOR);
            let range = self.dirty.entry(sector).or_insert(low..high);
            *range = range.start.min(low)..range.end.max(high);
        }
    }

    pub(super) fn sync(&mut self) {
        self.stored.resize(self.seen.len(), 0);
        for sector in mem::take(&mut self.dirty).into_keys() {
            self.store(sector);
        }
        self.resized = false;
    }

    /// Copies a sector to the disk.
    fn store(&mut self, sector: usize) {
        let begin = sector * SECTOR;
        let end = (begin + SECTOR).min(self.seen.len()).min(self.stored.len());
        if begin < end {
            self.stored[begin..end].copy_from_slice(&self.seen[begin..end]);
        }
    }

    /// The sectors that were to be written count as written; only some are.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        let luck = Luck::draw(rng);
        if self.resized && luck.keeps(rng) {
            self.stored.resize(self.seen.len(), 0);
        }
        for sector in mem::take(&mut self.dirty).into_keys() {
            if luck.keeps(rng) {
                self.store(sector);
            }
        }
        self.resized = false;
    }

    pub(super) fn lose_power(&mut self, luck: Luck, rng: &mut Rng) {
        if self.resized && luck.keeps(rng) {
            self.stored.resize(self.seen.len(), 0);
        }
        for (sector, range) in mem::take(&mut self.dirty) {
            if luck.keeps(rng) {
                self.store(sector);
            } else if luck == Luck::Torn {
                self.tear(sector, range, rng);
            }
        }
        self.seen = self.stored.clone();
        self.resized = false;
    }

    /// Leaves a beginning of what was written to a sector, or garbage where it was.
    fn tear(&mut self, sector: usize, range: Range<usize>, rng: &mut Rng) {
        let begin = sector * SECTOR;
        let garbage = rng.chance(300_000);
        let cut = range.start + place(rng.below((range.end - range.start) as u64 + 1));
        for at in range {
            let byte = match garbage {
                true => rng.next_u64().to_le_bytes()[0],
                false if at < cut => self.seen[begin + at],
                false => continue,
            };
            if let Some(stored) = self.stored.get_mut(begin + at) {
                *stored = byte;
            }
        }
    }

    pub(super) fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// What a loss of power may leave, each once.
    pub(super) fn power_losses(&self, parts: usize) -> Vec<Self> {
        let left = self.left(parts).into_iter();
        left.map(|stored| Self {
            seen: stored.clone(),
            stored,
            ..Self::default()
        })
        .collect()
    }

    /// What a failed sync may leave, each once: what is seen stays, and counts as written.
    pub(super) fn failed_syncs(&self, parts: usize) -> Vec<Self> {
        let left = self.left(parts).into_iter();
        left.map(|stored| Self {
            seen: self.seen.clone(),
            stored,
            ..Self::default()
        })
        .collect()
    }

    /// What may be on the disk after some of the sectors that were to be written are: the old
    /// length or the new one, and any of the sectors. If there are more than `parts` that make a
    /// difference, adjacent ones share their fate.
    fn left(&self, parts: usize) -> BTreeSet<Vec<u8>> {
        let mut left = BTreeSet::new();
        for len in [self.stored.len(), self.seen.len()] {
            if len != self.stored.len() && !self.resized {
                continue;
            }
            let mut base = self.stored.clone();
            base.resize(len, 0);
            let place = |sector: &usize| {
                let begin = sector * SECTOR;
                let end = (begin + SECTOR).min(self.seen.len()).min(len);
                begin.min(end)..end
            };
            let differs = |place: &Range<usize>| base[place.clone()] != self.seen[place.clone()];
            let places: Vec<_> = self.dirty.keys().map(place).filter(differs).collect();
            let part = places.len().div_ceil(parts).max(1);
            let groups: Vec<&[Range<usize>]> = places.chunks(part).collect();
            for kept in 0..1_u32 << groups.len() {
                let mut end = base.clone();
                let groups = groups.iter().enumerate();
                let kept = groups.filter(|(at, _)| kept >> at & 1 == 1);
                for place in kept.flat_map(|(_, group)| group.iter()) {
                    end[place.clone()].copy_from_slice(&self.seen[place.clone()]);
                }
                left.insert(end);
            }
        }
        left
    }

    pub(super) fn flip(&mut self, offset: u64, bit: u8) {
        self.seen[place(offset)] ^= 1 << bit;
        if let Some(stored) = self.stored.get_mut(place(offset)) {
            *stored ^= 1 << bit;
        }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
