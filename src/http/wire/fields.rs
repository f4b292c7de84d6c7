//! Owns reading a JSON object field by field, and the message about each wrong field.
//!
//! Invariants: a message names a field and what it should be, never the value that came; a field that is
//! not known is an error with its name, unless the name is no plain word or holds a card number; a field
//! given twice is an error; money and quantities are whole numbers only. Nesting is bounded by the JSON parser (128
//! levels), size by the body's bound. Used where speed does not matter: administration, and to
//! say what is wrong with an order that the fast way refused.

use super::problem::FieldError;
use crate::engine::refusal::Refusal;
use crate::ids::{ID_CHARS_MAX, UserId, holds_card_number};
use crate::time::UnixMs;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// Whether a field is required.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    /// Required; null means none.
    Nullable,
    /// It may be absent or null.
    Optional,
}

/// The form of an id.
pub const ID_FORM: &str = "1 to 64 characters of A-Z a-z 0-9 _ . : -";
/// The message for a field with an id.
pub const ID_FIELD_FORM: &str = "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -";
/// The message for a field with a code or name, which is searched for card numbers.
pub const WORD_FIELD_FORM: &str =
    "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -, without a card number";
const _: () = assert!(ID_CHARS_MAX == 64, "the sentences above say so");

/// Why a body was refused.
pub type InvalidBody = (Refusal, Vec<FieldError>);

/// The message for a text with a card number.
pub const CARD_NUMBER: &str = "must not contain a card number";

/// The fields of a body, with the errors found so far.
#[derive(Debug)]
pub struct Fields {
    values: Map<String, Value>,
    errors: Vec<FieldError>,
    /// How many fields that are not known have been named.
    unknown_named: usize,
}

/// Fields that are not known and are named; a body may have any number of them.
const UNKNOWN_NAMED_MAX: usize = 8;

/// A field's name and what its value must be.
#[derive(Copy, Clone, Debug)]
pub struct Asked {
    pub name: &'static str,
    pub need: Need,
}

/// A required field.
pub const fn required(name: &'static str) -> Asked {
    Asked {
        name,
        need: Need::Required,
    }
}

/// A required field that may be null, which means none.
pub const fn nullable(name: &'static str) -> Asked {
    Asked {
        name,
        need: Need::Nullable,
    }
}

/// An optional field.
pub const fn optional(name: &'static str) -> Asked {
    Asked {
        name,
        need: Need::Optional,
    }
}

impl Fields {
    /// The fields of `body`; only those in `known` are allowed.
    pub fn of(body: &[u8], known: &'static [&'static str]) -> Self {
        let mut fields = Self {
            values: Map::new(),
            errors: Vec::new(),
            unknown_named: 0,
        };
        let Ok(text) = std::str::from_utf8(body) else {
            fields.wrong("body", "is not UTF-8");
            return fields;
        };
        if !text.trim_ascii_start().starts_with('{') {
            fields.wrong("body", "is not a JSON object");
            return fields;
        }
        match serde_json::from_str::<Pairs>(text) {
            Err(_) => fields.wrong(
                "body",
                "is not valid JSON, is nested too deeply, or has a field twice",
            ),
            Ok(Pairs(pairs)) => {
                for (name, value) in pairs {
                    fields.take_in(known, name, value);
                }
            }
        }
        fields
    }

    /// The fields of `values`, all of them known.
    pub const fn of_values(values: Map<String, Value>) -> Self {
        Self {
            values,
            errors: Vec::new(),
            unknown_named: 0,
        }
    }

    /// The fields unchanged, if there is no error.
    pub fn into_values(self) -> Result<Map<String, Value>, Vec<FieldError>> {
        if self.errors.is_empty() {
            Ok(self.values)
        } else {
            Err(self.errors)
        }
    }

    fn take_in(&mut self, known: &'static [&'static str], name: String, value: Value) {
        let Some(field) = known.iter().find(|known| **known == name) else {
            self.unknown(known, name);
            return;
        };
        if self.values.contains_key(*field) {
            self.wrong_once((*field).into(), "is given twice".to_owned());
        } else {
            self.values.insert(name, value);
        }
    }

    fn unknown(&mut self, known: &[&str], name: String) {
        let known = match known {
            [] => "this request has no fields".to_owned(),
            known => format!("known fields: {}", known.join(", ")),
        };
        // Repeat only a plain word, in the form of an id.
        let plain = UserId::parse(&name).is_some() && !holds_card_number(&name);
        if plain && self.unknown_named < UNKNOWN_NAMED_MAX {
            self.unknown_named += 1;
            self.wrong_once(name.into(), format!("is not known; {known}"));
        } else {
            self.wrong_once("body".into(), format!("has an unknown field; {known}"));
        }
    }

    /// Notes what is wrong with a field.
    pub fn wrong(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }

    fn wrong_once(&mut self, field: Cow<'static, str>, message: String) {
        let error = FieldError { field, message };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// A text that `parse` accepts; `form` is the message otherwise.
    pub fn parsed<T>(
        &mut self,
        asked: Asked,
        form: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(asked)?;
        let taken = value.as_str().and_then(parse);
        if taken.is_none() {
            self.wrong(asked.name, form);
        }
        taken
    }

    /// The same for text that people write and that is stored: it must not contain a card number.
    pub fn words<T>(
        &mut self,
        asked: Asked,
        form: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let mut card = false;
        let taken = self.parsed(asked, form, |text| {
            card = holds_card_number(text);
            if card { None } else { parse(text) }
        });
        if card {
            self.errors.pop();
            self.wrong(asked.name, CARD_NUMBER);
        }
        taken
    }

    pub fn text(&mut self, asked: Asked) -> Option<String> {
        self.parsed(asked, "must be a string", |text| Some(text.to_owned()))
    }

    /// A name for display: 1 to `chars_max` visible characters, without characters that change the
    /// direction of text.
    pub fn name(&mut self, asked: Asked, chars_max: usize) -> Option<String> {
        let form = format!(
            "must be 1 to {chars_max} characters, not blank, without control, bidirectional or invisible formatting characters"
        );
        self.words(asked, &form, |text| {
            is_name(text, chars_max).then(|| text.to_owned())
        })
    }

    /// A whole number from `least` to `most`.
    pub fn integer(&mut self, asked: Asked, least: i64, most: i64) -> Option<i64> {
        let value = self.value(asked)?;
        let taken = value
            .as_i64()
            .filter(|number| (least..=most).contains(number));
        if taken.is_none() {
            let form = format!("must be a whole number from {least} to {most}");
            self.wrong(asked.name, form);
        }
        taken
    }

    /// The same as a `u32`, with limits of that type.
    pub fn small(&mut self, asked: Asked, least: u32, most: u32) -> Option<u32> {
        let taken = self.integer(asked, least.into(), most.into())?;
        Some(u32::try_from(taken).expect("it was found to lie between two u32"))
    }

    /// True or false.
    pub fn switch(&mut self, asked: Asked) -> Option<bool> {
        let value = self.value(asked)?;
        if value.as_bool().is_none() {
            self.wrong(asked.name, "must be true or false");
        }
        value.as_bool()
    }

    /// A time in RFC 3339.
    pub fn time(&mut self, asked: Asked) -> Option<UnixMs> {
        let form =
            "must be an RFC 3339 time between 1970 and 9999, such as 2026-11-22T10:00:00.000Z";
        self.parsed(asked, form, UnixMs::parse)
    }

    pub fn object(&mut self, asked: Asked) -> Option<Map<String, Value>> {
        if let Value::Object(object) = self.value(asked)? {
            return Some(object);
        }
        self.wrong(asked.name, "must be an object");
        None
    }

    /// A list of 1 to `most` texts that `parse` accepts. An empty list is refused, because it could
    /// mean "none" or "all".
    pub fn list<T>(
        &mut self,
        asked: Asked,
        most: usize,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.value(asked)?;
        let taken = value
            .as_array()
            .filter(|entries| (1..=most).contains(&entries.len()))
            .and_then(|entries| {
                let each = entries.iter().map(|entry| entry.as_str().and_then(&parse));
                each.collect::<Option<Vec<T>>>()
            });
        if taken.is_none() {
            self.wrong(
                asked.name,
                format!("must be a list of 1 to {most}, each {form}"),
            );
        }
        taken
    }

    /// What is wrong with the fields asked for so far, and with the body.
    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    /// Whether there is no error so far.
    pub fn are_fine(&self) -> bool {
        self.errors.is_empty()
    }

    /// The value; null is none. A missing field is an error, unless the whole body is wrong.
    fn value(&mut self, asked: Asked) -> Option<Value> {
        let value = self.values.remove(asked.name);
        let missing = match (asked.need, &value) {
            (Need::Required, None | Some(Value::Null)) => Some("is missing"),
            (Need::Nullable, None) => Some("is missing; null means none"),
            (Need::Required | Need::Nullable | Need::Optional, _) => None,
        };
        let body_is_wrong = self.errors.iter().any(|error| error.field == "body");
        if let Some(missing) = missing.filter(|_| !body_is_wrong) {
            self.wrong(asked.name, missing);
        }
        value.filter(|value| !value.is_null())
    }
}

/// Whether `text` can be displayed as a name: it is visible, and does not change the direction of
/// the text around it.
fn is_name(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.chars().count())
        && text.chars().any(shows)
        && !text
            .chars()
            .any(|c| c.is_control() || turns_text(c) || hides(c))
}

/// Unicode's bidirectional formatting characters, and the line and paragraph separators.
const fn turns_text(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Unicode's invisible formatting characters, and tag characters, which spell an invisible text. Joiners
/// and variation selectors are allowed: scripts and emoji need them.
const fn hides(c: char) -> bool {
    matches!(
        c,
        '\u{180e}'
            | '\u{200b}'
            | '\u{2060}'..='\u{2064}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Whether a character leaves a mark: neither space nor one of those that are drawn as nothing.
fn shows(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    !c.is_whitespace() && !c.is_control() && !invisible
}

/// An object with repeated fields; in nested objects a repeated field is an error.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, Once(value))) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A value without repeated fields.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Once)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(entry)) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Once(value))) = map.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a field twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
