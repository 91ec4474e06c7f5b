//! The public interface, on histories written by hand.

mod abd;
mod cluster;
mod evidence;
mod history;
mod limits;
mod map;
mod once;
mod order;
mod picture;
mod register;
mod restless;
mod script;
mod session;
mod trace;
mod wal;
