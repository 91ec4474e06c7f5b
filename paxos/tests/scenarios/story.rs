//! A story: a file of comments, commands and what the machines say to each command.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::stage::{Bug, Stage};

/// What starts a line that a machine has said.
const SAID: &str = "> ";

/// How a story is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What is said must be what is written.
    Check,
    /// What is said is to be written.
    Rewrite,
}

/// A line of the file, and what is written to be said to it.
struct Line<'a> {
    number: usize,
    text: &'a str,
    expected: Vec<&'a str>,
}

/// Tells a story: its text as it should be, or what is wrong with it.
pub(crate) fn tell(file: &str, text: &str, mode: Mode, bug: Option<Bug>) -> Result<String, String> {
    let is_unwritten = !text.lines().any(|line| line.starts_with(SAID));
    let mut rewritten = String::new();
    let mut stage = None;
    let (mut claims, mut said) = (0, 0);
    for line in parse(file, text)? {
        writeln!(rewritten, "{}", line.text).unwrap();
        let words: Vec<&str> = line.text.split_whitespace().collect();
        if words.is_empty() || line.text.starts_with('#') {
            continue;
        }
        claims += usize::from(words[0] == "expect");
        let told = play(&mut stage, &words, bug)
            .map_err(|why| format!("{file}:{}: {}\n    {why}", line.number, line.text))?;
        if mode == Mode::Check && !is_unwritten && told != line.expected {
            let shown = |lines: Vec<String>, mark: char| -> String {
                let marked = lines.iter().map(|line| format!("    {mark} {line}\n"));
                marked.collect()
            };
            let written = line.expected.iter().map(ToString::to_string).collect();
            return Err(format!(
                "{file}:{}: {}\n{}{}(- as written, + as said now; SYNOD_REGENERATE=1 rewrites it)",
                line.number,
                line.text,
                shown(written, '-'),
                shown(told, '+')
            ));
        }
        said += told.len();
        for line in told {
            writeln!(rewritten, "{SAID}{line}").unwrap();
        }
    }
    match (claims, said) {
        (0, _) => Err(format!(
            "{file}: a story without an `expect` claims nothing"
        )),
        (_, 0) => Err(format!("{file}: nothing is said in this story")),
        _ if is_unwritten && mode == Mode::Check => Err(format!(
            "{file}: what is said is not written yet: SYNOD_REGENERATE=1 writes it, for you to read \
             against the paper"
        )),
        _ => Ok(rewritten),
    }
}

fn parse<'a>(file: &str, text: &'a str) -> Result<Vec<Line<'a>>, String> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for (place, text) in text.lines().enumerate() {
        let number = place + 1;
        if let Some(said) = text.strip_prefix(SAID) {
            match lines.last_mut() {
                Some(line) if !line.text.is_empty() && !line.text.starts_with('#') => {
                    line.expected.push(said);
                }
                _ => return Err(format!("{file}:{number}: nobody was told anything")),
            }
        } else {
            lines.push(Line {
                number,
                text,
                expected: Vec::new(),
            });
        }
    }
    Ok(lines)
}

/// Plays a line; a panic of the machine is a failure of the story.
fn play(
    stage: &mut Option<Stage>,
    words: &[&str],
    bug: Option<Bug>,
) -> Result<Vec<String>, String> {
    let acted = catch_unwind(AssertUnwindSafe(|| match (stage.as_mut(), words) {
        (None, ["start", rest @ ..]) => {
            *stage = Some(Stage::set(rest, bug)?);
            Ok(Vec::new())
        }
        (None, _) => Err("the stage is not set: `start` comes first".into()),
        (Some(_), ["start", ..]) => Err("the stage is set already".into()),
        (Some(stage), _) => stage.act(words),
    }));
    acted.unwrap_or_else(|_| Err("the machine panics".into()))
}
