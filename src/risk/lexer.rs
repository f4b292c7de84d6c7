//! Owns the words of a condition.
//!
//! Invariant: a token says where it begins; what is no token is refused with its place.

use crate::engine::risk::program::Compare;

/// A mistake at a byte of the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

pub(super) fn wrong<T>(at: usize, message: impl Into<String>) -> Result<T, Wrong> {
    let message = message.into();
    Err(Wrong { at, message })
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Integer(i64),
    /// In milliseconds.
    Duration(u64),
    Text(&'a str),
    Compare(Compare),
    Open,
    Close,
    End,
}

impl Token<'_> {
    /// How a message names it.
    pub(super) fn named(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Integer(number) => format!("`{number}`"),
            Self::Duration(_) => "a duration".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Compare(_) => "a comparison".to_owned(),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The tokens of `text`, each with where it begins; the last is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, Wrong> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        at += rest.len() - rest.trim_start().len();
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            tokens.push((at, Token::End));
            return Ok(tokens);
        };
        let (token, bytes) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' | '\'' => quoted(rest, first, at)?,
            '0'..='9' => number(rest, at)?,
            'a'..='z' | 'A'..='Z' | '_' => {
                let bytes = length_of(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                (Token::Word(&rest[..bytes]), bytes)
            }
            _ => comparison(rest, first, at)?,
        };
        tokens.push((at, token));
        at += bytes;
    }
}

fn length_of(text: &str, part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !part(c)).unwrap_or(text.len())
}

fn quoted(rest: &str, quote: char, at: usize) -> Result<(Token<'_>, usize), Wrong> {
    match rest[1..].find(quote) {
        Some(bytes) => Ok((Token::Text(&rest[1..=bytes]), bytes + 2)),
        None => wrong(
            at,
            format!("expected the text to end with {quote}, found the end"),
        ),
    }
}

fn number(rest: &str, at: usize) -> Result<(Token<'_>, usize), Wrong> {
    let digits = length_of(rest, |c| c.is_ascii_digit() || c == '_');
    let unit = length_of(&rest[digits..], |c| c.is_ascii_alphanumeric());
    let plain: String = rest[..digits].chars().filter(|c| *c != '_').collect();
    let Ok(value) = plain.parse::<i64>() else {
        return wrong(at, "expected a number below 9223372036854775808");
    };
    let ms = match &rest[digits..digits + unit] {
        "" => return Ok((Token::Integer(value), digits)),
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => {
            return wrong(
                at + digits,
                format!("expected s, m, h or d behind the number of a duration, found `{other}`"),
            );
        }
    };
    let duration = u64::try_from(value).ok().and_then(|it| it.checked_mul(ms));
    match duration.filter(|ms| i64::try_from(*ms).is_ok()) {
        Some(duration) => Ok((Token::Duration(duration), digits + unit)),
        None => wrong(at, "expected a shorter duration"),
    }
}

fn comparison(rest: &str, first: char, at: usize) -> Result<(Token<'_>, usize), Wrong> {
    let known = [
        ("<=", Compare::AtMost),
        (">=", Compare::AtLeast),
        ("==", Compare::Equal),
        ("!=", Compare::Unequal),
        ("<", Compare::Less),
        (">", Compare::More),
    ];
    let found = known.into_iter().find(|(sign, _)| rest.starts_with(sign));
    match (found, first) {
        (Some((sign, compare)), _) => Ok((Token::Compare(compare), sign.len())),
        (None, '=') => wrong(at, "expected `==`, found `=`"),
        (None, '!') => wrong(at, "expected `!=` or `not`, found `!`"),
        (None, '&') => wrong(at, "expected `and`, found `&`"),
        (None, '|') => wrong(at, "expected `or`, found `|`"),
        (None, other) => wrong(at, format!("no word begins with {other:?}")),
    }
}
