//! A quorum system as bytes, for configuration entries and snapshots.
//!
//! Version 1: the version byte; the number of members, then their ids ascending, the first as it
//! is and each further one as its distance from the one before; the number of thresholds, then
//! each: a byte of flags (1: refers to earlier thresholds, 2: has weights), what it needs, the
//! mask of its members, [the mask of the earlier thresholds], [one weight per part]. All numbers
//! but the version and the flags are LEB128.
//!
//! The list is flat, so reading it does not recurse. A system has exactly one encoding, and bytes
//! that are not it are refused.

use crate::error::{QuorumError, SystemError};
use crate::gate::{self, Gate, MAX_GATES};
use crate::{MAX_MEMBERS, NodeSet, Quorum, lower};
use alloc::boxed::Box;
use alloc::vec::Vec;
use synod_core::NodeId;

const VERSION: u8 = 1;
const HAS_GATES: u8 = 1;
const HAS_WEIGHTS: u8 = 2;

/// Why bytes are no quorum system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first byte names a format that this release does not know.
    #[error("format version {found} is unknown (this release reads version {VERSION})")]
    Version {
        /// The byte.
        found: u8,
    },
    /// The bytes end in the middle.
    #[error("the bytes end after {length}, in the middle of a quorum system")]
    Truncated {
        /// How many there are.
        length: usize,
    },
    /// Bytes follow the end.
    #[error("{extra} bytes follow the end of the quorum system")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A number is out of its range.
    #[error("{what} is {value}, allowed is up to {limit}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it says.
        value: u64,
        /// The highest allowed.
        limit: u64,
    },
    /// A threshold does not fit the rest: a reference to a later threshold, a part used twice, a
    /// member that does not exist.
    #[error("threshold {index} refers to what is not there")]
    Reference {
        /// Which one, in the order of the list.
        index: usize,
    },
    /// What it describes is no quorum system.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The quorums do not intersect, or it could not be proved.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A valid value, but not in the one form that encoding gives it.
    #[error("the bytes are not in canonical form")]
    NotCanonical,
}

impl Quorum {
    /// The one encoding of this system. Its format is versioned and does not change within a
    /// version.
    ///
    /// ```
    /// use synod_core::NodeId;
    /// use synod_quorum::Quorum;
    ///
    /// let quorum = Quorum::majority([1, 2, 3].map(NodeId))?;
    /// assert_eq!(quorum.encode(), [1, 3, 1, 1, 1, 1, 0, 2, 0b111]);
    /// assert_eq!(Quorum::decode(&quorum.encode()), Ok(quorum));
    /// # Ok::<(), synod_quorum::QuorumError>(())
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let gates = self.gates();
        let mut out = Vec::with_capacity(2 + 2 * self.members().len() + 4 * gates.len());
        out.push(VERSION);
        put(&mut out, self.members().len() as u64);
        let mut before = 0;
        for member in self.members() {
            put(&mut out, member.0 - before);
            before = member.0;
        }
        put(&mut out, gates.len() as u64);
        for gate in &gates {
            put_gate(&mut out, gate);
        }
        out
    }

    /// Reads what [`Quorum::encode`] wrote. Any bytes at all give a quorum system or an error, in
    /// memory and time bounded by the limits on members and thresholds.
    ///
    /// # Errors
    /// Anything but the exact encoding of a valid system, as [`DecodeError`] names it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { bytes, at: 0 };
        let version = reader.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let members = reader.members()?;
        let count = reader.limited("the number of thresholds", MAX_GATES as u64)?;
        let mut gates = Vec::new();
        for _ in 0..count {
            gates.push(reader.gate()?);
        }
        if reader.at < bytes.len() {
            let extra = bytes.len() - reader.at;
            return Err(DecodeError::Trailing { extra });
        }
        let quorum = from_gates(&gates, members)?;
        if quorum.encode() != bytes {
            return Err(DecodeError::NotCanonical);
        }
        Ok(quorum)
    }
}

/// The system of a list of thresholds that may be anything.
pub(crate) fn from_gates(gates: &[Gate], members: Vec<NodeId>) -> Result<Quorum, DecodeError> {
    let members = lower::member_list(members)?;
    if gates.is_empty() {
        return Err(QuorumError::Empty.into());
    }
    // every threshold but the last is a part of exactly one later threshold: a tree, so that
    // raising it visits each once
    let mut unused = NodeSet::EMPTY;
    for (index, gate) in gates.iter().enumerate() {
        let known = gate.leaves.is_subset(NodeSet::first(members.len()));
        if !known || !gate.gates.is_subset(unused) {
            return Err(DecodeError::Reference { index });
        }
        gate.check()?;
        unused = unused - gate.gates;
        unused.insert(index);
    }
    if unused.len() != 1 {
        let index = unused.iter().next().unwrap_or_default();
        return Err(DecodeError::Reference { index });
    }
    let expr = lower::normalise(gate::raise(gates, &members, gates.len() - 1), 0)?;
    Ok(Quorum::assemble(&expr, members)?)
}

fn put_gate(out: &mut Vec<u8>, gate: &Gate) {
    let gates = if gate.gates.is_empty() { 0 } else { HAS_GATES };
    let weights = if gate.weights.is_empty() {
        0
    } else {
        HAS_WEIGHTS
    };
    out.push(gates | weights);
    put(out, gate.need);
    put(out, gate.leaves.bits());
    if gates != 0 {
        put(out, gate.gates.bits());
    }
    for weight in &gate.weights {
        put(out, u64::from(*weight));
    }
}

/// LEB128: seven bits per byte, the lowest first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let length = self.bytes.len();
        let byte = self.bytes.get(self.at);
        let byte = *byte.ok_or(DecodeError::Truncated { length })?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.bytes.len();
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(DecodeError::Truncated { length })?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.byte()?);
            let bits = byte & 0x7f;
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Range {
            what: "a number's length in bytes",
            value: 11,
            limit: 10,
        })
    }

    pub(crate) fn limited(&mut self, what: &'static str, limit: u64) -> Result<u64, DecodeError> {
        match self.number()? {
            value if value > limit => Err(DecodeError::Range { what, value, limit }),
            value => Ok(value),
        }
    }

    fn members(&mut self) -> Result<Vec<NodeId>, DecodeError> {
        let count = self.limited("the number of members", MAX_MEMBERS as u64)?;
        let mut members = Vec::new();
        let mut before = 0;
        for _ in 0..count {
            let limit = u64::MAX - before;
            before += self.limited("the distance to the next id", limit)?;
            members.push(NodeId(before));
        }
        Ok(members)
    }

    fn gate(&mut self) -> Result<Gate, DecodeError> {
        let flags = self.byte()?;
        if flags > HAS_GATES | HAS_WEIGHTS {
            return Err(DecodeError::Range {
                what: "the flags of a threshold",
                value: u64::from(flags),
                limit: u64::from(HAS_GATES | HAS_WEIGHTS),
            });
        }
        let need = self.number()?;
        let leaves = NodeSet::from_bits(self.number()?);
        let gates = match flags & HAS_GATES {
            0 => NodeSet::EMPTY,
            _ => NodeSet::from_bits(self.number()?),
        };
        let weights = match flags & HAS_WEIGHTS {
            0 => Box::default(),
            _ => self.weights(leaves.len() + gates.len())?,
        };
        Ok(Gate {
            need,
            leaves,
            gates,
            weights,
        })
    }

    fn weights(&mut self, count: usize) -> Result<Box<[u32]>, DecodeError> {
        let mut weights = Vec::new();
        for _ in 0..count {
            let weight = self.limited("a weight", u64::from(u32::MAX))?;
            weights.push(u32::try_from(weight).unwrap_or(u32::MAX));
        }
        Ok(weights.into())
    }
}
