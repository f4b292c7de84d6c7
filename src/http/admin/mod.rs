//! The requests of operators and auditors, under `/admin`.

pub(super) mod catalogue;
pub(super) mod endpoints;
pub(super) mod history;
pub(super) mod inquiries;
pub(super) mod operator;
mod reasons;
pub(super) mod reconcile;
pub(super) mod refunds;
pub(super) mod reviews;
pub(super) mod risk;
pub(super) mod sandbox;
pub(super) mod segments;
pub(super) mod settle;
pub(super) mod sinks;
pub(super) mod status;
pub mod terms;
pub(super) mod voids;
pub(super) mod webhook_secrets;
pub mod written;
