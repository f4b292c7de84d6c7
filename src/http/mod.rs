//! The front end: HTTP requests become commands to the journal, and outcomes become responses.
//!
//! Folders only use lower ones: `wire` (parts of requests and responses), `server` (sockets and
//! connections), `call` (a request with its context), the groups of handlers (`shop`, `ops`,
//! `admin`, `hooks`), `route` (the table), and `front`, which joins them. Invariants: every wait,
//! size and number that a peer can cause is limited by configuration; no response leaves before
//! what it reveals is durable; nothing of a request's body is logged or repeated. Deliberately
//! absent: business decisions, which the engine makes.

pub mod admin;
mod call;
pub mod core;
pub mod front;
mod hooks;
pub mod ops;
pub mod route;
pub mod server;
pub mod shop;
pub mod wire;
