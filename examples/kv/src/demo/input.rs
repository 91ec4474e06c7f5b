//! Commands from a file, from standard input, or from the bundled sample.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor};
use std::path::Path;
use std::thread;

use bytes::Bytes;
use synod_sim::linear::{KvAction, KvOp};
use tokio::sync::mpsc;

/// What the generated load calls its keys.
pub(crate) const RESERVED: &str = "demo:";

/// The longest line, in bytes.
const LONGEST: usize = 64 << 10;

/// How many commands wait to be taken.
const AHEAD: usize = 1024;

/// Where commands come from.
pub(crate) struct Source {
    pub(crate) name: String,
    lines: Box<dyn BufRead + Send>,
}

impl Source {
    /// Opens a file, standard input (`-`), or the sample. What a file holds is checked now.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            let lines = Cursor::new(include_str!("../../sample.txt"));
            return Ok(Self {
                name: "the bundled sample".into(),
                lines: Box::new(lines),
            });
        };
        if path.as_os_str() == "-" {
            return Ok(Self {
                name: "standard input".into(),
                lines: Box::new(BufReader::new(std::io::stdin())),
            });
        }
        let name = path.display().to_string();
        let open = || File::open(path).map_err(|error| format!("cannot read {name}: {error}"));
        let mut check = Reader::new(&name, BufReader::new(open()?));
        while check.next()?.is_some() {}
        let lines = Box::new(BufReader::new(open()?));
        Ok(Self { name, lines })
    }

    /// Reads on a thread of its own: standard input may make it wait for ever, and nothing else
    /// must wait for it then.
    pub(crate) fn read(self) -> mpsc::Receiver<Result<KvOp, String>> {
        let (commands, taken) = mpsc::channel(AHEAD);
        thread::spawn(move || {
            let mut reader = Reader::new(&self.name, self.lines);
            while let Some(command) = reader.next().transpose() {
                let is_last = command.is_err();
                if commands.blocking_send(command).is_err() || is_last {
                    return;
                }
            }
        });
        taken
    }
}

struct Reader<R> {
    name: String,
    lines: R,
    line: usize,
}

impl<R: BufRead> Reader<R> {
    fn new(name: &str, lines: R) -> Self {
        let name = name.into();
        Self {
            name,
            lines,
            line: 0,
        }
    }

    /// The next command.
    fn next(&mut self) -> Result<Option<KvOp>, String> {
        loop {
            self.line += 1;
            let mut line = Vec::new();
            let limit = LONGEST as u64 + 1;
            let mut limited = std::io::Read::take(&mut self.lines, limit);
            let read = limited.read_until(b'\n', &mut line);
            let read = read.map_err(|error| format!("cannot read {}: {error}", self.name))?;
            if read == 0 {
                return Ok(None);
            }
            if read > LONGEST {
                return Err(self.wrong(&format!("is longer than {LONGEST} bytes")));
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(command) = parse(&text).map_err(|why| self.wrong(&why))? {
                return Ok(Some(command));
            }
        }
    }

    fn wrong(&self, why: &str) -> String {
        format!("{}, line {}: {why}", self.name, self.line)
    }
}

/// The command of a line; `None` for an empty line or a comment.
fn parse(line: &str) -> Result<Option<KvOp>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    // The rest of the line, blanks and all, is the value.
    let rest = || {
        let rest = line.splitn(3, char::is_whitespace).nth(2);
        bytes(rest.unwrap_or_default().trim_start())
    };
    let action = match words[..] {
        ["get", _] => KvAction::Get,
        ["delete", _] => KvAction::Delete,
        ["put", _, _, ..] => KvAction::Put(rest()),
        ["append", _, _, ..] => KvAction::Append(rest()),
        ["cas", _, old, new] => KvAction::Cas {
            expected: Some(bytes(old)),
            new: Some(bytes(new)),
        },
        _ => {
            return Err(format!(
                "`{line}` is none of: put KEY VALUE, get KEY, append KEY VALUE, delete KEY, cas KEY OLD NEW"
            ));
        }
    };
    if words[1].starts_with(RESERVED) {
        return Err(format!(
            "keys that begin with `{RESERVED}` belong to the generated load"
        ));
    }
    Ok(Some(KvOp::new(bytes(words[1]), action)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_errors_that_name_them() {
        assert_eq!(parse("  # nothing"), Ok(None));
        assert_eq!(parse("\n"), Ok(None));
        let put = KvOp::new("a", KvAction::Put("b  c".into()));
        assert_eq!(parse("put a b  c\n"), Ok(Some(put)));
        assert!(parse("put a").unwrap_err().contains("put KEY VALUE"));
        assert!(parse("get demo:x").unwrap_err().contains("generated load"));
        let mut reader = Reader::new("f", Cursor::new("get a\nfly\n"));
        assert!(reader.next().is_ok_and(|command| command.is_some()));
        assert!(reader.next().unwrap_err().starts_with("f, line 2: `fly`"));
    }

    #[test]
    fn the_sample_is_well_formed() {
        let mut reader = Reader::new("sample", Cursor::new(include_str!("../../sample.txt")));
        let mut commands = 0;
        while reader.next().expect("a command").is_some() {
            commands += 1;
        }
        assert!(commands > 20);
    }
}
