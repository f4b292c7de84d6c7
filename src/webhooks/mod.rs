//! Owns verifying webhooks: three forms of signature, their secrets, and the bodies.
//!
//! Invariants:
//! 1. The signature covers the raw bytes of the body and is checked before any of it is read; a
//!    presented signature is compared with that of every secret of its form, in constant time.
//! 2. The signature covers timestamp, nonce and id, each of which can be written in one way only, so
//!    a signed text has one interpretation. A secret is valid for one form only.
//! 3. No secret is printed, shown or compared outside of `key`.
//!
//! Deliberately absent: I/O and a clock (time is an argument), remembering accepted webhooks
//! (`journal`), and asking the gateway (`payments`). Called by `http`, `config` and `cli`.

mod key;
mod message;
mod scheme;
mod secrets;
mod stripe;

pub use key::{BadKey, SECRET_BYTES_MIN, WebhookKey};
pub use message::{About, MalformedWebhook, WebhookMessage, read};
pub use scheme::{Delivery, Endpoint, Genuine, SIGNATURES_MAX, WebhookClaim};
pub use secrets::{
    NotAdded, Reloaded, Reservation, SECRETS_MAX, Secret, Secrets, Source, TwoPurposes,
};

#[cfg(test)]
mod tests;
