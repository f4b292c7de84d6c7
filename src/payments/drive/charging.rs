//! Owns the calls of a drive that charge, and the look-up: what each answer says of the gateway's
//! state.
//!
//! Invariants: an answer that may have had an effect leads to a look-up; a refusal to capture is
//! believed only once a look-up shows the money still set aside.
//! Deliberately absent: which call comes next (`saga`).

use super::{Drive, Go};
use crate::payments::calls::RetryDecision;
use crate::payments::gateway::{AuthorizeRequest, CallResult, GatewayCall, LookupResult};
use crate::payments::naming::inquiry_of;
use crate::payments::saga::{GatewayState, Late};

impl Drive<'_> {
    /// Looks up what the gateway has. Of repeated look-ups only the first needs no retry.
    pub(super) async fn look_up(&mut self) -> Go {
        if self.look_up_failed && self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        let inquiry = inquiry_of(&self.means.journal, &self.view);
        let asked = self
            .means
            .calls
            .ask(GatewayCall::LookUp, |gateway| gateway.look_up(inquiry));
        match asked.await {
            Ok(found) => {
                self.look_up_failed = false;
                self.known = match (found, self.capture_refused.take()) {
                    (LookupResult::Authorized(_), Some(refused)) => {
                        GatewayState::CaptureRefused(refused.code)
                    }
                    (found, _) => GatewayState::of(found, self.view.quote),
                };
            }
            Err(trouble) => {
                self.look_up_failed = true;
                self.tries.trouble(trouble);
            }
        }
        Go::On
    }

    pub(super) async fn authorize(&mut self) -> Go {
        // 1. Wait after a failure. Without retries left, the payment continues in the background.
        if !self.is_late() && self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        // 2. Wait for the turn at the gateway's rate, which may take long.
        if !self.is_late()
            && let Err(trouble) = self.means.calls.turn(GatewayCall::Authorize).await
        {
            self.tries.trouble(trouble);
            return Go::On;
        }
        // 3. Begin nothing that the buyer no longer expects. The saga authorizes only if
        // the gateway has nothing.
        if self.is_late() {
            self.known = GatewayState::GivenUp(self.late);
            return Go::On;
        }
        let order = AuthorizeRequest {
            reference: self.reference(),
            amount: self.view.quote.amount,
            currency: self.view.quote.currency,
            card: self.card(),
            started_at: self.started_at(),
        };
        let sent = self
            .means
            .calls
            .send_in_turn(GatewayCall::Authorize, |gateway| gateway.authorize(order));
        match sent.await {
            CallResult::Approved(authorization) => {
                self.known = GatewayState::Has(LookupResult::Authorized(authorization));
            }
            CallResult::Declined(decline) => {
                self.known = GatewayState::Has(LookupResult::Declined(decline));
            }
            CallResult::Retriable(trouble) => self.tries.trouble(trouble),
            CallResult::Unknown(trouble) => {
                self.late = Late::Possible;
                self.in_doubt(trouble);
            }
        }
        Go::On
    }

    /// Whether it is too late to authorize, because the buyer no longer expects it.
    fn is_late(&self) -> bool {
        let now = self.means.journal.now();
        now.since_ms(self.started_at()) >= self.means.settings.give_up_after_ms
    }

    pub(super) async fn capture(&mut self) -> Go {
        if self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        let claim = self.claim();
        let sent = self
            .means
            .calls
            .send(GatewayCall::Capture, |gateway| gateway.capture(claim));
        match sent.await {
            CallResult::Approved(money) => {
                self.known = GatewayState::of(LookupResult::taken(money), self.view.quote);
            }
            CallResult::Declined(refused) => {
                self.capture_refused = Some(refused);
                self.known = GatewayState::InDoubt;
            }
            CallResult::Retriable(trouble) => self.tries.trouble(trouble),
            CallResult::Unknown(trouble) => self.in_doubt(trouble),
        }
        Go::On
    }
}
