//! Owns the list `report.webhooks`: the endpoints to which events are sent.
//!
//! Invariants: names are unique; each endpoint has a key of its own purpose, which is never shown; a
//! kind of events that shops must not see is refused.

use super::ConfigError;
use super::read::{ConfigReader, EntryReader, invalid};
use super::secret::HIDDEN;
use crate::engine::event::Event;
use crate::report::feed::Backoff;
use crate::report::webhooks::{
    AddressRule, EndpointSettings, EndpointUrl, OutgoingKey, PlainRule, kinds_by_default,
    may_be_sent, sink_name,
};
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::Duration;
use toml::{Table, Value};

const LIST: &str = "report.webhooks";
const NAME: &str = "report.webhooks[].name";
const URL: &str = "report.webhooks[].url";
const SECRET: &str = "report.webhooks[].secret";
const SECRETS: &str = "report.webhooks[].secrets";
const EVENTS: &str = "report.webhooks[].events";

/// Endpoints have two threads each.
const ENDPOINTS_MAX: usize = 16;
/// The headers of a delivery have a bound at most receivers.
const KEYS_MAX: usize = 4;
const KEY_CHARS_MIN: usize = 24;

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<Vec<EndpointSettings>, ConfigError> {
    let mut endpoints: Vec<EndpointSettings> = Vec::new();
    let mut shown = Vec::new();
    reader.each_entry(LIST, |reader, entry| {
        let endpoint = endpoint(reader, entry)?;
        if endpoints.iter().any(|other| other.sink == endpoint.sink) {
            return Err(invalid(
                NAME,
                "is the same for two entries; give each endpoint a name of its own",
            ));
        }
        shown.push(shown_entry(&endpoint));
        endpoints.push(endpoint);
        Ok(())
    })?;
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(invalid(
            LIST,
            format!("has more than {ENDPOINTS_MAX} entries"),
        ));
    }
    reader.show(LIST, shown.into());
    Ok(endpoints)
}

/// Everything, since a reload tells by it what has changed, but what is secret.
fn shown_entry(endpoint: &EndpointSettings) -> serde_json::Value {
    json!({
        "sink": endpoint.sink,
        "url": endpoint.url.without_query(),
        "events": endpoint.kinds,
        "secret": HIDDEN,
        "keys": endpoint.keys.len(),
        "allow_private": endpoint.addresses == AddressRule::PrivateToo,
        "ca_file": endpoint.ca_file,
        "connect_timeout_ms": endpoint.connect_timeout.as_millis(),
        "answer_timeout_ms": endpoint.answer_timeout.as_millis(),
        "retry_max_ms": endpoint.retry_after_max.as_millis(),
        "give_up_after_s": endpoint.give_up_after_ms / 1_000,
        "parallel_max": endpoint.parallel_max,
        "waiting_max": endpoint.waiting_max,
        "waiting_per_buyer_max": endpoint.waiting_per_buyer_max,
    })
}

fn endpoint(reader: &ConfigReader<'_>, table: &Table) -> Result<EndpointSettings, ConfigError> {
    let entry = EntryReader(table);
    let name = entry.text(NAME)?.expect("it has a default");
    let sink = sink_name(&name)
        .ok_or_else(|| invalid(NAME, "must have 1 to 32 characters of a-z, 0-9 and _"))?;
    let allows = |path| entry.switch(path);
    let addresses = if allows("report.webhooks[].allow_private")? {
        AddressRule::PrivateToo
    } else {
        AddressRule::PublicOnly
    };
    let plain = match (allows("report.webhooks[].allow_http")?, addresses) {
        (false, _) => PlainRule::TlsOnly,
        (true, AddressRule::PrivateToo) => PlainRule::PlainToo,
        (true, AddressRule::PublicOnly) => {
            let what = "is for private addresses only; set allow_private = true, too";
            return Err(invalid("report.webhooks[].allow_http", what));
        }
    };
    let url = entry.text(URL)?;
    let url = url.ok_or_else(|| invalid(URL, "has an entry without its `url`"))?;
    let url =
        EndpointUrl::parse(&url, addresses, plain).map_err(|bad| invalid(URL, bad.to_string()))?;
    let retry_max_ms = entry.integer("report.webhooks[].retry_max_ms")?;
    let size = |path| -> Result<usize, ConfigError> {
        Ok(usize::try_from(entry.integer(path)?).expect("its range is small"))
    };
    Ok(EndpointSettings {
        sink,
        url,
        keys: keys(reader, table)?,
        kinds: kinds(table)?,
        addresses,
        ca_file: entry.text("report.webhooks[].ca_file")?.map(Into::into),
        connect_timeout: ms(entry.integer("report.webhooks[].connect_timeout_ms")?),
        answer_timeout: ms(entry.integer("report.webhooks[].answer_timeout_ms")?),
        backoff: Backoff::new(
            entry.integer("report.webhooks[].retry_first_ms")?,
            retry_max_ms,
        ),
        retry_after_max: ms(retry_max_ms),
        give_up_after_ms: entry.integer("report.webhooks[].give_up_after_s")? * 1_000,
        parallel_max: size("report.webhooks[].parallel_max")?,
        waiting_max: size("report.webhooks[].waiting_max")?,
        waiting_per_buyer_max: size("report.webhooks[].waiting_per_buyer_max")?,
    })
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn keys(reader: &ConfigReader<'_>, entry: &Table) -> Result<Vec<OutgoingKey>, ConfigError> {
    let (path, values) = match (entry.get("secret"), entry.get("secrets")) {
        (Some(one), None) => (SECRET, std::slice::from_ref(one)),
        (None, Some(Value::Array(several))) => (SECRETS, several.as_slice()),
        (None, Some(_)) => return Err(invalid(SECRETS, "must be a list of secrets")),
        (Some(_), Some(_)) => {
            return Err(invalid(
                SECRETS,
                "is set together with `secret`; set only one of them",
            ));
        }
        (None, None) => return Err(invalid(SECRET, "has an entry without its `secret`")),
    };
    if !(1..=KEYS_MAX).contains(&values.len()) {
        return Err(invalid(path, format!("must have 1 to {KEYS_MAX} secrets")));
    }
    let key = |value: &Value| {
        let secret = reader.secret_value(path, value, KEY_CHARS_MIN)?;
        OutgoingKey::parse(secret.expose_secret()).map_err(|bad| invalid(path, bad.to_string()))
    };
    values.iter().map(key).collect()
}

fn kinds(entry: &Table) -> Result<Vec<String>, ConfigError> {
    let Some(value) = entry.get("events") else {
        return Ok(kinds_by_default());
    };
    let listed = value.as_array().and_then(|entries| {
        let texts = entries.iter().map(|it| it.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>()
    });
    let listed = listed.filter(|it| !it.is_empty());
    let kinds = listed.ok_or_else(|| invalid(EVENTS, "must be a list of kinds of events"))?;
    if let Some(unknown) = kinds.iter().find(|kind| !may_be_sent(kind)) {
        let known: Vec<_> = Event::KINDS
            .into_iter()
            .filter(|kind| may_be_sent(kind))
            .collect();
        let known = known.join(", ");
        return Err(invalid(
            EVENTS,
            format!("has `{unknown}`, which is not one of: {known}"),
        ));
    }
    Ok(kinds)
}
