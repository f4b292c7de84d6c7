//! Owns the sources of settings: the file, then the environment, then flags, each overriding the
//! one before, merged into one table with known keys only.
//!
//! Invariants: an unknown key is an error that names the nearest known one; no error repeats a
//! value or a line of the file, because it may contain a secret.
//! Deliberately absent: the meaning of values.

use super::ConfigError;
use super::keys::{self, ValueKind};
use super::read::invalid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The prefix of environment variables.
const PREFIX: &str = "HOLDFAST_";

/// The sources of settings.
#[derive(Debug, Default)]
pub struct Sources {
    /// The path and content of the file.
    pub file: Option<(PathBuf, String)>,
    pub environment: Environment,
    /// `server.listen` from the flag.
    pub listen: Option<String>,
    /// `storage.data_dir` from the flag.
    pub data_dir: Option<PathBuf>,
    pub demo: Demo,
    pub demo_reach: DemoReach,
}

/// Whether this is a demo.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Demo {
    Yes,
    #[default]
    No,
}

/// Who may reach the main listener of a demo, whose keys are public.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum DemoReach {
    /// Programs of this machine.
    #[default]
    Loopback,
    /// Whoever reaches the address: the operator has ordered so.
    Anyone,
}

/// Environment variables.
#[derive(Debug, Default)]
pub struct Environment {
    known: BTreeMap<String, String>,
    /// Names of variables whose name or value is not UTF-8, as far as the names are.
    not_text: BTreeSet<String>,
}

impl Environment {
    /// The process's own.
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => drop(environment.known.insert(name, value)),
                (Ok(name), Err(_)) => drop(environment.not_text.insert(name)),
                (Err(name), _) => {
                    let name = name.to_string_lossy().into_owned();
                    environment.not_text.insert(name);
                }
            }
        }
        environment
    }

    /// These variables.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let owned = pairs.into_iter().map(|(n, v)| (n.into(), v.into()));
        Self {
            known: owned.collect(),
            not_text: BTreeSet::new(),
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }

    /// Whether `name` is set to what is not UTF-8.
    pub fn is_not_text(&self, name: &str) -> bool {
        self.not_text.contains(name)
    }

    /// A variable for a key that is not UTF-8.
    fn unreadable(&self) -> Option<&str> {
        let mut names = self.not_text.iter().map(String::as_str);
        names.find(|name| path_of_variable(name).is_some())
    }
}

impl Sources {
    /// Reads the file at `path`.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text =
            crate::files::read_text(path, crate::files::TEXT_BYTES_MAX).map_err(|source| {
                ConfigError::Unreadable {
                    path: path.to_owned(),
                    source,
                }
            })?;
        self.file = Some((path.to_owned(), text));
        Ok(())
    }

    /// All sources merged into one table with known keys only.
    pub(super) fn merged(&self) -> Result<Table, ConfigError> {
        let mut table = match &self.file {
            Some((path, text)) => parse_file(path, text)?,
            None => Table::new(),
        };
        if let Some(name) = self.environment.unreadable() {
            return Err(ConfigError::NotText {
                name: name.to_owned(),
                what: "is not UTF-8; set it again, or unset it",
            });
        }
        for (name, raw) in &self.environment.known {
            if let Some(path) = path_of_variable(name) {
                set_from_variable(&mut table, name, &path, raw)?;
            }
        }
        if let Some(listen) = &self.listen {
            set(&mut table, "server.listen", Value::String(listen.clone()));
        }
        if let Some(dir) = &self.data_dir {
            let text = dir.to_string_lossy().into_owned();
            set(&mut table, "storage.data_dir", Value::String(text));
        }
        refuse_unknown(&mut String::new(), &table)?;
        Ok(table)
    }
}

fn parse_file(path: &Path, text: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let (line, column) = crate::files::place_in(text, start);
        ConfigError::Syntax {
            path: path.to_owned(),
            line,
            column,
            cause: without_values(error.message()),
        }
    })
}

/// A message of the parser without what it quotes, but for signs: a quoted word may be part of a secret.
fn without_values(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    for (place, part) in message
        .lines()
        .collect::<Vec<_>>()
        .join("; ")
        .split('`')
        .enumerate()
    {
        let quoted = place % 2 == 1;
        if !quoted {
            shown.push_str(part);
        } else if part.chars().any(char::is_alphanumeric) {
            shown.push_str("a word");
        } else {
            shown.push('`');
            shown.push_str(part);
            shown.push('`');
        }
    }
    shown
}

/// `server.listen` for `HOLDFAST_SERVER__LISTEN`. Names without `__` mean no key: other
/// programs' variables (a test's, a wrapper's) may begin alike.
fn path_of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    rest.contains("__")
        .then(|| rest.to_ascii_lowercase().replace("__", "."))
}

fn set_from_variable(
    table: &mut Table,
    name: &str,
    path: &str,
    raw: &str,
) -> Result<(), ConfigError> {
    if !keys::leads_somewhere(path) || path.contains("[]") {
        return Err(ConfigError::UnknownVariable {
            name: name.to_owned(),
            nearest: keys::nearest(path),
        });
    }
    let as_toml = || {
        let parsed = format!("value = {raw}").parse::<Table>().ok()?;
        (parsed.len() == 1).then(|| parsed.get("value").cloned())?
    };
    let kind = keys::find(path).map(|key| key.kind);
    let value = match kind {
        // These two are text or a table; other text is taken unchanged.
        Some(ValueKind::Text) if path != "storage.sync" && path != "report.on_disk_full" => {
            Value::String(raw.to_owned())
        }
        _ => as_toml().unwrap_or_else(|| Value::String(raw.to_owned())),
    };
    set(table, path, value);
    Ok(())
}

/// Sets `value` at `path`; creates missing tables, and replaces other values on the way.
fn set(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table
                .entry(head.to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

fn refuse_unknown(prefix: &mut String, table: &Table) -> Result<(), ConfigError> {
    for (name, value) in table {
        let length = prefix.len();
        if length > 0 {
            prefix.push('.');
        }
        prefix.push_str(name);
        refuse_unknown_value(prefix, value)?;
        prefix.truncate(length);
    }
    Ok(())
}

fn refuse_unknown_value(path: &mut String, value: &Value) -> Result<(), ConfigError> {
    if !keys::leads_somewhere(path) {
        return Err(ConfigError::UnknownKey {
            key: path.clone(),
            nearest: keys::nearest(path),
        });
    }
    // The content of these is checked when it is read.
    let whole = |key: &keys::Setting| matches!(key.kind, ValueKind::Secret | ValueKind::Amounts);
    if keys::find(path).is_some_and(whole) {
        return Ok(());
    }
    let is_list = keys::leads_somewhere(&format!("{path}[]"));
    match value {
        Value::Table(inner) if !is_list => refuse_unknown(path, inner),
        _ if is_list && !value.is_array() => Err(invalid(path, "must be a list of tables")),
        _ if !is_list && keys::find(path).is_none() => Err(invalid(path, "must be a table")),
        Value::Array(entries) => {
            let length = path.len();
            path.push_str("[]");
            for (index, entry) in entries.iter().enumerate() {
                if let Value::Table(inner) = entry {
                    refuse_unknown(path, inner)
                        .map_err(|error| error.in_entry(&path[..length], index, inner))?;
                }
            }
            path.truncate(length);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Fills what a demo needs and the table does not have.
pub(super) fn fill_for_demo(table: &mut Table) {
    const DEMO: &str = r#"
        [[auth.keys]]
        name = "demo-shop"
        role = "shop"
        key = "demo-shop-key"
        [[auth.keys]]
        name = "demo-admin"
        role = "admin"
        key = "demo-admin-key"
        [payments]
        gateway = "sandbox"
        [risk]
        default_rules = false
        [[receipts.hmac_keys]]
        id = "demo-r1"
        key = "demo-receipt-key-that-everybody-knows"
        [[webhooks.secrets]]
        id = "demo-w1"
        key = "demo-webhook-secret-that-everybody-knows"
        [[receipts.ed25519_keys]]
        id = "demo-e1"
        key = "64656d6f2d7365656420746861742065766572796f6e65206b6e6f7773212121"
    "#;
    let demo: Table = DEMO.parse().expect("the demo's settings are TOML");
    for (section, values) in demo {
        let kept = table
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let (Value::Table(kept), Value::Table(values)) = (kept, values) {
            for (name, value) in values {
                kept.entry(name).or_insert(value);
            }
        }
    }
}
