//! Owns the calls of a drive that give money back: closing a reference, voiding, and refunding what
//! was captured without goods.
//!
//! Invariants: what the gateway refused is sent again only after a look-up, and in another drive; a
//! refund never exceeds what is left in the gateway's books.
//! Deliberately absent: refunds that a client asked for (`refund`).

use super::{Drive, Go, Pace};
use crate::payments::calls::RetryDecision;
use crate::payments::gateway::{
    CallResult, CapturedMoney, FoundRefund, GatewayCall, LookupResult, RefundRequest, Trouble,
};
use crate::payments::saga::{GatewayState, Late};

/// Maximum number of refunds of one payment to return what was captured without goods. Each one
/// after the first is made because earlier ones failed or left something.
const GIVE_BACKS_MAX: u32 = 10;

/// How something is returned.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum GiveBack {
    Void,
    /// By the refund with this number.
    Refund(u32),
}

impl Drive<'_> {
    pub(super) async fn close(&mut self) -> Go {
        let answer = self.send_void().await;
        match answer {
            Some(CallResult::Approved(())) => {
                self.late = Late::Impossible;
                self.known = GatewayState::GivenUp(Late::Impossible);
            }
            // The authorization arrived after all, or the outcome is unknown. This drive ends; the next
            // one looks up the current state.
            Some(CallResult::Declined(_) | CallResult::Unknown(_) | CallResult::Retriable(_))
            | None => {
                return Go::Leave;
            }
        }
        Go::On
    }

    pub(super) async fn void(&mut self) -> Go {
        if self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        if self.refused == Some(GiveBack::Void) {
            self.pace = Pace::Slow;
            return Go::Leave;
        }
        let Some(answer) = self.send_void().await else {
            return Go::Leave;
        };
        if answer == CallResult::Approved(()) {
            self.known = GatewayState::Has(LookupResult::Voided);
        } else {
            self.not_given_back(&answer, GiveBack::Void);
        }
        Go::On
    }

    /// `None` if nothing was sent.
    async fn send_void(&mut self) -> Option<CallResult<()>> {
        let claim = self.claim();
        let sent = self
            .means
            .calls
            .send(GatewayCall::Void, |gateway| gateway.void(claim));
        let answer = sent.await;
        (answer != CallResult::Retriable(Trouble::CircuitOpen)).then_some(answer)
    }

    pub(super) async fn give_back(&mut self, money: &CapturedMoney) -> Go {
        if self.next_attempt().await == RetryDecision::Spent {
            return Go::Leave;
        }
        let number = match self.next_give_back(money).await {
            Ok(number) => number,
            Err(go) => return go,
        };
        if self.refused == Some(GiveBack::Refund(number)) {
            self.pace = Pace::Slow;
            return Go::Leave;
        }
        let refund = self.refund_of_rest(money, number);
        let sent = self
            .means
            .calls
            .send(GatewayCall::Refund, |gateway| gateway.refund(refund));
        let answer = sent.await;
        if answer == CallResult::Approved(()) {
            let refunded = money.captured;
            self.known = GatewayState::Has(LookupResult::Refunded(CapturedMoney {
                refunded,
                ..money.clone()
            }));
        } else {
            self.not_given_back(&answer, GiveBack::Refund(number));
        }
        Go::On
    }

    /// The number of the refund to send: the first one that the gateway does not know. A failed
    /// refund keeps its number for ever, so sending it again would return nothing; and if one
    /// succeeded and something is left, the rest is another refund. `Err`: there is none to send
    /// now.
    async fn next_give_back(&mut self, money: &CapturedMoney) -> Result<u32, Go> {
        for number in 1..=GIVE_BACKS_MAX {
            let refund = self.refund_of_rest(money, number);
            let asked = self.means.calls.ask(GatewayCall::LookUpRefund, |gateway| {
                gateway.look_up_refund(refund)
            });
            match asked.await {
                Ok(FoundRefund::Nothing) => return Ok(number),
                Ok(FoundRefund::Failed | FoundRefund::Succeeded) => {}
                Ok(FoundRefund::Pending) => return Err(Go::Leave),
                Err(trouble) => {
                    self.tries.trouble(trouble);
                    return Err(Go::On);
                }
            }
        }
        self.pace = Pace::Slow;
        Err(Go::Leave)
    }

    /// Never more than what is left in the gateway's books.
    fn refund_of_rest(&self, money: &CapturedMoney, number: u32) -> RefundRequest {
        RefundRequest {
            reference: self.reference(),
            capture: Some(money.capture.clone()),
            authorization: Some(money.authorization.id.clone()),
            number,
            amount: money.left(),
            currency: money.currency.unwrap_or(self.view.quote.currency),
        }
    }

    fn not_given_back(&mut self, answer: &CallResult<()>, what: GiveBack) {
        match answer {
            CallResult::Approved(()) => {}
            CallResult::Retriable(trouble) => self.tries.trouble(*trouble),
            CallResult::Unknown(trouble) => self.in_doubt(*trouble),
            // The gateway may have something else by now, so look it up. If it has the same and
            // refuses again, a person must act.
            CallResult::Declined(_) => {
                self.refused = Some(what);
                self.known = GatewayState::InDoubt;
                self.tries.fail();
            }
        }
    }
}
