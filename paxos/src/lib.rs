#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ballot;
pub mod log;
pub mod register;
pub mod single;

pub use ballot::Ballot;
