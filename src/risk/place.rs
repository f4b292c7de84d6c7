//! Owns places in a text of rules: from a byte of a string's value to the line and column where it
//! was written, through quotes and escapes.

use std::ops::Range;

/// What is wrong with a text of rules, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct RulesError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was expected, what was found; what to do.
    pub message: String,
}

impl RulesError {
    /// At byte `offset` of `text`.
    pub(super) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }
}

/// A string as it was written, quotes and all.
#[derive(Clone, Debug)]
pub(super) struct WrittenString {
    /// What it says.
    pub(super) value: String,
    /// Where it stands.
    pub(super) span: Range<usize>,
}

impl WrittenString {
    /// Where byte `at` of the value stands in `text`.
    pub(super) fn locate(&self, text: &str, at: usize) -> usize {
        let raw = &text[self.span.clone()];
        let (quotes, literal) = match raw.as_bytes() {
            [b'"', b'"', b'"', ..] => (3, false),
            [b'\'', b'\'', b'\'', ..] => (3, true),
            [b'\'', ..] => (1, true),
            _ => (1, false),
        };
        let mut place = quotes.min(raw.len());
        if quotes == 3 {
            // A newline right behind the opening quotes is no part of the value.
            let rest = &raw[place..];
            place += rest.len() - rest.trim_start_matches('\r').len();
            place += usize::from(raw[place..].starts_with('\n'));
        }
        let mut decoded = 0;
        while place < raw.len() {
            let rest = &raw[place..];
            let (written, read) = if literal {
                one(rest)
            } else {
                one_or_escape(rest)
            };
            if decoded >= at && read > 0 {
                break;
            }
            place += written;
            decoded += read;
        }
        self.span.start + place
    }
}

/// Bytes of the next character as written, and of its value.
fn one(rest: &str) -> (usize, usize) {
    let bytes = rest.chars().next().map_or(1, char::len_utf8);
    (bytes, bytes)
}

fn one_or_escape(rest: &str) -> (usize, usize) {
    let mut chars = rest.chars();
    if chars.next() != Some('\\') {
        return one(rest);
    }
    let hex = |digits: usize| {
        let code = rest.get(2..2 + digits);
        let code = code.and_then(|it| u32::from_str_radix(it, 16).ok());
        let value = code.map_or(1, |code| char::from_u32(code).map_or(2, char::len_utf8));
        (2 + digits, value)
    };
    match chars.next() {
        Some('u') => hex(4),
        Some('U') => hex(8),
        Some('x') => hex(2),
        // A backslash at the end of a line swallows the white space behind it.
        Some(space) if space.is_whitespace() => {
            let behind = rest[1..].trim_start();
            (rest.len() - behind.len(), 0)
        }
        Some(other) => (1 + other.len_utf8(), 1),
        None => (1, 1),
    }
}
