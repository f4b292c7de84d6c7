//! Commands and terms as tests of the journal send them. What a test does not name is as plain as it
//! can be: one unit, in USD, no limit, no promotion. A test names what matters to it and takes the
//! rest: `Buy { quantity: 2, ..buy(user("ana"), product("drop"), origin(1)) }`.

use holdfast::engine::command::{Buy, PlaceHold};
use holdfast::engine::event::{Active, AdminAct, IdempotencyKey, Origin, ProductSet};
use holdfast::engine::metadata::Metadata;
use holdfast::ids::{CardToken, Digest16, KeyOwner, ProductId, RequestId, UserId};
use holdfast::money::{Currency, Price};

/// The price of a product, in minor units, where a test does not say another.
pub const PRICE: i64 = 2_000;

pub fn usd() -> Currency {
    Currency::parse("USD").expect("it is listed")
}

pub fn user(id: &str) -> UserId {
    UserId::parse(id).expect("a buyer's id")
}

pub fn product(id: &str) -> ProductId {
    ProductId::parse(id).expect("a product's id")
}

pub fn card(token: &str) -> CardToken {
    CardToken::parse(token).expect("a card's token")
}

/// An administrator's request.
pub fn admin() -> AdminAct {
    AdminAct {
        request: RequestId(9),
        owner: KeyOwner::parse("admin").expect("a key's name"),
    }
}

/// An idempotency key; the same number is the same request again.
pub fn key(number: u64) -> IdempotencyKey {
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    IdempotencyKey {
        scope: Digest16(digest),
        fingerprint: Digest16(digest),
    }
}

/// The shop's request of this number, under the key of this number.
pub fn origin(number: u64) -> Origin {
    Origin {
        request: RequestId(number),
        owner: KeyOwner::parse("shop").expect("a key's name"),
        key: Some(key(number)),
        ip: None,
        device: None,
    }
}

/// A product on sale.
pub fn product_set(product: ProductId, stock: u32) -> ProductSet {
    ProductSet {
        name: product.as_str().to_owned(),
        product,
        prices: vec![(usd(), Price::new(PRICE).expect("a price"))],
        stock,
        per_user_limit: None,
        starts_at: None,
        ends_at: None,
        active: Active::Yes,
        hold_ttl_ms: None,
        reward_tokens: 0,
        by: admin(),
    }
}

/// A hold of one unit.
pub fn hold(user: UserId, product: ProductId, origin: Origin) -> PlaceHold {
    PlaceHold {
        origin,
        user,
        product,
        quantity: 1,
        currency: None,
        promotion: None,
        metadata: Metadata::default(),
    }
}

/// A purchase of one unit with a card that the sandbox takes.
pub fn buy(user: UserId, product: ProductId, origin: Origin) -> Buy {
    Buy {
        origin,
        user,
        product,
        quantity: 1,
        currency: usd(),
        card: card("tok_ok"),
        promotion: None,
        hold: None,
        metadata: Metadata::default(),
    }
}
