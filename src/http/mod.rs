//! The front end: HTTP in, commands to the journal, answers out.
//!
//! Folders look only downwards: `wire` (what requests and answers are made of), `server` (sockets and
//! connections), `call` (one request on its way), the groups of handlers (`shop`, `ops`, `admin`,
//! `hooks`), `route` (the table), and `front`, which joins them.
//! Invariants: every wait, size and number that a peer can cause is bounded by configuration; no
//! answer leaves before what it reveals is durable; nothing of a request's body is logged or
//! repeated. Deliberately absent: business decisions, which the engine makes.

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
