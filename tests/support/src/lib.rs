//! What the tests of holdfast share, compiled once: the real binary on a free port with a directory of
//! its own, a client over plain sockets, stand-ins for Stripe and PostgreSQL, and `commands` for tests
//! that talk to the journal itself.
//!
//! Every wait has a deadline.
#![allow(
    missing_docs,
    clippy::return_self_not_must_use,
    reason = "helpers of tests, not an interface"
)]

mod client;
pub mod clients;
pub mod commands;
pub mod copies;
mod documents;
pub mod history;
mod log;
pub mod money;
pub mod postgres_server;
pub mod receiver;
mod server;
pub mod signing;
pub mod stripe_server;
mod terms;
pub mod wall_clock;

pub use client::{Client, Request, Response, shows_card_number};
pub use documents::check_table;
pub use log::Log;
pub use server::{Launched, Server, Setup, binary};
pub use terms::{product_terms, promotion_terms, rating_terms};

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The demo's keys.
pub const SHOP: &str = "demo-shop-key";
pub const ADMIN: &str = "demo-admin-key";

/// The keys of those who only read: an auditor's, and one for metrics.
pub const READER: &str = "a-key-of-a-reader";
pub const SCRAPER: &str = "a-key-of-a-scraper";

/// A key of each role, in place of the demo's.
pub const KEYS_OF_EACH_ROLE: &str = r#"
    [[auth.keys]]
    name = "shop"
    role = "shop"
    key = "demo-shop-key"
    [[auth.keys]]
    name = "boss"
    role = "admin"
    key = "demo-admin-key"
    [[auth.keys]]
    name = "reader"
    role = "auditor"
    key = "a-key-of-a-reader"
    [[auth.keys]]
    name = "scraper"
    role = "metrics"
    key = "a-key-of-a-scraper"
"#;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Polls until there is something, with a deadline.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A loopback port for a server that cannot choose one itself.
///
/// Below the range that the kernel gives out by itself, so that no connection of a test that runs beside this one takes
/// it in between; where this starts to look differs from process to process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 17_000;
    let start = std::process::id().wrapping_mul(101);
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("the range ends below 2^16");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
