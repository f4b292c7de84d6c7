//! What a payment gateway calls.

pub mod webhooks;
