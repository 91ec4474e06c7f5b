//! Looks like a crate without the standard library, and is none.

/// Says hello.
#[must_use]
pub fn hello() -> std::string::String {
    std::string::String::from("hello")
}
