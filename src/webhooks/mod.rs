//! Owns telling genuine webhooks from others: three forms of signature, the secrets they are made
//! with, and what their bodies say.
//!
//! Invariants:
//! 1. The signature covers the raw bytes of the body and is checked before any of it is read; a
//!    presented signature is compared with that of every secret of its form, in constant time.
//! 2. Timestamp, nonce and id are under the signature, and have one way to be written: nobody can
//!    take one apart otherwise than it was signed. A secret is good for one form only.
//! 3. No secret is printed, told or compared outside of `key`.
//!
//! Deliberately absent: I/O and a clock (time is an argument), remembering what was let in
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
