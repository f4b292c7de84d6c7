//! Owns the query of a path: known names, each once.

use super::percent::decoded;
use super::problem::FieldError;
use std::collections::BTreeMap;

/// The parameters of a request, with the errors found so far.
#[derive(Debug)]
pub struct Query {
    values: BTreeMap<&'static str, String>,
    errors: Vec<FieldError>,
}

impl Query {
    /// The parameters in `query`; only those in `known` are allowed.
    pub fn of(query: Option<&str>, known: &'static [&'static str]) -> Self {
        let mut parsed = Self {
            values: BTreeMap::new(),
            errors: Vec::new(),
        };
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = known.iter().find(|known| **known == name);
            match (name, decoded(value)) {
                (None, _) => {
                    let names = known.join(", ");
                    parsed.wrong(
                        "query",
                        format!("has an unknown name; known names: {names}"),
                    );
                }
                (Some(name), None) => parsed.wrong(name, "is not percent-encoded UTF-8"),
                (Some(name), Some(value)) => {
                    if parsed.values.insert(name, value.into_owned()).is_some() {
                        parsed.wrong(name, "is given twice");
                    }
                }
            }
        }
        parsed
    }

    /// The text under `name`.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.values.remove(name)
    }

    /// The text under `name`, parsed by `parse`.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        form: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let taken = parse(&text);
        if taken.is_none() {
            self.wrong(name, form);
        }
        taken
    }

    /// The whole number under `name`, from `least` to `most`.
    pub fn integer(&mut self, name: &'static str, least: u64, most: u64) -> Option<u64> {
        let form = format!("must be a whole number from {least} to {most}");
        let fits = |number: &u64| (least..=most).contains(number);
        // Digits only: `parse` would accept a sign, too.
        let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
        self.parsed(name, &form, |text| {
            let number = digits(text).then(|| text.parse().ok());
            number.flatten().filter(fits)
        })
    }

    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    fn wrong(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
    }
}
