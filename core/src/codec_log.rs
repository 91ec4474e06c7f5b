//! The bytes of log records. Format version 1; see `tests/it/golden.rs` for each of them in hex.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::{decode_count, encode_len};
use crate::{
    Decode, DecodeError, Encode, Entries, Entry, EntryKind, Lane, LogIndex, LogRecord, OldLog,
    SnapshotId, SnapshotMeta, Stamp,
};

impl Encode for Stamp {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.number);
        out.put_u64_le(self.node);
    }
}

impl Decode for Stamp {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            number: u64::decode(input)?,
            node: u64::decode(input)?,
        })
    }
}

impl Encode for EntryKind {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(match self {
            Self::Command => 0,
            Self::Blank => 1,
            Self::Config => 2,
            Self::Named => 3,
        });
    }
}

impl Decode for EntryKind {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(Self::Command),
            1 => Ok(Self::Blank),
            2 => Ok(Self::Config),
            3 => Ok(Self::Named),
            tag => Err(DecodeError::Tag {
                what: "entry kind",
                tag,
            }),
        }
    }
}

impl Encode for Entry {
    fn encode(&self, out: &mut BytesMut) {
        self.kind.encode(out);
        self.payload.encode(out);
    }
}

impl Decode for Entry {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: EntryKind::decode(input)?,
            payload: Bytes::decode(input)?,
        })
    }
}

impl Encode for Entries {
    fn encode(&self, out: &mut BytesMut) {
        self.first().encode(out);
        self.stamp().encode(out);
        encode_len(self.len(), out);
        self.as_slice().iter().for_each(|entry| entry.encode(out));
    }
}

impl Decode for Entries {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        /// Kind and length: no entry is shorter.
        const SHORTEST: usize = 5;
        let first = LogIndex::decode(input)?;
        let stamp = Stamp::decode(input)?;
        let count = decode_count(input, "entries")?;
        if count > input.remaining() / SHORTEST {
            let needed = count as u64 * SHORTEST as u64;
            return Err(DecodeError::Short {
                what: "entries",
                needed,
                left: input.len(),
            });
        }
        if first == LogIndex::START || first.0.checked_add(count as u64).is_none() {
            return Err(DecodeError::Invalid {
                what: "entries",
                why: "index out of range",
            });
        }
        let mut entries = alloc::vec::Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(Entry::decode(input)?);
        }
        Ok(Self::new(first, stamp, entries))
    }
}

impl Encode for SnapshotId {
    fn encode(&self, out: &mut BytesMut) {
        self.origin.encode(out);
        self.index.encode(out);
    }
}

impl Decode for SnapshotId {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            origin: Decode::decode(input)?,
            index: Decode::decode(input)?,
        })
    }
}

impl Encode for SnapshotMeta {
    fn encode(&self, out: &mut BytesMut) {
        self.id.encode(out);
        self.stamp.encode(out);
        self.config.encode(out);
        self.size.encode(out);
    }
}

impl Decode for SnapshotMeta {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            id: Decode::decode(input)?,
            stamp: Decode::decode(input)?,
            config: Decode::decode(input)?,
            size: Decode::decode(input)?,
        })
    }
}

impl Encode for LogRecord {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::State(state) => {
                out.put_u8(1);
                state.encode(out);
            }
            Self::Put(entries) => {
                out.put_u8(2);
                entries.encode(out);
            }
            Self::Truncate { from } => {
                out.put_u8(3);
                from.encode(out);
            }
            Self::Stage {
                lane,
                id,
                offset,
                chunk,
            } => {
                out.put_u8(4);
                out.put_u8(match lane {
                    Lane::Taken => 1,
                    Lane::Received => 2,
                });
                id.encode(out);
                offset.encode(out);
                chunk.encode(out);
            }
            Self::Activate { meta, log } => {
                out.put_u8(5);
                out.put_u8(match log {
                    OldLog::Keep => 1,
                    OldLog::Replace => 2,
                });
                meta.encode(out);
            }
            Self::Compact { through, stamp } => {
                out.put_u8(6);
                through.encode(out);
                stamp.encode(out);
            }
        }
    }
}

impl Decode for LogRecord {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            1 => Self::State(Decode::decode(input)?),
            2 => Self::Put(Decode::decode(input)?),
            3 => Self::Truncate {
                from: Decode::decode(input)?,
            },
            4 => Self::Stage {
                lane: match u8::decode(input)? {
                    1 => Lane::Taken,
                    2 => Lane::Received,
                    tag => {
                        return Err(DecodeError::Tag {
                            what: "snapshot lane",
                            tag,
                        });
                    }
                },
                id: Decode::decode(input)?,
                offset: Decode::decode(input)?,
                chunk: Decode::decode(input)?,
            },
            5 => Self::Activate {
                log: match u8::decode(input)? {
                    1 => OldLog::Keep,
                    2 => OldLog::Replace,
                    tag => {
                        return Err(DecodeError::Tag {
                            what: "old log",
                            tag,
                        });
                    }
                },
                meta: Decode::decode(input)?,
            },
            6 => Self::Compact {
                through: Decode::decode(input)?,
                stamp: Decode::decode(input)?,
            },
            tag => {
                return Err(DecodeError::Tag {
                    what: "log record",
                    tag,
                });
            }
        })
    }
}
