//! Owns the double entries of an event in the ledger, and the reward tokens that move with it.
//!
//! Invariant: the entries of one booking sum to zero for each currency; tokens are a currency of their own.
//! Deliberately absent: which event books what, which `convert` says.

use super::attempts::EventPlace;
use super::encode::Tuple;
use super::rows::{Booking, LedgerRow, Rows, Transaction};
use super::tables::REWARDS;
use crate::engine::event::{Clawback, GivenBack};
use crate::report::feed::sink::Unfit;

/// The currency of reward tokens in the ledger.
pub(super) const TOKENS: &str = "TOKENS";

/// Books refunded or returned money, and the reward tokens with it.
pub(super) fn money_moves(
    row: &Transaction,
    [to, from]: [LedgerRow<'_>; 2],
    (clawback, given_back): (Clawback, GivenBack),
    place: EventPlace,
    rows: &mut Rows,
) -> Result<(), Unfit> {
    let (recovered, shortfall) = (
        count(clawback.recovered.get())?,
        count(clawback.shortfall.get())?,
    );
    let booking = Booking {
        lsn: place.lsn,
        at: place.at,
        purchase: Some(&row.purchase),
        user: &row.user,
    };
    let (given, paid) = (
        count(given_back.tokens.get())?,
        count(given_back.debt_paid.get())?,
    );
    let entries = [
        to,
        from,
        entry("token_liability", TOKENS, recovered + paid - given),
        entry("token_receivable", TOKENS, shortfall - paid),
        entry("token_grants", TOKENS, given - recovered - shortfall),
    ];
    booking.write(&entries, &mut rows.ledger);
    if given != 0 {
        // An event takes tokens back or gives them back, never both.
        reward(
            &booking,
            "given_back",
            given - paid,
            -paid,
            &mut rows.reward,
        );
    }
    if recovered != 0 || shortfall != 0 {
        reward(
            &booking,
            "clawed_back",
            -recovered,
            shortfall,
            &mut rows.reward,
        );
    }
    Ok(())
}

pub(super) const fn entry<'e>(
    account: &'static str,
    currency: &'e str,
    amount: i64,
) -> LedgerRow<'e> {
    LedgerRow {
        account,
        currency,
        amount,
    }
}

pub(super) fn reward(
    booking: &Booking<'_>,
    reason: &str,
    tokens: i64,
    debt: i64,
    into: &mut Vec<u8>,
) {
    Tuple::new(into, REWARDS.columns.len())
        .lsn(booking.lsn)
        .instant(booking.at)
        .text(booking.user)
        .text(reason)
        .text_or_null(booking.purchase)
        .bigint(tokens)
        .bigint(debt);
}

pub(super) fn count(tokens: u64) -> Result<i64, Unfit> {
    i64::try_from(tokens).map_err(|_| Unfit("more tokens than can be counted".to_owned()))
}
