//! What the commands carry, and the digest that proves that they arrived.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Fills `bytes` with the contents of command `index`: different for each index, the same in every run.
pub fn fill(index: u64, bytes: &mut [u8]) {
    let mut state = index.wrapping_mul(MIX);
    for chunk in bytes.chunks_mut(8) {
        state = (state ^ (state >> 29))
            .wrapping_mul(MIX)
            .wrapping_add(index);
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}

/// A copy of `payload` whose clones allocate nothing.
///
/// A fresh `Bytes` allocates its reference count at its first clone. That allocation is the payload's own, which is
/// not counted, so it is made here, before the clock starts.
pub fn shared(payload: &[u8]) -> Bytes {
    let bytes = Bytes::copy_from_slice(payload);
    drop(bytes.clone());
    bytes
}

/// Count and checksum of a sequence of commands; the order matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many commands.
    pub count: u64,
    /// Over their contents, in order.
    pub checksum: u64,
}

impl Digest {
    /// Takes in the next command.
    pub fn add(&mut self, payload: &[u8]) {
        self.count += 1;
        self.checksum = self.checksum.rotate_left(5).wrapping_add(word(payload));
    }

    /// The digest of commands `0..count` of `size` bytes each.
    pub fn expected(count: u64, size: usize) -> Self {
        let mut digest = Self::default();
        let mut payload = vec![0; size];
        for index in 0..count {
            fill(index, &mut payload);
            digest.add(&payload);
        }
        digest
    }
}

/// A 64-bit checksum of one command. Every bit of the contents, and the length, change it.
pub fn word(payload: &[u8]) -> u64 {
    payload.chunks(8).fold(payload.len() as u64, |sum, chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        (sum.rotate_left(23) ^ u64::from_le_bytes(bytes)).wrapping_mul(MIX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(index: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        fill(index, &mut bytes);
        bytes
    }

    #[test]
    fn contents_differ_by_index() {
        assert_ne!(payload(1, 16), payload(2, 16));
        assert_eq!(payload(7, 19), payload(7, 19));
    }

    #[test]
    fn digest_sees_order_loss_and_damage() {
        let of = |indexes: &[u64]| {
            let mut digest = Digest::default();
            for &index in indexes {
                digest.add(&payload(index, 16));
            }
            digest
        };
        assert_eq!(of(&[0, 1, 2]), Digest::expected(3, 16));
        assert_ne!(of(&[0, 2, 1]), Digest::expected(3, 16));
        assert_ne!(of(&[0, 1]), Digest::expected(3, 16));
        let mut damaged = payload(0, 16);
        damaged[15] ^= 1;
        assert_ne!(word(&damaged), word(&payload(0, 16)));
    }
}
