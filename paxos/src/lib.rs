#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ballot;
pub mod register;

pub use ballot::Ballot;
