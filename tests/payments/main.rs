//! Payments: the driver, the gateways (sandbox, Stripe by its documentation, localstripe) and reconciling with them.

mod by_hand;
mod crash;
mod driver;
mod localstripe;
mod post_capture;
mod receipts;
mod reconcile;
mod reconcile_cli;
mod reconcile_tls;
mod sandbox;
mod stage;
mod stripe;
mod stripe_busy;
mod stripe_calls;
mod stripe_faults;
mod stripe_serve;
mod stripe_stage;
