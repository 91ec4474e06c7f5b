//! The rules on the real tree, and on small trees that break them.

mod model;
mod real;
mod teeth;
