//! Reconciliation: holds the gateway's own list of charges against our books (I8), and names every
//! difference.
//!
//! The parts: [`books`] is what is read of either side; `compare` is the pure comparison of one
//! payment; [`run`] goes through both sides once; [`report`] is what it found; [`job`] runs it in
//! a core again and again.
//! Invariants:
//! 1. A difference is reported only where our side did not change, and had nothing under way, from
//!    before the gateway was asked until after: what goes on meanwhile is counted as open.
//! 2. Nothing is written, here or at the gateway, and nothing is held in memory that grows with
//!    more than the number of our purchases (four bytes each).
//! 3. The gateway's pages are asked one at a time, with pauses; our books are read in short turns.
//! 4. The gateway is asked past the payments' calls: nothing of this is counted there, opens their
//!    circuit or takes a connection of theirs. While that circuit is not closed, no run begins by
//!    itself.
//!
//! Deliberately absent: repairing a difference, which is the operator's.

pub mod books;
mod compare;
pub mod job;
pub mod report;
pub mod run;

pub use books::{OurBooks, SandboxFile, StoppedBooks, TheirBooks};
pub use job::{JobSettings, Reachable, ReconcileStatus, Reconciler, Scope};
pub use report::{Difference, DifferenceKind, ReconcileCounts, ReconcileReport, RunOutcome};
pub use run::{ReconcileLimits, ReconcileProgress, reconcile};
