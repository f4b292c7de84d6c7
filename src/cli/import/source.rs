//! Owns reading a Redis: one `SCAN` over all keys, and the values of those with a meaning.
//!
//! Invariants: nothing is written; no command blocks the server for long (`SCAN`, `HSCAN`, `ZSCAN`
//! in steps, `MGET` of a few hundred); what cannot be understood is named with its reason. A key
//! that `SCAN` returns twice counts once.

use super::mapping::{Mapping, MappingRule, Meaning, Names, ValueType};
use super::outcome::ImportReport;
use indicatif::{ProgressBar, ProgressStyle};
use redis::{Client, Connection, RedisResult};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Keys in one step of a `SCAN`.
const SCAN_COUNT: usize = 1000;

/// Keys in one `MGET`.
const MGET_KEYS: usize = 500;

/// Timeout of one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fields with values, or members with scores.
type FieldValues = Vec<(Vec<u8>, Vec<u8>)>;

/// What the Redis contains.
#[derive(Debug, Default)]
pub(super) struct RedisContents {
    /// Available units, by product.
    pub(super) stock: BTreeMap<String, u64>,
    /// Units sold, by product.
    pub(super) sold: BTreeMap<String, u64>,
    /// Units by buyer and product.
    pub(super) holdings: BTreeMap<(String, String), u64>,
    /// Uses by promotion.
    pub(super) uses: BTreeMap<String, u64>,
    /// Idempotency keys, each with its buyer if known: two buyers may use the same one.
    pub(super) keys: BTreeSet<(String, Option<String>)>,
    /// Webhook nonces.
    pub(super) nonces: BTreeSet<String>,
    /// Whether available units were looked for.
    pub(super) stock_is_read: bool,
}

/// The client for `url`; `None`: not a URL of a Redis. The URL may hold a password, so nothing
/// shows it.
pub(super) fn client(url: &str) -> Option<Client> {
    Client::open(url).ok()
}

/// Reads what `mapping` describes.
pub(super) fn read(
    client: &Client,
    mapping: &Mapping,
    outcome: &mut ImportReport,
) -> Result<RedisContents, String> {
    let mut redis = connect(client)?;
    reading(&mut redis, mapping, outcome).map_err(|error| {
        format!("cannot read from Redis: {error}; nothing was changed, repeat once Redis answers")
    })
}

fn connect(client: &Client) -> Result<Connection, String> {
    let told = |error: redis::RedisError| {
        format!("cannot connect to Redis at --url: {error}; check address, password and network")
    };
    let connection = client.get_connection_with_timeout(TIMEOUT).map_err(told)?;
    connection.set_read_timeout(Some(TIMEOUT)).map_err(told)?;
    connection.set_write_timeout(Some(TIMEOUT)).map_err(told)?;
    Ok(connection)
}

fn reading(
    redis: &mut Connection,
    mapping: &Mapping,
    outcome: &mut ImportReport,
) -> RedisResult<RedisContents> {
    let mut found = RedisContents {
        stock_is_read: mapping.rules.iter().any(|it| it.meaning == Meaning::Stock),
        ..RedisContents::default()
    };
    let total: u64 = redis::cmd("DBSIZE").query(redis)?;
    // Drawn on a terminal only.
    let progress = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} keys, {eta} left");
    progress.set_style(style.expect("the template is a constant"));
    let mut seen = BTreeSet::new();
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("COUNT")
            .arg(SCAN_COUNT)
            .query(redis)?;
        progress.inc(keys.len() as u64);
        let mut strings = Vec::new();
        for key in keys {
            let is_text = std::str::from_utf8(&key).is_ok();
            let key = String::from_utf8_lossy(&key).into_owned();
            let Some((rule, names)) = mapping.rule_for(&key) else {
                continue;
            };
            if !is_text {
                outcome.conflict(rule.meaning, &key, "its name is not text");
                continue;
            }
            if !seen.insert(key.clone()) {
                continue;
            }
            match rule.value {
                ValueType::String => strings.push((key, rule, names)),
                ValueType::Hash | ValueType::Zset => {
                    fields(redis, &key, rule, &names, &mut found, outcome)?;
                }
            }
        }
        for some in strings.chunks(MGET_KEYS) {
            values(redis, some, &mut found, outcome)?;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    progress.finish_and_clear();
    Ok(found)
}

fn values(
    redis: &mut Connection,
    some: &[(String, &MappingRule, Names)],
    found: &mut RedisContents,
    outcome: &mut ImportReport,
) -> RedisResult<()> {
    let mut asking = redis::cmd("MGET");
    for (key, _, _) in some {
        asking.arg(key);
    }
    let values: Vec<Option<Vec<u8>>> = asking.query(redis)?;
    for ((key, rule, names), value) in some.iter().zip(values) {
        match value.map(String::from_utf8) {
            Some(Ok(value)) => found.take(key, rule.meaning, names, &value, outcome),
            Some(Err(_)) => outcome.conflict(rule.meaning, key, "its value is not text"),
            None => {
                if has_type(redis, key, rule.meaning, "string", outcome)? {
                    let why = "it changed during the import; repeat the import";
                    outcome.conflict(rule.meaning, key, why);
                }
            }
        }
    }
    Ok(())
}

/// Whether the value of `key` has this type; reported if not.
fn has_type(
    redis: &mut Connection,
    key: &str,
    meaning: Meaning,
    kind: &str,
    outcome: &mut ImportReport,
) -> RedisResult<bool> {
    let found: String = redis::cmd("TYPE").arg(key).query(redis)?;
    match found.as_str() {
        found if found == kind => return Ok(true),
        // It expired there meanwhile, so there is nothing to import.
        "none" => outcome.skip(meaning, key, "it was deleted during the import"),
        other => outcome.conflict(meaning, key, &format!("it is a {other}, not a {kind}")),
    }
    Ok(false)
}

fn fields(
    redis: &mut Connection,
    key: &str,
    rule: &MappingRule,
    names: &Names,
    found: &mut RedisContents,
    outcome: &mut ImportReport,
) -> RedisResult<()> {
    let (kind, scan) = match rule.value {
        ValueType::Hash => ("hash", "HSCAN"),
        ValueType::Zset => ("zset", "ZSCAN"),
        ValueType::String => unreachable!("strings are read together"),
    };
    if !has_type(redis, key, rule.meaning, kind, outcome)? {
        return Ok(());
    }
    let mut entries: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut cursor = 0_u64;
    loop {
        let (next, some): (u64, FieldValues) = redis::cmd(scan)
            .arg(key)
            .arg(cursor)
            .arg("COUNT")
            .arg(SCAN_COUNT)
            .query(redis)?;
        entries.extend(some);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let pattern = rule
        .field
        .as_ref()
        .expect("the mapping checks that there is one");
    for (field, value) in entries {
        let (Ok(field), Ok(value)) = (String::from_utf8(field), String::from_utf8(value)) else {
            outcome.conflict(rule.meaning, key, "a field or its value is not text");
            continue;
        };
        let shown = format!("{key} / {field}");
        match pattern.matched(&field) {
            None => outcome.conflict(rule.meaning, &shown, "the field does not match the pattern"),
            Some(more) => {
                let mut names = names.clone();
                names.extend(more);
                found.take(&shown, rule.meaning, &names, &value, outcome);
            }
        }
    }
    Ok(())
}

impl RedisContents {
    fn take(
        &mut self,
        key: &str,
        meaning: Meaning,
        names: &Names,
        value: &str,
        outcome: &mut ImportReport,
    ) {
        let name = |name: &str| names.get(name).cloned().unwrap_or_default();
        let number = match meaning {
            Meaning::Keys | Meaning::Nonces => 0,
            Meaning::Stock | Meaning::Sold | Meaning::Holdings | Meaning::Promotions => {
                match whole(value) {
                    Ok(number) => number,
                    Err(why) => return outcome.conflict(meaning, key, why),
                }
            }
        };
        match meaning {
            Meaning::Stock => drop(self.stock.insert(name("product_id"), number)),
            Meaning::Sold => drop(self.sold.insert(name("product_id"), number)),
            Meaning::Holdings => {
                let of = (name("user_id"), name("product_id"));
                self.holdings.insert(of, number);
            }
            Meaning::Promotions => drop(self.uses.insert(name("code"), number)),
            Meaning::Keys => {
                let user = names.get("user_id").cloned().or_else(|| user_in(value));
                self.keys.insert((name("key"), user));
            }
            Meaning::Nonces => drop(self.nonces.insert(name("nonce"))),
        }
    }
}

/// A whole number; the score of a sorted set may have an empty fraction.
fn whole(text: &str) -> Result<u64, &'static str> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err("it is negative");
    }
    let digits = text.split_once('.').map_or(text, |(whole, behind)| {
        if behind.bytes().all(|b| b == b'0') {
            whole
        } else {
            text
        }
    });
    digits.parse().map_err(|_| "it is not a whole number")
}

/// The buyer in an idempotency key's JSON, if it names one.
fn user_in(value: &str) -> Option<String> {
    let value: Value = serde_json::from_str(value).ok()?;
    let places = [
        "/user_id",
        "/request/user_id",
        "/response/user_id",
        "/body/user_id",
    ];
    let found = places.iter().find_map(|place| value.pointer(place))?;
    found
        .as_str()
        .map(str::to_owned)
        .or_else(|| found.as_u64().map(|number| number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_users_are_read_from_what_shops_write() {
        for (text, expected) in [
            ("12", Ok(12)),
            (" 3 ", Ok(3)),
            ("7.0", Ok(7)),
            ("7.5", Err("it is not a whole number")),
            ("-1", Err("it is negative")),
            ("", Err("it is not a whole number")),
        ] {
            assert_eq!(whole(text), expected, "{text:?}");
        }
        let user = |text| user_in(text);
        assert_eq!(user(r#"{"user_id": "ana"}"#).as_deref(), Some("ana"));
        assert_eq!(
            user(r#"{"response": {"user_id": 7}}"#).as_deref(),
            Some("7")
        );
        assert_eq!(user("done"), None);
    }
}
