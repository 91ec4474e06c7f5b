//! A story: a file of comments, commands and what the machines say to each command.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::act::{self, Configure};
use crate::stage::Stage;

/// What starts a line that a machine has said.
const SAID: &str = "> ";

/// A command, what is expected to be said to it, and where it stands.
struct Line {
    number: usize,
    text: String,
    expected: Vec<String>,
}

/// How a story is told.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// What is said must be what is written.
    Check,
    /// What is said is to be written.
    Rewrite,
}

/// Tells a story: its text as it should be, or what is wrong with it.
pub(crate) fn tell(
    file: &str,
    text: &str,
    mode: Mode,
    configure: Configure,
) -> Result<String, String> {
    let mut rewritten = String::new();
    let mut stage = None;
    let mut claims = 0;
    let mut said_anything = false;
    for part in parse(file, text)? {
        let line = match part {
            Part::Prose(prose) => {
                writeln!(rewritten, "{prose}").unwrap();
                continue;
            }
            Part::Line(line) => line,
        };
        let words: Vec<&str> = line.text.split_whitespace().collect();
        claims += usize::from(words[0] == "expect");
        let told = play(&mut stage, &words, configure)
            .map_err(|why| format!("{file}:{}: {}\n    {why}", line.number, line.text))?;
        if let Mode::Check = mode
            && told != line.expected
            && !is_unwritten(text)
        {
            return Err(format!(
                "{file}:{}: {}\n{}(- as written, + as said now; SYNOD_REGENERATE=1 rewrites it)",
                line.number,
                line.text,
                diff(&line.expected, &told)
            ));
        }
        said_anything |= !told.is_empty();
        writeln!(rewritten, "{}", line.text).unwrap();
        for said in told {
            writeln!(rewritten, "{SAID}{said}").unwrap();
        }
    }
    if claims == 0 {
        return Err(format!(
            "{file}: a story without an `expect` claims nothing"
        ));
    }
    if !said_anything {
        return Err(format!("{file}: nothing is said in this story"));
    }
    if let Mode::Check = mode
        && is_unwritten(text)
    {
        return Err(format!(
            "{file}: what is said is not written yet: SYNOD_REGENERATE=1 writes it, for you to read \
             against the paper"
        ));
    }
    Ok(rewritten)
}

/// Whether the file has no expected part at all.
fn is_unwritten(text: &str) -> bool {
    !text.lines().any(|line| line.starts_with(SAID))
}

fn play(
    stage: &mut Option<Stage>,
    words: &[&str],
    configure: Configure,
) -> Result<Vec<String>, String> {
    let act = || match (stage.as_mut(), words) {
        (None, ["start", rest @ ..]) => {
            *stage = Some(act::start(rest, configure)?);
            Ok(Vec::new())
        }
        (Some(_), ["start", ..]) => Err("the stage is set already".into()),
        (None, _) => Err("a story begins with `start`".into()),
        (Some(stage), _) => {
            stage.act(words)?;
            Ok(std::mem::take(&mut stage.told))
        }
    };
    // A machine's own invariants are panics: the place in the story belongs to them.
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

enum Part {
    /// A comment or an empty line.
    Prose(String),
    Line(Line),
}

fn parse(file: &str, text: &str) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        if let Some(said) = line.strip_prefix(SAID) {
            match parts.last_mut() {
                Some(Part::Line(command)) => command.expected.push(said.into()),
                Some(Part::Prose(_)) | None => {
                    return Err(format!(
                        "{file}:{number}: nobody has said this to anything: {line}"
                    ));
                }
            }
        } else if line.trim().is_empty() || line.starts_with('#') {
            parts.push(Part::Prose(line.into()));
        } else {
            parts.push(Part::Line(Line {
                number,
                text: line.into(),
                expected: Vec::new(),
            }));
        }
    }
    Ok(parts)
}

/// Both texts in one, line by line: by the longest row of lines that they share.
fn diff(old: &[String], new: &[String]) -> String {
    let mut shared = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            shared[i][j] = if a == b {
                shared[i + 1][j + 1] + 1
            } else {
                shared[i + 1][j].max(shared[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            writeln!(text, "      {}", old[i]).unwrap();
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && shared[i + 1][j] >= shared[i][j + 1]) {
            writeln!(text, "    - {}", old[i]).unwrap();
            i += 1;
        } else {
            writeln!(text, "    + {}", new[j]).unwrap();
            j += 1;
        }
    }
    text
}
