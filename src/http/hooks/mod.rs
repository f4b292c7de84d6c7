//! Requests of a payment gateway.

pub mod webhooks;
