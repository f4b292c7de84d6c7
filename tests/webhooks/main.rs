//! Webhooks of the payment gateway: who may send them, in which formats, and what each does once.

mod dispute_list;
mod dispute_order;
mod disputes;
mod effects;
mod formats;
mod memory;
mod noise;
mod once;
mod secrets;
