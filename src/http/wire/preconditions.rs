//! Owns entity tags and preconditions (RFC 9110, sections 8.8.3 and 13): which state of a resource
//! a client has seen, and whether a request may proceed from there.
//!
//! Invariants: a tag is strong and depends on the state alone, so it is the same after a restart; a
//! malformed header is an error and never a true condition.
//! Deliberately absent: when they are checked: under the turn that changes the state.

use super::problem::FieldError;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The tag of one state of a resource: 32 hexadecimal digits in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of this state.
    pub fn of(state: &Value) -> Self {
        Self::of_bytes(state.to_string().as_bytes())
    }

    /// The tag of a file.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(format!("\"{}\"", hex::encode(&digest[..16])))
    }

    /// The tag as in a header.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the header `ETag`.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("quotes and hexadecimal digits are visible ASCII")
    }
}

/// The preconditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    must_match: Option<Tags>,
    must_not_match: Option<Tags>,
}

/// The tags of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: any state.
    Any,
    /// These.
    Listed(Vec<Listed>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    strength: Strength,
    /// With its quotes.
    tag: String,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

/// The result of the preconditions of a read.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ReadCondition {
    /// Answer with the state.
    Whole,
    /// The client already has it.
    NotModified,
    /// It is not the requested state.
    Failed,
}

impl Preconditions {
    /// The preconditions in `headers`.
    pub fn of(headers: &HeaderMap) -> Result<Self, FieldError> {
        Ok(Self {
            must_match: tags(headers, &IF_MATCH, "If-Match")?,
            must_not_match: tags(headers, &IF_NONE_MATCH, "If-None-Match")?,
        })
    }

    /// Whether a resource in this state may be changed; `None`: it does not exist.
    pub fn allow_change(&self, current: Option<&ETag>) -> bool {
        let matches = self.must_match.as_ref().is_none_or(|it| it.is(current));
        let differs = self.must_not_match.as_ref();
        matches && differs.is_none_or(|it| !it.is_weakly(current))
    }

    /// The result for a read of a resource in this state.
    pub fn reading(&self, current: &ETag) -> ReadCondition {
        let current = Some(current);
        if self.must_match.as_ref().is_some_and(|it| !it.is(current)) {
            return ReadCondition::Failed;
        }
        let known = self.must_not_match.as_ref();
        if known.is_some_and(|it| it.is_weakly(current)) {
            return ReadCondition::NotModified;
        }
        ReadCondition::Whole
    }
}

impl Tags {
    fn is(&self, current: Option<&ETag>) -> bool {
        self.has(current, |it| it.strength == Strength::Strong)
    }

    fn is_weakly(&self, current: Option<&ETag>) -> bool {
        self.has(current, |_| true)
    }

    fn has(&self, current: Option<&ETag>, counts: impl Fn(&Listed) -> bool) -> bool {
        let Some(current) = current else { return false };
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|it| counts(it) && it.tag == current.0),
        }
    }
}

fn tags(
    headers: &HeaderMap,
    name: &HeaderName,
    field: &'static str,
) -> Result<Option<Tags>, FieldError> {
    let mut listed = Vec::new();
    let mut any = false;
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let wrong = || FieldError {
        field: field.into(),
        message: "must be * or a list of quoted entity tags, as sent in ETag".to_owned(),
    };
    for line in lines {
        let line = line.to_str().map_err(|_| wrong())?.trim();
        if line == "*" {
            any = true;
        } else {
            listed.extend(listed_in(line).ok_or_else(wrong)?);
        }
    }
    match (any, listed.is_empty()) {
        (true, true) => Ok(Some(Tags::Any)),
        (false, false) => Ok(Some(Tags::Listed(listed))),
        (true, false) | (false, true) => Err(wrong()),
    }
}

/// The tags of one header line; empty entries of the list are skipped.
fn listed_in(line: &str) -> Option<Vec<Listed>> {
    let mut listed = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(listed);
        }
        let (strength, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (Strength::Weak, quoted),
            None => (Strength::Strong, rest),
        };
        let end = quoted.strip_prefix('"')?.find('"')? + 2;
        let (tag, after) = quoted.split_at(end);
        let plain = tag[1..end - 1]
            .bytes()
            .all(|byte| byte > b' ' && byte != 0x7f);
        plain.then_some(())?;
        listed.push(Listed {
            strength,
            tag: tag.to_owned(),
        });
        rest = after.trim_start_matches([' ', '\t']);
        (rest.is_empty() || rest.starts_with(',')).then_some(())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(pairs: &[(HeaderName, &str)]) -> Result<Preconditions, FieldError> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Preconditions::of(&headers)
    }

    #[test]
    fn a_tag_follows_from_the_state() {
        let (one, other) = (ETag::of(&json!({"a": 1})), ETag::of(&json!({"a": 2})));
        assert_eq!(one, ETag::of(&json!({"a": 1})));
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 34);
    }

    #[test]
    fn a_change_applies_only_to_the_state_that_it_names() {
        let current = ETag::of(&json!(1));
        let (tag, weak) = (current.as_str(), format!("W/{}", current.as_str()));
        let many = format!("\"x\", ,{tag} , \"y,z\"");
        for (name, value, there, absent) in [
            (IF_MATCH, "*", true, false),
            (IF_MATCH, tag, true, false),
            (IF_MATCH, many.as_str(), true, false),
            (IF_MATCH, "\"other\"", false, false),
            // The comparison is a strong one.
            (IF_MATCH, weak.as_str(), false, false),
            (IF_NONE_MATCH, "*", false, true),
            (IF_NONE_MATCH, tag, false, true),
            (IF_NONE_MATCH, weak.as_str(), false, true),
            (IF_NONE_MATCH, "\"other\"", true, true),
        ] {
            let conditions = given(&[(name, value)]).unwrap();
            assert_eq!(conditions.allow_change(Some(&current)), there, "{value}");
            assert_eq!(conditions.allow_change(None), absent, "{value}");
        }
        assert!(given(&[]).unwrap().allow_change(None));
    }

    #[test]
    fn a_read_is_whole_known_or_of_another_state() {
        let current = ETag::of(&json!(1));
        let tag = current.as_str();
        for (headers, expected) in [
            (vec![], ReadCondition::Whole),
            (vec![(IF_NONE_MATCH, tag)], ReadCondition::NotModified),
            (
                vec![(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, tag)],
                ReadCondition::NotModified,
            ),
            (vec![(IF_NONE_MATCH, "*")], ReadCondition::NotModified),
            (vec![(IF_NONE_MATCH, "\"x\"")], ReadCondition::Whole),
            (vec![(IF_MATCH, "\"x\"")], ReadCondition::Failed),
            (
                vec![(IF_MATCH, "\"x\""), (IF_NONE_MATCH, tag)],
                ReadCondition::Failed,
            ),
            (
                vec![(IF_MATCH, tag), (IF_NONE_MATCH, tag)],
                ReadCondition::NotModified,
            ),
        ] {
            assert_eq!(given(&headers).unwrap().reading(&current), expected);
        }
    }

    #[test]
    fn a_header_of_another_form_is_an_error() {
        for value in [
            "",
            ",",
            "x",
            "\"x",
            "\"x\"y",
            "\"x\" \"y\"",
            "W/x",
            "w/\"x\"",
            "*, \"x\"",
            "\"a b\"",
        ] {
            assert!(given(&[(IF_MATCH, value)]).is_err(), "{value}");
        }
        assert!(given(&[(IF_MATCH, "*"), (IF_MATCH, "\"x\"")]).is_err());
    }
}
