//! Talking to people. Who has stopped listening (`| head`) stops nothing here.

use std::io::Write as _;

/// A line on standard output.
pub(crate) fn say(line: &str) {
    let _nobody_listens = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard error.
pub(crate) fn complain(line: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "synod-kv: {line}");
}
