//! Reconciliation: compares the gateway's own list of charges with our books (I8), and names every
//! difference.
//!
//! The parts: [`books`] is what is read of either side; `compare` is the pure comparison of one
//! payment; [`run`] goes through both sides once; [`report`] is the result; [`job`] repeats it in
//! a running core.
//! Invariants:
//! 1. A difference is reported only if our side did not change, and had nothing in progress, from
//!    before the gateway was asked until after; a payment that changes meanwhile counts as open.
//! 2. Nothing is written, here or at the gateway, and no memory is used that grows with
//!    more than the number of our purchases (four bytes each).
//! 3. The gateway's pages are requested one at a time, with pauses; our books are read in short turns.
//! 4. The gateway is asked outside the payments' calls: nothing here is counted with them, opens
//!    their circuit or uses their connections. While that circuit is open, no run starts by
//!    itself.
//!
//! Deliberately absent: repairing a difference, which is the operator's task.

pub mod books;
mod compare;
pub mod job;
pub mod report;
pub mod run;

pub use books::{OurBooks, SandboxFile, StoppedBooks, TheirBooks};
pub use job::{JobSettings, Reachable, ReconcileStatus, Reconciler, Scope};
pub use report::{Difference, DifferenceKind, ReconcileCounts, ReconcileReport, RunOutcome};
pub use run::{ReconcileLimits, ReconcileProgress, reconcile};
