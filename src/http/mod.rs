//! The front end: HTTP in, commands to the journal, answers out.
//!
//! `server` and `connection` know sockets and no routes; the handlers know routes and no sockets.
//! Invariants: every wait, size and number that a peer can cause is bounded by configuration; no
//! answer leaves before what it reveals is durable; nothing of a request's body is logged or
//! repeated. Deliberately absent: business decisions, which the engine makes.

mod admin;
pub mod admission;
pub mod answer;
mod audited;
pub mod auth;
mod backup;
pub mod body;
pub mod catalogue;
mod connection;
mod detail;
pub mod fields;
mod framing;
pub mod front;
pub mod idempotency;
mod inquiries;
pub mod json;
pub mod listener;
mod operations;
pub mod orders;
pub mod peer;
pub mod preconditions;
pub mod presence;
pub mod problem;
pub mod query;
mod raw;
mod reads;
mod reconcile;
pub mod recovering;
mod refunds;
pub mod render;
mod reviews;
mod rewards;
mod risk;
pub mod routes;
mod sampled;
mod segments;
pub mod server;
mod settle;
mod shop;
mod sinks;
pub mod terms;
pub mod tls;
mod unasked;
mod webhook_secrets;
mod webhooks;
mod wrong_keys;
