//! The front end: HTTP in, commands to the journal, answers out.
//!
//! `server` knows sockets and no routes; the handlers know routes and no sockets.
//! Invariants: every wait, size and number that a peer can cause is bounded by configuration; no
//! answer leaves before what it reveals is durable; nothing of a request's body is logged or
//! repeated. Deliberately absent: business decisions, which the engine makes.

pub mod admin;
pub mod front;
pub mod hooks;
pub mod ops;
pub mod route;
pub mod server;
pub mod shop;
pub mod wire;
