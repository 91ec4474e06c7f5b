//! The state behind simulated files.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem;
use std::hash::DefaultHasher;
use std::io;

use synod_core::Rng;

use super::inode::Inode;

/// What happens to an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The process ends before it: this and all later operations fail.
    Crash,
    /// It fails with an input/output error. A write has then done a part of its work, a sync has
    /// made some of it durable and forgotten the rest.
    Fail,
    /// It fails for lack of room.
    Full,
}

/// One operation that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// What: `write`, `sync`, `rename`, …
    pub kind: &'static str,
    /// On which file; empty for the directory.
    pub name: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct InodeId(u64);

#[derive(Clone, Hash, Debug)]
enum DirOp {
    Link(String, InodeId),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Debug)]
pub(super) struct World {
    /// The names as they are seen, and as they are on the disk.
    names: BTreeMap<String, InodeId>,
    stored: BTreeMap<String, InodeId>,
    /// What happened to names since the last sync of the directory.
    pending: Vec<DirOp>,
    inodes: BTreeMap<InodeId, Inode>,
    locks: BTreeSet<String>,
    life: u64,
    capacity: u64,
    trace: Vec<Operation>,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
    rng: Rng,
    /// What was about to change and how everything was before, if that is kept.
    moments: Option<Vec<(Operation, Self)>>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            names: BTreeMap::new(),
            stored: BTreeMap::new(),
            pending: Vec::new(),
            inodes: BTreeMap::new(),
            locks: BTreeSet::new(),
            life: 0,
            capacity: u64::MAX,
            trace: Vec::new(),
            faults: BTreeMap::new(),
            crashed: false,
            rng: Rng::new(seed),
            moments: None,
        }
    }

    /// Counts an operation of `life` and says what becomes of it.
    pub(super) fn attempt(&mut self, life: u64, kind: &'static str, name: &str) -> io::Result<()> {
        if !self.is_alive(life) {
            return Err(io::Error::other("the process has crashed"));
        }
        let number = self.trace.len() as u64;
        let operation = Operation {
            kind,
            name: name.to_string(),
        };
        if self.moments.is_some() && !LOOKS.contains(&kind) {
            let before = (operation.clone(), self.without_past());
            self.moments.get_or_insert_default().push(before);
        }
        self.trace.push(operation);
        match self.faults.get(&number) {
            None => Ok(()),
            Some(Fault::Crash) => {
                self.crashed = true;
                Err(io::Error::other("the process has crashed"))
            }
            Some(Fault::Fail) => Err(io::Error::other("simulated input/output error")),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// The same on an open file, by the name that it has now.
    pub(super) fn attempt_on(
        &mut self,
        life: u64,
        kind: &'static str,
        inode: InodeId,
    ) -> io::Result<()> {
        let mut names = self.names.iter();
        let name = names.find(|(_, id)| **id == inode);
        let name = name.map_or_else(|| "removed".to_string(), |(name, _)| name.clone());
        self.attempt(life, kind, &name)
    }

    pub(super) const fn is_alive(&self, life: u64) -> bool {
        self.life == life && !self.crashed
    }

    pub(super) fn next_life(&mut self) -> u64 {
        self.life += 1;
        self.crashed = false;
        self.faults.clear();
        self.locks.clear();
        self.life
    }

    pub(super) fn plan(&mut self, operation: u64, fault: Fault) {
        self.faults.insert(operation, fault);
    }

    pub(super) fn trace(&self) -> &[Operation] {
        &self.trace
    }

    pub(super) const fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    pub(super) const fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    pub(super) fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.rng.below(bound)).unwrap_or(0)
    }

    pub(super) fn files(&self) -> Vec<(String, u64)> {
        let size = |(name, inode): (&String, &InodeId)| (name.clone(), self.inodes[inode].size());
        self.names.iter().map(size).collect()
    }

    pub(super) fn create(&mut self, name: &str) -> InodeId {
        if let Some(inode) = self.names.get(name).copied() {
            self.inode(inode).set_len(0);
            return inode;
        }
        let id = InodeId(
            self.inodes
                .last_key_value()
                .map_or(0, |(last, _)| last.0 + 1),
        );
        self.inodes.insert(id, Inode::default());
        self.names.insert(name.to_string(), id);
        self.pending.push(DirOp::Link(name.to_string(), id));
        id
    }

    pub(super) fn find(&self, name: &str) -> io::Result<InodeId> {
        let inode = self.names.get(name).copied();
        inode.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from)?;
        self.names.remove(from);
        self.names.insert(to.to_string(), inode);
        self.pending
            .push(DirOp::Rename(from.to_string(), to.to_string()));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.names.remove(name);
        self.pending.push(DirOp::Remove(name.to_string()));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self) {
        self.stored = self.names.clone();
        self.pending.clear();
    }

    pub(super) fn inode(&mut self, id: InodeId) -> &mut Inode {
        self.inodes.entry(id).or_default()
    }

    /// How many bytes a file may grow to behind `offset`.
    pub(super) fn room(&self, id: InodeId, offset: u64) -> u64 {
        let used: u64 = self
            .names
            .values()
            .map(|inode| self.inodes[inode].size())
            .sum();
        let size = self.inodes.get(&id).map_or(0, Inode::size);
        let limit = size.saturating_add(self.capacity.saturating_sub(used));
        limit.saturating_sub(offset)
    }

    /// A sync that fails: some of what it should write is on the disk, and none of it is tried
    /// again.
    pub(super) fn fail_sync(&mut self, id: InodeId) {
        let mut rng = self.rng.fork();
        self.inode(id).fail_sync(&mut rng);
    }

    pub(super) fn take_lock(&mut self, name: &str) -> bool {
        self.locks.insert(name.to_string())
    }

    pub(super) fn drop_lock(&mut self, life: u64, name: &str) {
        if self.life == life {
            self.locks.remove(name);
        }
    }

    pub(super) fn contents(&mut self, name: &str) -> Vec<u8> {
        let inode = self.find(name).expect("a file to read");
        let inode = self.inode(inode);
        let mut bytes = alloc::vec![0; usize::try_from(inode.size()).unwrap_or(0)];
        inode.read(&mut bytes, 0);
        bytes
    }

    pub(super) fn flip(&mut self, name: &str, offset: u64, bit: u8) {
        let inode = self.find(name).expect("a file to flip a bit of");
        self.inode(inode).flip(offset, bit);
    }

    pub(super) fn put(&mut self, name: &str, contents: &[u8]) {
        let inode = self.create(name);
        self.sync_dir();
        let inode = self.inode(inode);
        inode.set_len(0);
        inode.write(contents, 0);
        inode.sync();
    }

    pub(super) fn cut(&mut self, name: &str, len: u64) {
        let inode = self.find(name).expect("a file to cut");
        self.inode(inode).set_len(len);
        self.inode(inode).sync();
    }

    pub(super) fn lose(&mut self, name: &str) {
        self.remove(name).expect("a file to lose");
        self.sync_dir();
    }

    /// Keeps what is on the disk, and of what is not yet there whatever `rng` says.
    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        let pending = mem::take(&mut self.pending);
        let luck = Luck::draw(rng);
        for op in pending {
            if luck.keeps(rng) {
                self.store(op);
            }
        }
        self.names = self.stored.clone();
        let named: BTreeSet<InodeId> = self.names.values().copied().collect();
        self.inodes.retain(|id, _| named.contains(id));
        let luck = Luck::draw(rng);
        for inode in self.inodes.values_mut() {
            inode.lose_power(luck, rng);
        }
    }

    /// Makes a change of names durable, if those before it that it rests on are.
    fn store(&mut self, op: DirOp) {
        match op {
            DirOp::Link(name, inode) => _ = self.stored.insert(name, inode),
            DirOp::Rename(from, to) => {
                if let Some(inode) = self.stored.remove(&from) {
                    self.stored.insert(to, inode);
                }
            }
            DirOp::Remove(name) => _ = self.stored.remove(&name),
        }
    }
}

/// The operations that change nothing.
const LOOKS: [&str; 5] = ["list", "open", "lock", "size", "read"];

/// Everything that may come next, where the rest of this file draws one of it.
impl World {
    pub(super) fn keep_moments(&mut self) {
        self.moments = Some(Vec::new());
    }

    pub(super) fn take_moments(&mut self) -> Vec<(Operation, Self)> {
        self.moments.take().unwrap_or_default()
    }

    fn without_past(&self) -> Self {
        Self {
            names: self.names.clone(),
            stored: self.stored.clone(),
            pending: self.pending.clone(),
            inodes: self.inodes.clone(),
            locks: self.locks.clone(),
            life: self.life,
            capacity: self.capacity,
            trace: Vec::new(),
            faults: BTreeMap::new(),
            crashed: self.crashed,
            rng: self.rng.clone(),
            moments: None,
        }
    }

    /// What a loss of power may leave, each once.
    pub(super) fn power_losses(&self, parts: usize) -> Vec<Self> {
        let mut worlds = Vec::new();
        for names in self.names_left(parts) {
            let mut lost = alloc::vec![BTreeMap::new()];
            let named: BTreeSet<InodeId> = names.values().copied().collect();
            for id in named {
                let left = self.inodes[&id].power_losses(parts);
                let with = |inodes: &BTreeMap<InodeId, Inode>, inode: &Inode| {
                    let mut inodes = inodes.clone();
                    inodes.insert(id, inode.clone());
                    inodes
                };
                let all = lost.iter();
                lost = all
                    .flat_map(|inodes| left.iter().map(|inode| with(inodes, inode)))
                    .collect();
            }
            worlds.extend(lost.into_iter().map(|inodes| Self {
                names: names.clone(),
                stored: names.clone(),
                pending: Vec::new(),
                inodes,
                ..self.without_past()
            }));
        }
        worlds
    }

    /// Which names a loss of power may leave.
    fn names_left(&self, parts: usize) -> BTreeSet<BTreeMap<String, InodeId>> {
        let part = self.pending.len().div_ceil(parts).max(1);
        let groups: Vec<&[DirOp]> = self.pending.chunks(part).collect();
        let left = (0..1_u32 << groups.len()).map(|kept| {
            let mut world = Self::new(0);
            world.stored = self.stored.clone();
            let groups = groups.iter().enumerate();
            let kept = groups.filter(|(at, _)| kept >> at & 1 == 1);
            kept.flat_map(|(_, ops)| ops.iter())
                .for_each(|op| world.store(op.clone()));
            world.stored
        });
        left.collect()
    }

    /// What a failed sync of a file may leave, each once.
    pub(super) fn failed_syncs(&self, name: &str, parts: usize) -> Vec<Self> {
        let id = self.find(name).expect("a file to sync");
        let left = self.inodes[&id].failed_syncs(parts).into_iter();
        left.map(|inode| {
            let mut world = self.without_past();
            world.inodes.insert(id, inode);
            world
        })
        .collect()
    }

    pub(super) fn stored_contents(&self, name: &str) -> Vec<u8> {
        let id = self.find(name).expect("a file to read");
        self.inodes[&id].stored().to_vec()
    }

    /// The same for worlds in which all that can be read or survive is the same.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.names, &self.stored, &self.pending).hash(&mut hasher);
        let linked = self.pending.iter().filter_map(|op| match op {
            DirOp::Link(_, id) => Some(id),
            DirOp::Rename(..) | DirOp::Remove(_) => None,
        });
        let named = self.names.values().chain(self.stored.values());
        for id in named.chain(linked).collect::<BTreeSet<_>>() {
            (id, self.inodes.get(id)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// How much of what was not synced a loss of power keeps: the extremes are as likely as the
/// mixtures, because each finds other bugs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Luck {
    Nothing,
    Everything,
    Some,
    /// Some, and sectors that were being written are cut or garbage.
    Torn,
}

impl Luck {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let all = [Self::Nothing, Self::Everything, Self::Some, Self::Torn];
        rng.pick(&all).copied().unwrap_or(Self::Nothing)
    }

    pub(super) fn keeps(self, rng: &mut Rng) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Some | Self::Torn => rng.chance(500_000),
        }
    }
}
