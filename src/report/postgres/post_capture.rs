//! Owns the rows of what follows a capture: refunds, refunds that came back, disputes.
//!
//! Invariant: each event adds its own amount to the purchase's row, so the rows are the same in whatever order
//! they arrive.

use super::attempts::{EventPlace, refund_attempt};
use super::bookings::{entry, money_moves};
use super::convert::{ToRows, use_back_where_ended};
use super::rows::{AttemptRow, Disputed, Risk, Rows};
use crate::engine::dispute::DisputeStatus;
use crate::engine::event::{
    Clawback, DisputeClosed, DisputeOpened, GivenBack, RefundReturned, RefundStarted,
};
use crate::engine::lifecycle::PaidState;
use crate::journal::PurchaseAsOf;
use crate::money::Amount;
use crate::report::feed::sink::Unfit;

impl ToRows {
    pub(super) fn refund_started(
        &self,
        it: &RefundStarted,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let known = self.known(it.purchase, place)?;
        let row = refund_attempt(&known, it.amount, place);
        rows.attempt = Some(Box::new(AttemptRow {
            request: Some(it.by.request.to_string()),
            owner: Some(it.by.owner.to_string()),
            ..row
        }));
        Ok(())
    }

    pub(super) fn refunded(
        &self,
        known: &PurchaseAsOf,
        amount: Amount,
        clawback: Clawback,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let mut row = self.transaction(known, place)?;
        row.refunds = 1;
        row.refunded = amount.get();
        let amount = row.refunded;
        let moved = [
            entry("refunds", &row.currency, amount),
            entry("cash_clearing", &row.currency, -amount),
        ];
        money_moves(&row, moved, (clawback, GivenBack::default()), place, rows)?;
        rows.transaction = Some(Box::new(row));
        Ok(())
    }

    pub(super) fn refund_returned(
        &self,
        it: &RefundReturned,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let mut row = self.transaction(&self.known(it.purchase, place)?, place)?;
        // The refund still counts as one, but its money came back.
        row.refunded = -it.amount.get();
        let moved = [
            entry("cash_clearing", &row.currency, it.amount.get()),
            entry("refunds", &row.currency, -it.amount.get()),
        ];
        money_moves(
            &row,
            moved,
            (Clawback::default(), it.given_back),
            place,
            rows,
        )?;
        rows.transaction = Some(Box::new(row));
        Ok(())
    }

    pub(super) fn dispute_opened(
        &self,
        it: &DisputeOpened,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let mut row = self.transaction(&self.known(it.purchase, place)?, place)?;
        row.dispute = Some(Disputed {
            word: "opened",
            lsn: place.lsn,
            charged_back: it.charged_back.get(),
        });
        rows.transaction = Some(Box::new(row));
        if it.before.is_none() {
            rows.risk = Some(Risk {
                disputes: 1,
                ..Risk::none(it.user.as_str(), place.lsn)
            });
        }
        Ok(())
    }

    pub(super) fn dispute_closed(
        &self,
        it: &DisputeClosed,
        place: EventPlace,
        rows: &mut Rows,
    ) -> Result<(), Unfit> {
        let known = self.known(it.purchase, place)?;
        let mut row = self.transaction(&known, place)?;
        row.dispute = Some(Disputed {
            // Another dispute of the purchase may be open.
            word: match it.leaves {
                PaidState::Disputed => DisputeStatus::Opened.as_str(),
                PaidState::Captured
                | PaidState::PartiallyRefunded
                | PaidState::Refunded
                | PaidState::ChargedBack => it.dispute.status().as_str(),
            },
            lsn: place.lsn,
            charged_back: it.charged_back.get(),
        });
        let moved = [
            entry("chargebacks", &row.currency, it.taken()),
            entry("cash_clearing", &row.currency, -it.taken()),
        ];
        money_moves(&row, moved, (it.clawback, it.given_back), place, rows)?;
        if it.more_lost() != 0 {
            rows.risk = Some(Risk {
                chargebacks: i64::from(it.more_lost()),
                ..Risk::none(it.user.as_str(), place.lsn)
            });
        }
        rows.transaction = Some(Box::new(row));
        use_back_where_ended(&known, place, rows);
        Ok(())
    }
}
