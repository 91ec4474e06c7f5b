//! All integration tests of synod-quorum: one crate, one module per feature.

// tests run on std, and helpers of tests fail like tests
#![allow(clippy::std_instead_of_alloc, clippy::unwrap_used)]

mod codec;
mod evaluate;
mod highest;
mod intersect;
mod load;
mod minimal;
mod quoracle;
mod reference;
mod serde;
mod tally;
mod text;
