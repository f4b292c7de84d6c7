//! Card tokens with places that differ from buyer to buyer.
//!
//! `{buyer}` becomes a name of the buyer's own (letters and digits), and `{200..700}` a number of that range: risk rules
//! block a card that a crowd of buyers uses, so a drop in which all share one card measures refusals.

use serde::Deserialize;

const TOKEN_CHARS_MAX: usize = 64;

/// A token as the scenario has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct CardToken(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Buyer,
    Number { from: u64, to: u64 },
}

impl CardToken {
    /// The card of each buyer that the sandbox gateway captures.
    pub(crate) fn works() -> Self {
        Self(vec![Part::Text("tok_ok_".to_owned()), Part::Buyer])
    }

    /// Writes the token of buyer `number` in run `run`.
    pub(crate) fn write(&self, run: u32, number: u64, out: &mut String) {
        use std::fmt::Write as _;
        for part in &self.0 {
            // Writing to a String cannot fail.
            let _ = match part {
                Part::Text(text) => out.write_str(text),
                Part::Buyer => write!(out, "{run:08x}x{number}"),
                Part::Number { from, to } => write!(out, "{}", from + number % (to - from + 1)),
            };
        }
    }
}

impl TryFrom<String> for CardToken {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (before, place) = match rest.split_once('{') {
                None => (rest, None),
                Some((before, after)) => {
                    let end = after.split_once('}');
                    let (place, after) =
                        end.ok_or_else(|| format!("`{text}`: a `{{` without its `}}`"))?;
                    rest = after;
                    (before, Some(place))
                }
            };
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
            if !before.bytes().all(plain) || before.len() > TOKEN_CHARS_MAX {
                return Err(format!("`{text}` is not a card token: A-Z a-z 0-9 _ . : -"));
            }
            parts.push(Part::Text(before.to_owned()));
            match place {
                None => break,
                Some(place) => parts.push(Part::parse(place).ok_or_else(|| {
                    format!("`{{{place}}}` is neither {{buyer}} nor a range such as {{200..700}}")
                })?),
            }
        }
        if parts.is_empty() {
            return Err("a card token is not empty".to_owned());
        }
        Ok(Self(parts))
    }
}

impl Part {
    fn parse(place: &str) -> Option<Self> {
        if place == "buyer" {
            return Some(Self::Buyer);
        }
        let (from, to) = place.split_once("..")?;
        let (from, to) = (from.parse().ok()?, to.parse::<u32>().ok()?.into());
        (from <= to).then_some(Self::Number { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_for_each_buyer() {
        let token = CardToken::try_from("tok_slow_{200..209}".to_owned()).unwrap();
        let mut out = String::new();
        token.write(1, 23, &mut out);
        assert_eq!(out, "tok_slow_203");
        let token = CardToken::try_from("tok_ok_{buyer}".to_owned()).unwrap();
        assert_eq!(token, CardToken::works());
        out.clear();
        token.write(0xab, 7, &mut out);
        assert_eq!(out, "tok_ok_000000abx7");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for bad in [
            "",
            "tok ok",
            "tok_{card}",
            "tok_{9..1}",
            "tok_{buyer",
            "\"}",
        ] {
            assert!(
                CardToken::try_from(bad.to_owned()).is_err(),
                "{bad} was taken"
            );
        }
    }
}
