//! Everything that may become of files, in place of one thing that is drawn: to explore all of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use super::SimFiles;
use super::world::{Operation, World};

/// Files as they were before an operation that changes something: where a crash makes a difference.
#[derive(Clone, Debug)]
pub struct Moment {
    /// What was about to happen.
    pub next: Operation,
    /// All files as they were, going their own way.
    pub files: SimFiles,
}

impl SimFiles {
    /// Keeps a [`Moment`] for each operation from now on that changes something.
    pub fn keep_moments(&self) {
        self.lock().keep_moments();
    }

    /// The moments that were kept, in order; no more are kept after this.
    #[must_use]
    pub fn take_moments(&self) -> Vec<Moment> {
        let moments = self.lock().take_moments().into_iter();
        moments
            .map(|(next, world)| Moment {
                next,
                files: self.with(world),
            })
            .collect()
    }

    /// Everything that a loss of power may leave now, each once: any of the changes of names that
    /// were not synced, and of each file the old or the new length and any of its sectors, old or
    /// new. What is undecided of the names or of one file is decided on in at most `parts` parts,
    /// of which there are two to the power of that many mixtures; what is adjacent shares a part.
    /// Sectors that are torn within are not among it.
    #[must_use]
    pub fn power_losses(&self, parts: usize) -> Vec<Self> {
        let worlds = self.lock().power_losses(parts);
        worlds.into_iter().map(|world| self.reborn(world)).collect()
    }

    /// Everything that a failed sync of a file may leave now, each once, for the next process: what
    /// is seen stays, and no later sync writes what is missing on the disk.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    #[must_use]
    pub fn failed_syncs(&self, name: &str, parts: usize) -> Vec<Self> {
        let worlds = self.lock().failed_syncs(name, parts);
        worlds.into_iter().map(|world| self.reborn(world)).collect()
    }

    /// What is on the disk of a file, whatever is seen.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    #[must_use]
    pub fn stored(&self, name: &str) -> Vec<u8> {
        self.lock().stored_contents(name)
    }

    /// The same number for files that differ in nothing that can be read or that can survive; two
    /// that differ share one with the probability of a hash of 64 bits.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.lock().fingerprint()
    }

    fn with(&self, world: World) -> Self {
        Self {
            world: Arc::new(Mutex::new(world)),
            life: self.life,
        }
    }

    fn reborn(&self, mut world: World) -> Self {
        let life = world.next_life();
        Self {
            life,
            ..self.with(world)
        }
    }
}
