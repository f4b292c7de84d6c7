//! The life cycle of a purchase: its states, its steps, and the one table of which step is allowed
//! in which state.

mod state;
mod step;
mod table;

pub use state::{PaidState, PurchaseState, Units};
pub use step::Step;
pub use table::{Stands, next_state, stands};
