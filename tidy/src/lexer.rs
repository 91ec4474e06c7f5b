//! Just enough of Rust's lexical structure to tell code from comments and strings.

/// The text with every comment, string and character blanked out; lines stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let mut lexer = Lexer {
        rest: text,
        code: String::with_capacity(text.len()),
    };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.code
}

struct Lexer<'a> {
    rest: &'a str,
    code: String,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment(rest));
        } else if let Some(len) = raw_string(rest).filter(|_| !self.in_word()) {
            self.blank(len);
        } else if rest.starts_with('"') {
            self.blank(quoted(rest, '"'));
        } else if rest.starts_with('\'') && is_char(rest) {
            self.blank(quoted(rest, '\''));
        } else {
            let len = rest.chars().next().map_or(1, char::len_utf8);
            self.code.push_str(&rest[..len]);
            self.rest = &rest[len..];
        }
    }

    /// Whether what comes next continues a word, so that its `r` begins no raw string.
    fn in_word(&self) -> bool {
        self.code
            .ends_with(|c: char| c.is_alphanumeric() || c == '_')
    }

    fn blank(&mut self, len: usize) {
        let blanked = self.rest[..len]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' });
        self.code.extend(blanked);
        self.rest = &self.rest[len..];
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let start = ["br", "cr", "r"]
        .iter()
        .find(|prefix| text.starts_with(**prefix))?
        .len();
    let hashes = text[start..].bytes().take_while(|b| *b == b'#').count();
    let open = start + hashes;
    if !text[open..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = &text[open + 1..];
    Some(
        body.find(&end)
            .map_or(text.len(), |at| open + 1 + at + end.len()),
    )
}

/// A character, not a lifetime.
fn is_char(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    matches!(
        (chars.next(), chars.next()),
        (Some('\\'), _) | (Some(_), Some('\''))
    )
}

/// The length of a string or character with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let cases = [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"x \\\" y\") z", "f(        ) z"),
            ("r#\"a\"b\"# c", "         c"),
            ("for\"a\"", "for   "),
            ("'a' 'b fn", "    'b fn"),
            ("'\\'' x", "     x"),
            ("\"é\" x", "    x"),
        ];
        for (text, code) in cases {
            let blanked = code_only(text);
            assert_eq!(blanked.trim_end(), code.trim_end(), "{text}");
        }
    }

    #[test]
    fn lines_stay_where_they_are() {
        assert_eq!(code_only("/*\n*/a\n\"\n\"b"), "  \n  a\n \n b");
    }
}
