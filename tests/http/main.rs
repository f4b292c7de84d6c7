//! What clients and operators meet over HTTP: every route, what it refuses, and its limits.

mod alerts;
mod api_keys;
mod audit;
mod bad_input;
mod card_numbers;
mod console;
mod events;
mod facts;
mod limits;
mod operations;
#[cfg(feature = "otlp")]
mod otlp;
mod receipt_signing;
mod receipts;
mod refunds;
mod refusals;
mod reviews;
mod rewards_and_voids;
mod risk;
mod risk_model;
mod shop;
mod stuck_disk;
mod terms;
mod traces;
