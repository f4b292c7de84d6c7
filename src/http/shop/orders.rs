//! Owns the bodies of holds and buys. The fast parser borrows from the body; if it refuses, the
//! slow parser finds out what is wrong.
//!
//! Invariants: both parsers accept exactly the same bodies; a parsed order has valid ids, currency,
//! card and address, so that no later code checks a shape again; of a refused body only the parsed
//! fields are kept, for the audit trail.

pub use crate::http::call::attempt::{AboutOrder, Malformed, Readable};

use crate::engine::command::QUANTITY_MAX;
use crate::engine::metadata::Metadata;
use crate::engine::refusal::Refusal;
use crate::http::wire::fields::{Fields, ID_FIELD_FORM, WORD_FIELD_FORM, optional, required};
use crate::http::wire::idempotency::Canonical;
use crate::http::wire::raw::{Text, TextPairs, fast};
use crate::ids::{CardToken, DeviceId, ProductId, PromotionCode, PurchaseId, UserId};
use crate::money::Currency;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;

/// The common fields of holds and buys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// For whom.
    pub user: UserId,
    pub product: ProductId,
    /// How many units.
    pub quantity: u32,
    pub promotion: Option<PromotionCode>,
    /// The buyer's address.
    pub ip: Option<IpAddr>,
    /// The buyer's device.
    pub device: Option<DeviceId>,
    pub metadata: Metadata,
}

/// A requested hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOrder {
    pub order: Order,
    /// The currency of the quote.
    pub currency: Option<Currency>,
}

/// A requested purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuyOrder {
    pub order: Order,
    pub currency: Currency,
    pub card: CardToken,
    /// An earlier hold to pay for.
    pub pays_for: Option<PurchaseId>,
}

impl Order {
    /// The fields of the fingerprint. Address and device are not part of it, because a buyer who
    /// tries again may have another one.
    fn canonical(&self, method: &str, path: &str) -> Canonical {
        let pairs = self.metadata.pairs();
        let count = u32::try_from(pairs.len()).expect("metadata has at most ten pairs");
        let canonical = Canonical::new(method, path)
            .text(Some(self.user.as_str()))
            .text(Some(self.product.as_str()))
            .number(self.quantity)
            .text(
                self.promotion
                    .as_ref()
                    .map(PromotionCode::folded)
                    .as_deref(),
            )
            .number(count);
        pairs.fold(canonical, |canonical, (key, value)| {
            canonical.text(Some(key)).text(Some(value))
        })
    }

    /// The fields for the audit trail if it is refused before the engine.
    fn readable(&self) -> Readable {
        Readable {
            user: Some(self.user.clone()),
            product: Some(self.product.clone()),
            quantity: self.quantity,
            card: None,
            ip: self.ip,
            device: self.device.clone(),
        }
    }
}

impl HoldOrder {
    /// The order in `body`, quoted in one of `currencies`.
    pub fn parse(body: &[u8], currencies: &[Currency]) -> Result<Self, Box<Malformed>> {
        fast::<RawHold<'_>>(body)
            .and_then(|raw| raw.checked(currencies))
            .map_or_else(|| slow_hold(body, currencies), Ok)
    }

    /// The fields of the fingerprint.
    pub fn canonical(&self, method: &str, path: &str) -> Canonical {
        let currency = self.currency.as_ref().map(Currency::as_str);
        self.order.canonical(method, path).text(currency)
    }

    /// The fields for the audit trail if it is refused before the engine.
    pub fn readable(&self) -> Readable {
        self.order.readable()
    }
}

impl BuyOrder {
    /// The order in `body`, in one of `currencies`.
    pub fn parse(body: &[u8], currencies: &[Currency]) -> Result<Self, Box<Malformed>> {
        fast::<RawBuy<'_>>(body)
            .and_then(|raw| raw.checked(currencies))
            .map_or_else(|| slow_buy(body, currencies), Ok)
    }

    /// The fields of the fingerprint.
    pub fn canonical(&self, method: &str, path: &str) -> Canonical {
        let pays_for = self.pays_for.map(|hold| hold.hold().to_string());
        self.order
            .canonical(method, path)
            .text(Some(self.currency.as_str()))
            .text(Some(self.card.as_str()))
            .text(pays_for.as_deref())
    }

    /// The fields for the audit trail if it is refused before the engine.
    pub fn readable(&self) -> Readable {
        Readable {
            card: Some(self.card.clone()),
            ..self.order.readable()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHold<'a> {
    #[serde(borrow)]
    user_id: Text<'a>,
    #[serde(borrow)]
    product_id: Text<'a>,
    quantity: u32,
    #[serde(borrow)]
    currency: Option<Text<'a>>,
    #[serde(borrow)]
    promotion_code: Option<Text<'a>>,
    #[serde(borrow)]
    ip: Option<Text<'a>>,
    #[serde(borrow)]
    device_id: Option<Text<'a>>,
    metadata: Option<TextPairs>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBuy<'a> {
    #[serde(borrow)]
    user_id: Text<'a>,
    #[serde(borrow)]
    product_id: Text<'a>,
    quantity: u32,
    #[serde(borrow)]
    currency: Text<'a>,
    #[serde(borrow)]
    card_token: Text<'a>,
    #[serde(borrow)]
    promotion_code: Option<Text<'a>>,
    #[serde(borrow)]
    hold_id: Option<Text<'a>>,
    #[serde(borrow)]
    ip: Option<Text<'a>>,
    #[serde(borrow)]
    device_id: Option<Text<'a>>,
    metadata: Option<TextPairs>,
}

/// The common fields as parsed.
struct RawOrder<'r, 'a> {
    user: &'r Text<'a>,
    product: &'r Text<'a>,
    quantity: u32,
    promotion: Option<&'r Text<'a>>,
    ip: Option<&'r Text<'a>>,
    device: Option<&'r Text<'a>>,
    metadata: Option<TextPairs>,
}

impl RawOrder<'_, '_> {
    fn checked(self) -> Option<Order> {
        Some(Order {
            user: UserId::parse(&self.user.0)?,
            product: ProductId::parse(&self.product.0)?,
            quantity: quantity(self.quantity)?,
            promotion: optionally(self.promotion, PromotionCode::parse)?,
            ip: optionally(self.ip, |text| text.parse().ok())?,
            device: optionally(self.device, DeviceId::parse)?,
            metadata: match self.metadata {
                Some(TextPairs(pairs)) => Metadata::new(pairs).ok()?,
                None => Metadata::default(),
            },
        })
    }
}

/// `Some(None)` if the field is absent, `None` if it is wrong.
#[allow(
    clippy::option_option,
    reason = "left out, wrong and fine are three things here"
)]
fn optionally<T>(
    text: Option<&Text<'_>>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<Option<T>> {
    match text {
        None => Some(None),
        Some(text) => parse(&text.0).map(Some),
    }
}

impl RawHold<'_> {
    fn checked(self, currencies: &[Currency]) -> Option<HoldOrder> {
        let order = RawOrder {
            user: &self.user_id,
            product: &self.product_id,
            quantity: self.quantity,
            promotion: self.promotion_code.as_ref(),
            ip: self.ip.as_ref(),
            device: self.device_id.as_ref(),
            metadata: self.metadata,
        };
        Some(HoldOrder {
            order: order.checked()?,
            currency: optionally(self.currency.as_ref(), |code| listed(code, currencies))?,
        })
    }
}

impl RawBuy<'_> {
    fn checked(self, currencies: &[Currency]) -> Option<BuyOrder> {
        let order = RawOrder {
            user: &self.user_id,
            product: &self.product_id,
            quantity: self.quantity,
            promotion: self.promotion_code.as_ref(),
            ip: self.ip.as_ref(),
            device: self.device_id.as_ref(),
            metadata: self.metadata,
        };
        Some(BuyOrder {
            order: order.checked()?,
            currency: listed(&self.currency.0, currencies)?,
            card: CardToken::parse(&self.card_token.0)?,
            pays_for: optionally(self.hold_id.as_ref(), PurchaseId::parse_hold)?,
        })
    }
}

fn quantity(quantity: u32) -> Option<u32> {
    (1..=QUANTITY_MAX).contains(&quantity).then_some(quantity)
}

/// The currency `code`, if it is in `currencies`, which were checked against ISO 4217 when they
/// were read.
fn listed(code: &str, currencies: &[Currency]) -> Option<Currency> {
    currencies
        .iter()
        .copied()
        .find(|known| known.as_str() == code)
}

fn slow_hold(body: &[u8], currencies: &[Currency]) -> Result<HoldOrder, Box<Malformed>> {
    let known = &[
        "user_id",
        "product_id",
        "quantity",
        "currency",
        "promotion_code",
        "ip",
        "device_id",
        "metadata",
    ];
    let mut fields = Fields::of(body, known);
    let (order, readable) = order_of(&mut fields);
    let code = fields.text(optional("currency"));
    let currency = code.as_deref().and_then(|code| listed(code, currencies));
    let not_allowed = (code.is_some() && currency.is_none()).then_some(Refusal::CurrencyNotAllowed);
    let order = order.map(|order| HoldOrder { order, currency });
    finish(fields, not_allowed, readable, order, currencies)
}

/// The common fields, and those that could be read.
fn order_of(fields: &mut Fields) -> (Option<Order>, Readable) {
    let user = fields.parsed(required("user_id"), ID_FIELD_FORM, UserId::parse);
    let product = fields.parsed(required("product_id"), ID_FIELD_FORM, ProductId::parse);
    let quantity = fields.small(required("quantity"), 1, QUANTITY_MAX);
    let promotion = fields.parsed(
        optional("promotion_code"),
        WORD_FIELD_FORM,
        PromotionCode::parse,
    );
    let ip_form = "must be an IPv4 or IPv6 address";
    let ip = fields.parsed(optional("ip"), ip_form, |text| text.parse().ok());
    let device = fields.parsed(optional("device_id"), ID_FIELD_FORM, DeviceId::parse);
    let metadata = metadata_of(fields);
    let readable = Readable {
        user: user.clone(),
        product: product.clone(),
        quantity: quantity.unwrap_or(0),
        card: None,
        ip,
        device: device.clone(),
    };
    let named = user.zip(product).zip(quantity);
    let order = named.map(|((user, product), quantity)| Order {
        user,
        product,
        quantity,
        promotion,
        ip,
        device,
        metadata,
    });
    (order, readable)
}

fn metadata_of(fields: &mut Fields) -> Metadata {
    const NAME: &str = "metadata";
    let given = fields.object(optional(NAME)).unwrap_or_default();
    let texts = given.into_iter().map(|(key, value)| match value {
        Value::String(value) => Some((key, value)),
        _ => None,
    });
    let checked = match texts.collect::<Option<Vec<_>>>() {
        Some(pairs) => Metadata::new(pairs),
        None => Err("must be an object whose values are strings"),
    };
    checked.unwrap_or_else(|form| {
        fields.wrong(NAME, form);
        Metadata::default()
    })
}

fn slow_buy(body: &[u8], currencies: &[Currency]) -> Result<BuyOrder, Box<Malformed>> {
    let known = &[
        "user_id",
        "product_id",
        "quantity",
        "currency",
        "card_token",
        "promotion_code",
        "hold_id",
        "ip",
        "device_id",
        "metadata",
    ];
    let mut fields = Fields::of(body, known);
    let (order, mut readable) = order_of(&mut fields);
    let hold_form = "must be the hold_id of a hold";
    let pays_for = fields.parsed(optional("hold_id"), hold_form, PurchaseId::parse_hold);
    let currency = fields.text(required("currency"));
    let card = fields.text(required("card_token"));
    // Errors so far are about the shape; a currency that is not allowed, or an invalid card token,
    // has its own reason.
    let mut own_reason = None;
    let currency = currency.and_then(|code| {
        let found = listed(&code, currencies);
        if found.is_none() {
            own_reason = Some(Refusal::CurrencyNotAllowed);
        }
        found
    });
    readable.card = card.and_then(|text| {
        let token = CardToken::parse(&text);
        if token.is_none() {
            own_reason = Some(Refusal::InvalidCardToken);
        }
        token
    });
    let order = order.zip(currency).zip(readable.card.clone());
    let order = order.map(|((order, currency), card)| BuyOrder {
        order,
        currency,
        card,
        pays_for,
    });
    finish(fields, own_reason, readable, order, currencies)
}

/// The order's currency is none of `drop.currencies`.
fn not_of_the_drop(currencies: &[Currency]) -> AboutOrder {
    let codes: Vec<_> = currencies.iter().map(Currency::as_str).collect();
    AboutOrder {
        detail: Some(format!(
            "This shop does not accept this currency. It accepts {}.",
            codes.join(", ")
        )),
        facts: json!({ "cause": "shop", "currencies": codes }),
        durable_at: None,
    }
}

fn finish<T>(
    fields: Fields,
    own_reason: Option<Refusal>,
    readable: Readable,
    order: Option<T>,
    currencies: &[Currency],
) -> Result<T, Box<Malformed>> {
    let fine = fields.are_fine();
    match (fine, own_reason, order) {
        (true, None, Some(order)) => Ok(order),
        (true, Some(reason), _) => Err(Box::new(Malformed {
            reason,
            errors: Vec::new(),
            readable,
            about: (reason == Refusal::CurrencyNotAllowed).then(|| not_of_the_drop(currencies)),
        })),
        (_, _, _) => Err(Box::new(Malformed {
            reason: Refusal::InvalidRequest,
            errors: fields.into_errors(),
            readable,
            about: None,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd() -> Vec<Currency> {
        vec![Currency::parse("USD").unwrap()]
    }

    const BUY: &str =
        r#"{"user_id":"u","product_id":"p","quantity":1,"currency":"USD","card_token":"tok_ok"}"#;

    #[test]
    fn both_ways_agree_on_what_is_fine() {
        for body in [
            BUY,
            &BUY.replace("\"u\"", "\"\\u0075\""),
            &BUY.replace('}', ",\"ip\":null}"),
            &BUY.replace('}', ",\"metadata\":{\"b\":\"\",\"a\":\"1\"}}"),
            &BUY.replace('}', ",\"metadata\":null}"),
        ] {
            let fast = fast::<RawBuy<'_>>(body.as_bytes())
                .unwrap()
                .checked(&usd())
                .unwrap();
            assert_eq!(fast, slow_buy(body.as_bytes(), &usd()).unwrap());
            assert_eq!(fast.order.user.as_str(), "u");
        }
    }

    #[test]
    fn each_wrong_shape_has_its_reason_and_keeps_what_could_be_read() {
        let invalid = Refusal::InvalidRequest;
        for (from, to, reason) in [
            ("tok_ok", "4111111111111111", Refusal::InvalidCardToken),
            ("USD", "JPY", Refusal::CurrencyNotAllowed),
            ("USD", "usd", Refusal::CurrencyNotAllowed),
            ("\"tok_ok\"", "7", invalid),
            ("1,", "1.0,", invalid),
            ("1,", "0,", invalid),
            ("1,", "\"1\",", invalid),
            ("1,", "99999999999999999999999,", invalid),
            ("1,", "1e400,", invalid),
            ("\"product_id\"", "\"user_id\"", invalid),
            ("}", ",\"user_id\":\"u\"}", invalid),
            ("}", ",\"4111111111111111\":1}", invalid),
            ("}", "}}", invalid),
            ("}", ",\"metadata\":{\"a\":1}}", invalid),
            ("}", ",\"metadata\":[]}", invalid),
            ("}", ",\"metadata\":{\"a\":\"1\",\"a\":\"1\"}}", invalid),
            ("}", ",\"metadata\":{\"\":\"1\"}}", invalid),
            ("}", ",\"metadata\":{\"a\":\"4111111111111111\"}}", invalid),
        ] {
            let body = BUY.replacen(from, to, 1);
            let refused = BuyOrder::parse(body.as_bytes(), &usd()).unwrap_err();
            assert_eq!(refused.reason, reason, "{body}");
            assert!(!format!("{:?}", refused.errors).contains("4111"), "{body}");
            assert_eq!(refused.errors.is_empty(), reason != invalid, "{body}");
        }
        let array = br#"["u","p",1,null]"#;
        assert_eq!(HoldOrder::parse(array, &usd()).unwrap_err().reason, invalid);
    }
}
