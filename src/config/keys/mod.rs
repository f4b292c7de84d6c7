//! Owns the list of all keys, with default, range and meaning: one file for each group of sections.
//!
//! Invariants: a key that is not on this list is refused; `docs/configuration.md` shows exactly
//! this list, and a test compares both. `[]` stands for the entries of an array.
//! Deliberately absent: reading and checking values, which `read` and the files of the sections in the parent do.

mod operations;
mod payments;
mod report;
mod sale;
mod server;
mod storage;

/// One configuration key.
#[derive(Debug)]
pub struct Setting {
    /// Its dotted path, as in the file.
    pub path: &'static str,
    /// The default as TOML; empty: no default.
    pub default: &'static str,
    /// Minimum and maximum of a whole number.
    pub range: Option<(u64, u64)>,
    /// The type of its value.
    pub kind: ValueKind,
    /// What it means, in one sentence.
    pub what: &'static str,
}

/// The type of a key's value.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Text; taken unchanged from the environment.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Switch,
    /// An array of texts.
    Texts,
    /// A table from currency codes to minor units.
    Amounts,
    /// A secret: text, `{ file = "…" }` or `{ env = "…" }`.
    Secret,
}

const fn text(path: &'static str, default: &'static str, what: &'static str) -> Setting {
    Setting {
        path,
        default,
        range: None,
        kind: ValueKind::Text,
        what,
    }
}

const fn number(
    path: &'static str,
    default: &'static str,
    range: (u64, u64),
    what: &'static str,
) -> Setting {
    Setting {
        path,
        default,
        range: Some(range),
        kind: ValueKind::Integer,
        what,
    }
}

const fn other(
    path: &'static str,
    default: &'static str,
    kind: ValueKind,
    what: &'static str,
) -> Setting {
    Setting {
        path,
        default,
        range: None,
        kind,
        what,
    }
}

const fn amounts(path: &'static str, what: &'static str) -> Setting {
    Setting {
        path,
        default: "{}",
        range: Some((1, AMOUNT_MAX)),
        kind: ValueKind::Amounts,
        what,
    }
}

/// Above any sensible amount, and far below an overflow.
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;
const DAY_S: u64 = 86_400;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// A segment has room for its header and for the largest frame.
const SEGMENT_BYTES_MIN: u64 = MIB + 512;

/// Every key, by section, in the order in which the documentation shows them.
const SECTIONS: [&[Setting]; 7] = [
    server::SERVER,
    storage::STORAGE,
    server::AUTH,
    sale::SALE,
    payments::PAYMENTS,
    report::REPORT,
    operations::OPERATIONS,
];

/// Every key.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.into_iter().flatten()
}

/// The key with this path.
pub fn find(path: &str) -> Option<&'static Setting> {
    all().find(|key| key.path == path)
}

/// The known path of a key or section that is most similar to `path`.
pub fn nearest(path: &str) -> &'static str {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(path, known);
    all()
        .map(|key| key.path)
        .max_by(|one, two| likeness(one).total_cmp(&likeness(two)))
        .expect("the list of keys is not empty")
}

/// Whether `path` is a key or a prefix of one.
pub fn leads_somewhere(path: &str) -> bool {
    all().any(|key| {
        key.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with("[]"))
    })
}
