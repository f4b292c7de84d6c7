//! The life cycle of a purchase: its states, what can happen to it, and the one table that says
//! which of these goes with which.

mod state;
mod step;
mod table;

pub use state::{PaidState, PurchaseState, Units};
pub use step::Step;
pub use table::{Stands, next_state, stands};
