//! Owns the demo's drop, which `serve --demo` puts on sale, and what a terminal shows of it.
//!
//! Invariants: existing products and promotions stay as they are; only keys that are public anyway
//! are shown.

use super::say;
use super::serve::Failure;
use crate::config::{ApiKey, Config, Role};
use crate::engine::event::{Active, AdminAct, Discount, ProductSet, PromotionSet};
use crate::ids::{KeyOwner, ProductId, PromotionCode, RequestId};
use crate::journal::{Journal, Set, StorageFault, WriteError};
use crate::money::{Currency, Price};
use crate::telemetry::logging;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The drop, and the promotion for it.
const DROP: &str = "drop-1";
const PROMOTION: &str = "DEMO10";
const PARSES: &str = "the demo's names keep to the alphabet of ids";

/// Puts the demo's drop and promotion on sale if they do not exist.
pub(super) fn put_on_sale(journal: &Journal) -> Result<(), Failure> {
    let by = AdminAct {
        request: RequestId(0),
        owner: KeyOwner::parse("demo").expect(PARSES),
    };
    let price =
        |(code, minor_units): (&str, i64)| Some((Currency::parse(code)?, Price::new(minor_units)?));
    let product = ProductId::parse(DROP).expect(PARSES);
    if journal.reads().product(&product).is_none() {
        let set = ProductSet {
            product: product.clone(),
            name: "Demo drop".to_owned(),
            prices: [("EUR", 1_899), ("KRW", 25_000), ("USD", 1_999)]
                .into_iter()
                .filter_map(price)
                .collect(),
            stock: 100,
            per_user_limit: Some(2),
            starts_at: None,
            ends_at: None,
            active: Active::Yes,
            hold_ttl_ms: None,
            reward_tokens: 0,
            by: by.clone(),
        };
        durable(journal, journal.catalogue().put_product(set))?;
    }
    let code = PromotionCode::parse(PROMOTION).expect(PARSES);
    if journal.reads().promotion(&code).is_none() {
        let set = PromotionSet {
            code,
            discount: Discount::Percent(10),
            uses_max: 50,
            uses_per_user_max: Some(1),
            products: vec![product],
            segments: Vec::new(),
            starts_at: None,
            ends_at: None,
            active: Active::Yes,
            by,
        };
        durable(journal, journal.catalogue().put_promotion(set))?;
    }
    Ok(())
}

/// Waits until what was set is durable. It is refused only where the catalogue is full, and then the
/// demo is not what it is for.
fn durable<View>(
    journal: &Journal,
    set: Result<Set<View>, WriteError>,
) -> Result<(), StorageFault> {
    match set {
        Ok(set) => journal.wait_durable(set.durable_at),
        Err(WriteError::Refused(_)) => Ok(()),
        Err(WriteError::Fault(fault)) => Err(fault),
    }
}

/// Shows on the terminal what is on sale, the keys, and a first request to copy.
pub(super) fn greet(config: &Config, address: SocketAddr, journal: &Journal) {
    // Log lines are written by a thread of their own: this text comes after those before it.
    logging::flush();
    say(greeting(config, address, journal));
}

fn greeting(config: &Config, address: SocketAddr, journal: &Journal) -> String {
    let key_of = |role| config.keys.iter().find(|key| key.role == role);
    let public = |role| key_of(role).and_then(ApiKey::public);
    let admin = public(Role::Admin).unwrap_or("the key of your configuration");
    let (shop, header) = match public(Role::Shop) {
        Some(key) => (key, format!("'Authorization: Bearer {key}'")),
        None => (
            "the key of your configuration, in SHOP_KEY",
            "\"Authorization: Bearer $SHOP_KEY\"".to_owned(),
        ),
    };
    let (base, trust) = match &config.server.tls {
        None => (format!("http://{}", reachable(address)), String::new()),
        Some(tls) => (
            format!("https://localhost:{}", address.port()),
            format!(" --cacert '{}'", tls.cert.display()),
        ),
    };
    // On an address of its own where there is one, which only the log line `listening` names.
    let console = match config.server.admin_listen {
        None => format!("{base}/console"),
        Some(_) => "/console at server.admin_listen".to_owned(),
    };
    let body = format!(
        r#"{{"user_id":"ana","product_id":"{DROP}","quantity":1,"currency":"USD","card_token":"tok_ok"}}"#
    );
    format!(
        "\n  On sale    {}\n  \
           Promotion  {PROMOTION}: send it as promotion_code\n  \
           Shop key   {shop}\n  \
           Admin key  {admin}\n  \
           Console    {console} (sign in with the admin key)\n\n  \
         Buy one, in another terminal (a repeat with the same key gives the same purchase):\n\n  \
         curl -s{trust} -H {header} -H 'Content-Type: application/json' -H 'Idempotency-Key: first-buy-1' -d '{body}' {base}/limited/buy\n\n  \
         Data: {}. Stop with Ctrl-C.\n\n",
        on_sale(journal),
        config.storage.data_dir.display(),
    )
}

/// The drop as it is now: an earlier run may have sold of it, or changed its terms.
fn on_sale(journal: &Journal) -> String {
    let product = ProductId::parse(DROP).expect(PARSES);
    let Some((drop, _)) = journal.reads().product(&product) else {
        return "nothing".to_owned();
    };
    let left = drop.total - drop.held - drop.sold;
    let mut text = format!("{DROP} \"{}\": {left} of {} left", drop.name, drop.total);
    if let Some(most) = drop.per_user_limit {
        let _ = write!(text, ", at most {most} per buyer");
    }
    for (currency, price) in &drop.prices {
        let _ = write!(text, ", {} {currency}", currency.in_units(price.get()));
    }
    text
}

/// The address that a client on this machine connects to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
