//! The files of snapshots. Each piece that is staged is appended to the snapshot's own file, as
//! frames with a checksum each, and synced before the log says so; activating is one record of
//! the log. No file is renamed: the log is the one place that says what is current, and a second
//! one could only disagree.
//!
//! ```text
//! "synodsnp" | frame(layout, log, file, snapshot) | frame(offset, bytes) ...
//! ```

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::codec::{Decode, Encode};
use synod_core::frame::{HEADER, frame_len, read_frame, write_frame};
use synod_core::{DecodeError, GroupId, SnapshotId, StorageError};

use super::dir::{Dir, Handle};
use super::format::{FileName, LAYOUT, Serial, advise, check_layout};

const MAGIC: [u8; 8] = *b"synodsnp";

/// The bytes of a piece's frame before its contents.
const PIECE_HEADER: usize = HEADER + 8;

/// The most that one frame holds, in bytes: what a read verifies besides what it wants.
const PIECE_MAX: usize = 256 << 10;

/// A snapshot's file.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    file: Handle,
    group: GroupId,
    pub(super) serial: Serial,
    pub(super) id: SnapshotId,
    /// Where each frame begins: in the contents, and in the file.
    pieces: Vec<(u64, u64)>,
    /// The length of the contents, in bytes.
    len: u64,
    /// The length of the file, in bytes.
    end: u64,
}

/// Whose snapshots these are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) group: GroupId,
    pub(super) log: u64,
}

impl SnapshotFile {
    /// Begins a file. Neither its name nor its contents are durable yet.
    pub(super) fn create(
        dir: &Dir,
        owner: Owner,
        serial: Serial,
        id: SnapshotId,
    ) -> Result<Self, StorageError> {
        let file = dir.create(&FileName::Snapshot(serial).to_string())?;
        let mut header = BytesMut::from(&MAGIC[..]);
        write_frame(owner.group, &mut header, |out| {
            out.put_u8(LAYOUT);
            owner.log.encode(out);
            serial.encode(out);
            id.encode(out);
        });
        file.write(&header, 0)?;
        Ok(Self {
            file,
            group: owner.group,
            serial,
            id,
            pieces: Vec::new(),
            len: 0,
            end: header.len() as u64,
        })
    }

    /// Opens a file that holds at least `len` bytes of snapshot `id`, and cuts what is behind
    /// them: it was never acknowledged. With `verify` all contents are read and checked; without,
    /// each piece is when it is used.
    pub(super) fn open(
        dir: &Dir,
        owner: Owner,
        (serial, id): (Serial, SnapshotId),
        len: u64,
        verify: bool,
    ) -> Result<Self, StorageError> {
        let file = dir.open(&FileName::Snapshot(serial).to_string())?;
        let end = check_header(&file, owner, (serial, id))?;
        let mut snapshot = Self {
            file,
            group: owner.group,
            serial,
            id,
            pieces: Vec::new(),
            len: 0,
            end,
        };
        let found = snapshot.find_pieces(len, verify);
        if matches!(found, Err(StorageError::Corrupt { .. })) && !verify {
            // A damaged length leads astray: only checksums say where the damage is.
            (snapshot.pieces, snapshot.len, snapshot.end) = (Vec::new(), 0, end);
            snapshot.find_pieces(len, true)?;
        }
        found.map(|()| snapshot)
    }

    /// Finds the pieces that make up `len` bytes, and cuts what is behind them.
    fn find_pieces(&mut self, len: u64, verify: bool) -> Result<(), StorageError> {
        let size = self.file.size()?;
        while self.len < len {
            let at = self.end;
            let (total, offset) = self.locate(at, size)?;
            if offset != self.len {
                let what = format!("has a piece of {offset} where {} follows", self.len);
                return Err(self.file.corrupt(at, advise(what)));
            }
            if verify {
                self.piece(at, total)?;
            }
            self.add(total);
        }
        if self.len > len {
            let what = format!("has no piece that ends at {len}");
            return Err(self.file.corrupt(self.end, advise(what)));
        }
        if size > self.end {
            self.file.set_len(self.end)?;
        }
        Ok(())
    }

    /// Reads where the frame at `at` ends and belongs, without its contents.
    fn locate(&self, at: u64, size: u64) -> Result<(usize, u64), StorageError> {
        let head = self.file.read(at, PIECE_HEADER)?;
        // No longer than what is ever written: a damaged length must not cost the memory it claims.
        let limit = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
        let limit = limit.min(PIECE_HEADER + PIECE_MAX);
        let offset = head.get(HEADER..).and_then(|rest| rest.first_chunk::<8>());
        match (frame_len(&head, limit), offset) {
            (Ok(Some(total)), Some(offset)) if (PIECE_HEADER..=limit).contains(&total) => {
                Ok((total, u64::from_le_bytes(*offset)))
            }
            (Err(error), _) => Err(self.damaged(at, &error)),
            _ => Err(self.damaged(
                at,
                &DecodeError::Short {
                    what: "piece",
                    needed: PIECE_HEADER as u64,
                    left: limit,
                },
            )),
        }
    }

    fn add(&mut self, total: usize) {
        self.pieces.push((self.len, self.end));
        self.len += (total - PIECE_HEADER) as u64;
        self.end += total as u64;
    }

    /// Appends to the contents; not durable yet.
    pub(super) fn append(&mut self, chunk: &Bytes) -> Result<(), StorageError> {
        for piece in chunk.chunks(PIECE_MAX) {
            let mut frame = BytesMut::with_capacity(PIECE_HEADER + piece.len());
            let (group, offset) = (self.group, self.len);
            write_frame(group, &mut frame, |out| {
                offset.encode(out);
                out.extend_from_slice(piece);
            });
            self.file.write(&frame, self.end)?;
            self.add(frame.len());
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.file.sync()
    }

    /// At most `max_bytes` of the contents from `offset` on, but at least one unless that is the
    /// end; `None` behind the end.
    pub(super) fn read(
        &self,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, StorageError> {
        let Some(left) = self.len.checked_sub(offset) else {
            return Ok(None);
        };
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(max_bytes.max(1));
        let mut at = self.pieces.partition_point(|(start, _)| *start <= offset);
        let mut out = Bytes::new();
        let mut joined = BytesMut::new();
        let mut have = 0;
        while have < wanted {
            let (start, place) = self.pieces[at - 1];
            let end = self.pieces.get(at).map_or(self.end, |(_, place)| *place);
            let total = usize::try_from(end - place).unwrap_or(usize::MAX);
            let piece = self.piece(place, total)?;
            let skip = usize::try_from((offset + have as u64) - start).unwrap_or(usize::MAX);
            let part = piece.slice(skip..piece.len().min(skip + (wanted - have)));
            if have == 0 && part.len() == wanted {
                out = part;
                break;
            }
            have += part.len();
            joined.extend_from_slice(&part);
            at += 1;
        }
        Ok(Some(if joined.is_empty() {
            out
        } else {
            joined.freeze()
        }))
    }

    /// Reads and checks the frame at `place`.
    fn piece(&self, place: u64, total: usize) -> Result<Bytes, StorageError> {
        let mut input = self.file.read(place, total)?.freeze();
        let read = read_frame(&mut input, total).and_then(|(group, mut body)| {
            u64::decode(&mut body)?;
            Ok((group, body))
        });
        match read {
            Ok((group, body)) if group == self.group => Ok(body),
            Ok((group, _)) => {
                let what = format!("holds a piece of {group}, not of {}", self.group);
                Err(self.file.corrupt(place, advise(what)))
            }
            Err(error) => Err(self.damaged(place, &error)),
        }
    }

    fn damaged(&self, place: u64, error: &DecodeError) -> StorageError {
        let what = format!("a piece of snapshot {} is damaged ({error})", self.id);
        self.file.corrupt(place, advise(what))
    }
}

/// Reads the beginning of a snapshot's file and returns where its pieces begin.
fn check_header(
    file: &Handle,
    owner: Owner,
    expected: (Serial, SnapshotId),
) -> Result<u64, StorageError> {
    const LONGEST: usize = 128;
    let bytes = file.read(0, LONGEST)?.freeze();
    let header = || {
        let mut rest = bytes.clone();
        let magic = rest.split_to(MAGIC.len().min(rest.len()));
        if magic != MAGIC[..] {
            return Err(DecodeError::Invalid {
                what: "snapshot",
                why: "does not begin as one",
            });
        }
        let (group, mut body) = read_frame(&mut rest, LONGEST)?;
        check_layout(&mut body, "snapshot")?;
        let log = u64::decode(&mut body)?;
        let found = <(Serial, SnapshotId)>::decode(&mut body)?;
        if (group, log, found) != (owner.group, owner.log, expected) {
            return Err(DecodeError::Invalid {
                what: "snapshot",
                why: "belongs to another log",
            });
        }
        Ok((bytes.len() - rest.len()) as u64)
    };
    header().map_err(|error| match error {
        DecodeError::Version {
            found, supported, ..
        } => StorageError::Version {
            place: file.place().to_string(),
            found,
            supported,
        },
        other => file.corrupt(0, advise(other)),
    })
}
