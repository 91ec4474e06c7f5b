//! Files in memory that crash, tear, fail, fill up and rot as disks do: for tests and simulators.
//!
//! A file is two images, what programs see and what is on the disk, and the sectors in which they
//! differ. A sync copies those; a failed sync drops them from the list and copies only some, so
//! that what is seen is not what is stored and no later sync repairs it (Rebello et al., ATC 2020).
//! A loss of power keeps any of them: old, new, cut within the sector, or garbage. Names that were
//! not synced are kept or not, too.
//!
//! ```
//! use synod_core::Rng;
//! use synod_node::wal::sim_files::SimFiles;
//! use synod_node::wal::{Engine, WalConfig};
//! use std::sync::Arc;
//!
//! let files = SimFiles::new(7);
//! let (engine, _) = Engine::open(Arc::new(files.clone()), WalConfig::default())?;
//! let files = files.power_loss(&mut Rng::new(1));
//! drop(engine);
//! assert!(Engine::open(Arc::new(files), WalConfig::default()).is_ok());
//! # Ok::<(), synod_core::StorageError>(())
//! ```

mod inode;
mod outcomes;
mod world;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use synod_core::Rng;

use super::file::{File, Files, Held};
pub use outcomes::Moment;
pub use world::{Fault, Operation};
use world::{InodeId, World};

/// A directory in memory, as one life of a process sees it. A clone is the same; after
/// [`kill`](Self::kill) or [`power_loss`](Self::power_loss) only the answer of those works.
#[derive(Clone, Debug)]
pub struct SimFiles {
    world: Arc<Mutex<World>>,
    life: u64,
}

impl SimFiles {
    /// An empty directory. `seed` determines what [`Files::random`] says and what failed writes
    /// and syncs leave.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            world: Arc::new(Mutex::new(World::new(seed))),
            life: 0,
        }
    }

    /// The process dies, the machine does not: all that was written is seen, and only what was
    /// synced is durable.
    #[must_use]
    pub fn kill(&self) -> Self {
        let life = self.lock().next_life();
        Self {
            world: Arc::clone(&self.world),
            life,
        }
    }

    /// The machine loses power: of what was not synced anything or nothing is left.
    #[must_use]
    pub fn power_loss(&self, rng: &mut Rng) -> Self {
        let life = {
            let mut world = self.lock();
            world.lose_power(rng);
            world.next_life()
        };
        Self {
            world: Arc::clone(&self.world),
            life,
        }
    }

    /// A copy of everything that goes its own way: to try several ends of one story.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            world: Arc::new(Mutex::new(self.lock().clone())),
            life: self.life,
        }
    }

    /// Lets operation number `operation`, counted from 0 over all lives, meet a fault, if this life
    /// comes to it.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        self.lock().plan(operation, fault);
    }

    /// How many operations there were so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().trace().len() as u64
    }

    /// All operations so far.
    #[must_use]
    pub fn trace(&self) -> Vec<Operation> {
        self.lock().trace().to_vec()
    }

    /// Limits the bytes that all files may take together.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().set_capacity(bytes);
    }

    /// The files there are, and their lengths in bytes.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        self.lock().files()
    }

    /// What is seen of a file.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Vec<u8> {
        self.lock().contents(name)
    }

    /// Flips one bit, on the disk and in what is seen.
    ///
    /// # Panics
    ///
    /// If there is no such file or it is shorter.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        self.lock().flip(name, offset, bit);
    }

    /// Gives a file these contents, on the disk and in what is seen, as an operator may.
    pub fn put(&self, name: &str, contents: &[u8]) {
        self.lock().put(name, contents);
    }

    /// Cuts a file, on the disk and in what is seen, as a broken file system may.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn cut(&self, name: &str, len: u64) {
        self.lock().cut(name, len);
    }

    /// Takes a file away, as an operator may.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn lose(&self, name: &str) {
        self.lock().lose(name);
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: InodeId) -> Arc<dyn File> {
        Arc::new(SimFile {
            files: self.clone(),
            inode,
        })
    }
}

impl Files for SimFiles {
    fn place(&self, name: &str) -> String {
        alloc::format!("sim/{name}")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut world = self.lock();
        world.attempt(self.life, "list", "")?;
        Ok(world.files().into_iter().map(|(name, _)| name).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.lock();
        world.attempt(self.life, "create", name)?;
        let inode = world.create(name);
        drop(world);
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.lock();
        world.attempt(self.life, "open", name)?;
        let inode = world.find(name)?;
        drop(world);
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.lock();
        world.attempt(self.life, "rename", to)?;
        world.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.lock();
        world.attempt(self.life, "remove", name)?;
        world.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.lock();
        world.attempt(self.life, "sync_dir", "")?;
        world.sync_dir();
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Held>> {
        let mut world = Self::lock(self);
        world.attempt(self.life, "lock", name)?;
        if !world.take_lock(name) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock {
            files: self.clone(),
            name: name.to_string(),
        })))
    }

    fn random(&self) -> u64 {
        Self::lock(self).random()
    }
}

#[derive(Debug)]
struct SimLock {
    files: SimFiles,
    name: String,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.files.lock().drop_lock(self.files.life, &self.name);
    }
}

#[derive(Debug)]
struct SimFile {
    files: SimFiles,
    inode: InodeId,
}

impl SimFile {
    fn world(&self) -> MutexGuard<'_, World> {
        SimFiles::lock(&self.files)
    }
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        let mut world = self.world();
        world.attempt_on(self.files.life, "size", self.inode)?;
        Ok(world.inode(self.inode).size())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world();
        world.attempt_on(self.files.life, "read", self.inode)?;
        Ok(world.inode(self.inode).read(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world();
        let failed = world.attempt_on(self.files.life, "write", self.inode);
        let room = world.room(self.inode, offset);
        // A write that fails has done a part of its work.
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let part = match &failed {
            Ok(()) => fits,
            Err(_) if world.is_alive(self.files.life) => world.below(fits as u64 + 1),
            Err(_) => 0,
        };
        world.inode(self.inode).write(&bytes[..part], offset);
        failed?;
        if part < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.world();
        world.attempt_on(self.files.life, "set_len", self.inode)?;
        world.inode(self.inode).set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world();
        let attempted = world.attempt_on(self.files.life, "sync", self.inode);
        match attempted {
            Ok(()) => world.inode(self.inode).sync(),
            Err(_) if world.is_alive(self.files.life) => world.fail_sync(self.inode),
            Err(_) => {}
        }
        attempted
    }
}
