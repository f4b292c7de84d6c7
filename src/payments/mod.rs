//! Payments: drives a purchase from its recorded intent to an outcome, through crashes and outages.
//!
//! The parts, in the order to read them: [`gateway`] is what any payment provider must offer and
//! the one classification of its answers; [`saga`] says what to do next with a payment, [`refund`]
//! with a refund, and neither does anything; [`driver`] does it, over crashes and disconnects, and brings
//! our books and the gateway's together; [`sandbox`] is a provider in process, [`stripe`] one elsewhere.
//! Invariant: captured with goods, or nothing charged and the stock back.
//! Deliberately absent: HTTP, money arithmetic, and answers to buyers.

mod books;
pub mod breaker;
mod calls;
mod drive;
pub mod driver;
pub mod gateway;
mod handover;
mod later;
mod means;
mod meter;
mod naming;
pub mod refund;
mod registry;
pub mod saga;
pub mod sandbox;
pub mod scheme;
pub mod settings;
pub mod stripe;

pub use driver::{PaymentOutcome, Payments, SettleAs};
pub use handover::PaymentFuture;
pub use meter::{Meter, RoundEnded};
pub use settings::{PaymentSettings, SettingsError};
