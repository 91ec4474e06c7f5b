//! The file layer: everything that the log asks of an operating system, as two small traits, so
//! that a simulator can stand in for the disk and fail or crash it at any operation.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::io;

/// One directory of files, by plain names.
///
/// What the log assumes of it, and no more:
///
/// - After a crash a file has, in each place written since its last [`File::sync_data`], the old
///   bytes, the new ones or a mixture, whatever the order of the writes; what was written before
///   that sync is there.
/// - [`create`](Self::create), [`rename`](Self::rename) and [`remove`](Self::remove) survive a
///   crash for sure only once [`sync_dir`](Self::sync_dir) has returned; before that, any of them
///   may have happened or not. A rename is atomic.
/// - After a failed sync nothing is known of what it should have made durable, also if a later
///   sync succeeds (Rebello et al., ATC 2020).
///
/// A decorator around [`Disk`](super::Disk) that implements this is how faults are injected.
pub trait Files: fmt::Debug + Send + Sync {
    /// The full name of a file, for error messages.
    fn place(&self, name: &str) -> String;

    /// The names of all files in it, in any order.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing, new or emptied.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, or what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in place of a file that may have that name.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Who has it open goes on reading it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, or what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    ///
    /// # Errors
    ///
    /// What the system says; what survives a crash is then unknown.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the lock file `name` until the answer is dropped; `None` if someone holds it already,
    /// in this process or another one. A holder that dies lets go.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn lock(&self, name: &str) -> io::Result<Option<Held>>;

    /// A number that nobody outside can guess: the log marks its records with it.
    fn random(&self) -> u64;
}

/// A lock that is held until this is dropped.
pub type Held = Box<dyn fmt::Debug + Send>;

/// One open file.
pub trait File: fmt::Debug + Send + Sync {
    /// Its length, in bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads from `offset` on as much as `buffer` holds or the file has, and says how much.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. A gap behind the old end reads as zeros.
    ///
    /// # Errors
    ///
    /// What the system says, for lack of room [`io::ErrorKind::StorageFull`]; any part of `bytes`
    /// may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    ///
    /// # Errors
    ///
    /// What the system says; never called again on this file afterwards.
    fn sync_data(&self) -> io::Result<()>;
}
