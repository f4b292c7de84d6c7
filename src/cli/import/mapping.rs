//! Owns which keys of a Redis mean what: patterns with names in braces, and the type of value.
//!
//! Invariants: a pattern has exactly the names that its meaning needs, in the key or in the field;
//! a name takes the shortest text that lets the rest match, and never none.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The meaning of an entry in Redis.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// Available units of a product.
    Stock,
    /// Sold units of a product.
    Sold,
    /// Units of a product that a buyer has.
    Holdings,
    /// Uses of a promotion.
    Promotions,
    /// A used idempotency key.
    Keys,
    /// A used nonce of a webhook.
    Nonces,
}

impl Meaning {
    pub(super) const ALL: [Self; 6] = [
        Self::Stock,
        Self::Sold,
        Self::Holdings,
        Self::Promotions,
        Self::Keys,
        Self::Nonces,
    ];

    /// The section in the mapping, and the row in the report.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Sold => "sold",
            Self::Holdings => "holdings",
            Self::Promotions => "promotions",
            Self::Keys => "keys",
            Self::Nonces => "nonces",
        }
    }

    /// The names that must be in key or field, and those that may be.
    const fn names(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Stock | Self::Sold => (&["product_id"], &[]),
            Self::Holdings => (&["user_id", "product_id"], &[]),
            Self::Promotions => (&["code"], &[]),
            Self::Keys => (&["key"], &["user_id"]),
            Self::Nonces => (&["nonce"], &[]),
        }
    }

    const fn usual(self) -> &'static str {
        match self {
            Self::Stock => "product:{product_id}:stock",
            Self::Sold => "product:{product_id}:sold",
            Self::Holdings => "user:{user_id}:product:{product_id}:count",
            Self::Promotions => "promo:{code}:uses",
            Self::Keys => "idem:{key}",
            Self::Nonces => "nonce:{nonce}",
        }
    }
}

/// The type of a value in Redis.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ValueType {
    #[default]
    String,
    /// Values by field.
    Hash,
    /// Scores by member.
    Zset,
}

/// The whole mapping.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) rules: Vec<MappingRule>,
    /// The name of the API key that the idempotency keys were used with.
    pub(super) key_owner: String,
}

/// One meaning.
#[derive(Debug)]
pub(super) struct MappingRule {
    pub(super) meaning: Meaning,
    pub(super) key: Pattern,
    pub(super) value: ValueType,
    /// Of a hash's fields or a set's members.
    pub(super) field: Option<Pattern>,
}

/// As written in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    stock: Option<MappingSection>,
    sold: Option<MappingSection>,
    holdings: Option<MappingSection>,
    promotions: Option<MappingSection>,
    keys: Option<MappingSection>,
    nonces: Option<MappingSection>,
    key_owner: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingSection {
    pattern: Option<String>,
    #[serde(default, rename = "type")]
    value: ValueType,
    field: Option<String>,
    #[serde(default)]
    skip: bool,
}

impl Default for Mapping {
    fn default() -> Self {
        Self::of(File::default()).expect("the usual patterns have the names that they need")
    }
}

impl Mapping {
    /// Reads a file; sections that it leaves out keep their defaults.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let told = |why: String| format!("the mapping {}: {why}", path.display());
        let text = crate::files::read_text(path, crate::files::TEXT_BYTES_MAX)
            .map_err(|error| told(error.to_string()))?;
        Self::parse(&text).map_err(told)
    }

    fn parse(text: &str) -> Result<Self, String> {
        Self::of(toml::from_str(text).map_err(|error| sentence(text, &error))?)
    }

    fn of(mut file: File) -> Result<Self, String> {
        let mut rules = Vec::new();
        for meaning in Meaning::ALL {
            let section = match meaning {
                Meaning::Stock => file.stock.take(),
                Meaning::Sold => file.sold.take(),
                Meaning::Holdings => file.holdings.take(),
                Meaning::Promotions => file.promotions.take(),
                Meaning::Keys => file.keys.take(),
                Meaning::Nonces => file.nonces.take(),
            };
            if section.as_ref().is_none_or(|section| !section.skip) {
                let rule = rule(meaning, section);
                rules.push(rule.map_err(|why| format!("[{}]: {why}", meaning.as_str()))?);
            }
        }
        Ok(Self {
            rules,
            key_owner: file.key_owner.unwrap_or_else(|| "shop".to_owned()),
        })
    }

    /// The meaning of `key`, with the names in it.
    pub(super) fn rule_for(&self, key: &str) -> Option<(&MappingRule, Names)> {
        let found = |rule| Some((rule, MappingRule::names_in(rule, key)?));
        self.rules.iter().find_map(found)
    }
}

/// The error of a mapping, in one line: the parser's own text has several lines and quotes the
/// file.
fn sentence(text: &str, error: &toml::de::Error) -> String {
    let (line, column) = crate::files::place_in(text, error.span().map_or(0, |it| it.start));
    let what = if text.parse::<toml::Table>().is_err() {
        "this is not TOML"
    } else if error.message().starts_with("unknown field") {
        // It only names keys: the unknown one, and the known ones.
        error.message()
    } else {
        "the value does not fit its key: `type` is \"string\", \"hash\" or \"zset\", `skip` is true or \
         false, all others are text"
    };
    format!("line {line}, column {column}: {what}")
}

impl MappingRule {
    fn names_in(&self, key: &str) -> Option<Names> {
        self.key.matched(key)
    }
}

fn rule(meaning: Meaning, section: Option<MappingSection>) -> Result<MappingRule, String> {
    let section = section.unwrap_or(MappingSection {
        pattern: None,
        value: ValueType::String,
        field: None,
        skip: false,
    });
    let text = section.pattern.as_deref().unwrap_or(meaning.usual());
    let key = Pattern::parse(text)?;
    let field = section.field.as_deref().map(Pattern::parse).transpose()?;
    match (section.value, &field) {
        (ValueType::String, Some(_)) => return Err("only hash and zset have a field".to_owned()),
        (ValueType::Hash | ValueType::Zset, None) => {
            return Err("a hash or a zset needs `field`, such as \"{user_id}\"".to_owned());
        }
        (ValueType::String, None) | (ValueType::Hash | ValueType::Zset, Some(_)) => {}
    }
    let mut names: Vec<&str> = key.names().collect();
    names.extend(field.iter().flat_map(Pattern::names));
    let (needed, allowed) = meaning.names();
    for name in needed {
        if names.iter().filter(|it| *it == name).count() != 1 {
            return Err(format!(
                "{{{name}}} must occur exactly once in pattern or field"
            ));
        }
    }
    let known = |name: &&str| needed.contains(name) || allowed.contains(name);
    if !names.iter().all(known) {
        let all = [needed, allowed].concat().join("}, {");
        return Err(format!(
            "pattern or field has a name in braces that is not known; known are {{{all}}}"
        ));
    }
    Ok(MappingRule {
        meaning,
        key,
        value: section.value,
        field,
    })
}

/// The text in place of each name.
pub(super) type Names = BTreeMap<String, String>;

/// Text with names in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The text before the first name.
    head: String,
    /// Each name, and the text after it.
    rest: Vec<(String, String)>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('{');
        let head = parts.next().unwrap_or_default().to_owned();
        let mut rest: Vec<(String, String)> = Vec::new();
        for part in parts {
            let broken = || "a pattern has an unclosed brace".to_owned();
            let (name, behind) = part.split_once('}').ok_or_else(broken)?;
            if rest.last().is_some_and(|(_, between)| between.is_empty()) {
                return Err("a pattern has two names without text between them".to_owned());
            }
            rest.push((name.to_owned(), behind.to_owned()));
        }
        Ok(Self { head, rest })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.rest.iter().map(|(name, _)| name.as_str())
    }

    /// The names in `text`, if it matches.
    pub(super) fn matched(&self, text: &str) -> Option<Names> {
        let mut left = text.strip_prefix(self.head.as_str())?;
        let mut names = Names::new();
        for (place, (name, behind)) in self.rest.iter().enumerate() {
            let is_last = place + 1 == self.rest.len();
            let end = if is_last {
                left.strip_suffix(behind.as_str())?.len()
            } else {
                // A name has at least one character.
                let first = left.chars().next()?.len_utf8();
                first + left[first..].find(behind.as_str())?
            };
            let value = left.get(..end).filter(|value| !value.is_empty())?;
            names.insert(name.clone(), value.to_owned());
            left = &left[end + behind.len()..];
        }
        left.is_empty().then_some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_keys_apart() {
        type Expected = Option<&'static [(&'static str, &'static str)]>;
        let table: [(&str, &str, Expected); 7] = [
            (
                "user:{user_id}:product:{product_id}:count",
                "user:ana:product:drop:1:count",
                Some(&[("user_id", "ana"), ("product_id", "drop:1")]),
            ),
            (
                "stock:{product_id}",
                "stock:a",
                Some(&[("product_id", "a")]),
            ),
            ("stock:{product_id}", "stock:", None),
            ("stock:{product_id}", "stocks:a", None),
            ("{code}:uses", "EARLY:uses", Some(&[("code", "EARLY")])),
            ("fixed", "fixed", Some(&[])),
            ("fixed", "fixed:more", None),
        ];
        for (pattern, key, expected) in table {
            let expected = expected.map(|names| {
                let owned =
                    |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                names.iter().map(owned).collect::<Names>()
            });
            let pattern = Pattern::parse(pattern).expect("a pattern");
            assert_eq!(pattern.matched(key), expected, "{key}");
        }
    }

    #[test]
    fn mappings_that_cannot_work_are_refused() {
        for (bad, why) in [
            ("[stock]\npattern = \"stock\"", "{product_id}"),
            (
                "[stock]\npattern = \"{product_id}{user_id}\"",
                "without text between",
            ),
            ("[stock]\ntype = \"hash\"", "needs `field`"),
            ("[nonces]\npattern = \"{nonce}:{who}\"", "known are {nonce}"),
            ("[nonces]\npattern = \"{nonce\"", "unclosed"),
            ("[stocks]\npattern = \"a\"", "unknown field"),
        ] {
            let error = Mapping::parse(bad).expect_err(bad);
            assert!(error.contains(why), "{error}");
        }
        let skipped = Mapping::parse("[nonces]\nskip = true").expect("a mapping");
        assert_eq!(skipped.rules.len(), 5);
        assert!(skipped.rule_for("nonce:1").is_none());
    }
}
