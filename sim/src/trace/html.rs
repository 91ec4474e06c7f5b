//! A trace as one HTML file: a space-time diagram that needs nothing but a browser.

use core::fmt::Write as _;

use super::{Trace, What, Who};

/// The page without its data: style, drawing, zoom, filters and details.
const PAGE: &str = include_str!("page.html");

impl Trace {
    /// One self-contained HTML file without any network access: a line for each node over time,
    /// messages as arrows, terms by colour, crashes, pauses, partitions, commit points; zoom with the
    /// wheel, pan by dragging, filter by node and kind, details on hover and click.
    #[must_use]
    pub fn html(&self) -> String {
        PAGE.replace("\"TRACE\"", &self.json())
    }

    /// The steps as JSON, in which `<` is escaped, so that no text can end the script around it.
    fn json(&self) -> String {
        let mut out = String::new();
        let names = (0..self.nodes.len()).map(|place| quoted(&self.name(Who::Node(place))));
        let names: Vec<_> = names.collect();
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "{{\"seed\":\"{}\",\"dropped\":{},\"nodes\":[{}],\"steps\":[",
            self.seed,
            self.dropped,
            names.join(",")
        );
        for (k, step) in self.steps.iter().enumerate() {
            let comma = if k == 0 { "" } else { ",\n" };
            let (kind, name) = match step.who {
                Who::Node(place) => (place as i64, String::new()),
                Who::Client(_) => (-1, self.name(step.who)),
                Who::World => (-2, String::new()),
            };
            let _ = write!(
                out,
                "{comma}[{},{kind},\"{}\",{},{},{}]",
                step.at / 1_000,
                step.what.name(),
                extra(step.what),
                quoted(&step.text),
                quoted(&name),
            );
        }
        out.push_str("]}");
        out
    }
}

/// What belongs to a kind of step, as a JSON list.
fn extra(what: What) -> String {
    match what {
        What::Send { message, to } | What::Lost { message, to } => format!("[{message},{to}]"),
        What::Receive { message, from } => format!("[{message},{from}]"),
        What::State {
            era,
            role,
            committed,
        } => format!("[{era},\"{role}\",{committed}]"),
        _ => "[]".into(),
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            quoted("a\"\\\n</script>"),
            r#""a\"\\\u000a\u003c/script\u003e""#
        );
    }
}
