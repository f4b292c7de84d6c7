//! Owns how a call of the sandbox is answered: at once, late, or never.
//!
//! Invariant: a card that works costs no timer and no task.

use super::ledger::Misfit;
use super::token::How;
use crate::payments::gateway::{CallResult, Calling, Decline, Trouble};
use std::future;
use std::time::Duration;

/// A call's answer, and when it is given.
pub(super) enum PlannedReply<T> {
    Now(CallResult<T>),
    After(u32, CallResult<T>),
    Never,
}

impl<T: Send + 'static> PlannedReply<T> {
    pub(super) fn calling<'a>(self) -> Calling<'a, CallResult<T>> {
        match self {
            Self::Now(answer) => Box::pin(future::ready(answer)),
            Self::After(ms, answer) => Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(u64::from(ms))).await;
                answer
            }),
            Self::Never => Box::pin(future::pending()),
        }
    }
}

/// Why something had no effect.
pub(super) enum NoEffect {
    /// It contradicts the payment's state.
    Misfit,
    /// It may or may not be in the file.
    Lost,
}

impl From<Misfit> for NoEffect {
    fn from(Misfit: Misfit) -> Self {
        Self::Misfit
    }
}

impl NoEffect {
    pub(super) const fn answer<T>(self) -> CallResult<T> {
        match self {
            Self::Misfit => CallResult::Declined(Decline::BY_GATEWAY),
            Self::Lost => CallResult::Unknown(Trouble::Internal),
        }
    }
}

/// The answer of a call that fails as `how` says.
pub(super) fn reply<T>(how: Option<How>, answer: CallResult<T>) -> PlannedReply<T> {
    match how {
        None => PlannedReply::Now(answer),
        Some(How::Timeout | How::Lost) => PlannedReply::Never,
        Some(How::Unknown) => PlannedReply::Now(CallResult::Unknown(Trouble::Internal)),
        Some(How::Busy) => PlannedReply::Now(CallResult::Retriable(Trouble::Busy)),
        Some(How::Unreachable) => PlannedReply::Now(CallResult::Retriable(Trouble::Unreachable)),
        Some(How::KeyRefused) => PlannedReply::Now(CallResult::Retriable(Trouble::KeyRefused)),
    }
}
