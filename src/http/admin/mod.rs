//! The calls of operators and auditors, below `/admin`.

pub mod backup;
pub mod catalogue;
pub mod history;
pub mod inquiries;
pub mod operator;
pub mod reconcile;
pub mod refunds;
pub mod reviews;
pub mod risk;
pub mod segments;
pub mod settle;
pub mod sinks;
pub mod terms;
pub mod webhook_secrets;
