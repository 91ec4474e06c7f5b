//! The state behind simulated files.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;
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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct InodeId(u64);

#[derive(Clone, Debug)]
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
        }
    }

    /// Counts an operation of `life` and says what becomes of it.
    pub(super) fn attempt(&mut self, life: u64, kind: &'static str, name: &str) -> io::Result<()> {
        if !self.is_alive(life) {
            return Err(io::Error::other("the process has crashed"));
        }
        let number = self.trace.len() as u64;
        self.trace.push(Operation {
            kind,
            name: name.to_string(),
        });
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
