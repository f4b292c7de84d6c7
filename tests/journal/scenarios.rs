//! Scenarios of buyers on the engine and its journal, told as one line each and run on a real
//! directory with a clock that stands still. After every step the invariants are checked, and
//! after every scenario the directory is opened again: the state must be the same.

mod scenario;

use scenario::check;

#[test]
fn the_last_unit_is_one_buyers_until_the_hold_runs_out() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · hold h2 bo drop-1 1 → sold_out · \
         tick 299999 · show h1 → held · tick 1 · show h1 → expired · hold h3 bo drop-1 1 → held",
    );
}

#[test]
fn a_released_hold_returns_its_units_and_is_answered_the_same_again() {
    check(
        "stock drop-1 2 · hold h1 ana drop-1 2 → held · levels drop-1 0/2/0 · \
         release h1 → released · release h1 → released · levels drop-1 2/0/0 · \
         hold h2 bo drop-1 2 → held",
    );
}

#[test]
fn a_purchase_sells_its_units_and_a_decline_gives_them_back() {
    check(
        "stock drop-1 2 · buy p1 ana drop-1 1 → authorizing · levels drop-1 1/1/0 · \
         authorized p1 → authorized · capturing p1 → capturing · captured p1 → captured · \
         levels drop-1 1/0/1 · buy p2 bo drop-1 1 → authorizing · declined p2 → declined · \
         levels drop-1 1/0/1",
    );
}

#[test]
fn a_void_gives_the_units_back() {
    check(
        "stock drop-1 1 · buy p1 ana drop-1 1 → authorizing · authorized p1 → authorized · \
         capturing p1 → capturing · voiding p1 → voiding · levels drop-1 0/1/0 · \
         voided p1 → voided · levels drop-1 1/0/0 · replay p1 → payment_declined",
    );
}

#[test]
fn steps_that_the_state_does_not_allow_are_refused() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · captured h1 → wrong_state · \
         voided h1 → wrong_state · pay h1 → authorizing · pay h1 → hold_closed · \
         release h1 → hold_closed · declined h1 → held · authorized h1 → wrong_state",
    );
}

#[test]
fn a_hold_under_payment_does_not_expire() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 → authorizing · tick 900000 · \
         show h1 → authorizing · authorized h1 → authorized · capturing h1 → capturing · \
         captured h1 → captured · levels drop-1 0/0/1",
    );
}

#[test]
fn a_decline_ends_the_payment_and_not_the_earlier_hold() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 named t1 → authorizing · \
         declined h1 → held · levels drop-1 0/1/0 · replay t1 → payment_declined · \
         tick 60000 · pay h1 named t2 → authorizing · authorized h1 → authorized · \
         capturing h1 → capturing · captured h1 → captured · levels drop-1 0/0/1 · \
         replay t1 → payment_declined · replay t2 → captured · reopen · \
         replay t1 → payment_declined · snapshot · reopen · replay t1 → payment_declined · \
         replay t2 → captured",
    );
}

#[test]
fn a_hold_that_outlived_a_decline_runs_out_at_its_own_time() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 → authorizing · tick 1000 · \
         declined h1 → held · tick 298999 · show h1 → held · tick 1 · show h1 → expired · \
         levels drop-1 1/0/0 · replay paid → payment_declined",
    );
    // The time passed while it was being paid: the timer that its placing set went off then.
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 → authorizing · tick 300000 · \
         show h1 → authorizing · declined h1 → expired · levels drop-1 1/0/0 · \
         replay paid → payment_declined · pay h1 → hold_expired",
    );
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 → authorizing · snapshot · reopen · \
         declined h1 → held · snapshot · reopen · tick 300000 · show h1 → expired",
    );
}

#[test]
fn a_refused_capture_ends_the_payment_and_not_the_earlier_hold() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 named t1 → authorizing · \
         authorized h1 → authorized · capturing h1 → capturing · voiding h1 → voiding · \
         pay h1 → hold_closed · release h1 → hold_closed · snapshot · reopen · voided h1 → held · \
         levels drop-1 0/1/0 · replay t1 → payment_declined · voided h1 → wrong_state · \
         snapshot · reopen · pay h1 named t2 → authorizing · authorized h1 → authorized · \
         capturing h1 → capturing · captured h1 → captured · levels drop-1 0/0/1 · \
         replay t1 → payment_declined · reopen · replay t1 → payment_declined · replay t2 → captured",
    );
    // It expires at its own time, whatever its timer did meanwhile.
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 → authorizing · \
         authorized h1 → authorized · voiding h1 → voiding · tick 299999 · voided h1 → held · \
         reopen · tick 1 · show h1 → expired · levels drop-1 1/0/0",
    );
}

#[test]
fn a_void_ends_a_hold_whose_time_has_passed_and_one_without_tries() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 named t1 → authorizing · \
         authorized h1 → authorized · voiding h1 → voiding · tick 300000 · show h1 → voiding · \
         voided h1 → voided · levels drop-1 1/0/0 · replay t1 → payment_declined · pay h1 → hold_closed",
    );
    let one_try = "pay h1 → authorizing · authorized h1 → authorized · voiding h1 → voiding · ";
    let held = format!("{one_try}voided h1 → held · tick 10000 · ");
    check(&format!(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · {}{one_try}voided h1 → voided · \
         levels drop-1 1/0/0",
        held.repeat(4)
    ));
}

#[test]
fn a_hold_can_be_given_up_between_two_payments() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 → authorizing · \
         declined h1 → held · release h1 → released · levels drop-1 1/0/0 · \
         release h1 → released · pay h1 → hold_closed · tick 300000 · show h1 → released",
    );
}

#[test]
fn the_last_decline_that_a_hold_may_have_ends_it() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 named t1 → authorizing · \
         declined h1 → held · pay h1 → authorizing · declined h1 → held · pay h1 → authorizing · \
         declined h1 → held · pay h1 → authorizing · unavailable h1 → held · tick 10000 · \
         pay h1 → authorizing · declined h1 → held · reopen · pay h1 → authorizing · \
         declined h1 → declined · levels drop-1 1/0/0 · pay h1 → hold_closed · \
         replay t1 → payment_declined",
    );
}

#[test]
fn a_payment_that_was_not_declined_frees_its_key() {
    check(
        "stock drop-1 1 · buy p1 ana drop-1 1 → authorizing · unavailable p1 → declined · \
         levels drop-1 1/0/0 · replay p1 → authorizing · declined p1 → wrong_state",
    );
    // The freed key's second use is remembered for its own seven days.
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 named t1 → authorizing · \
         tick 1000 · unavailable h1 → held · replay t1 → authorizing · declined h1 → held · \
         replay t1 → payment_declined · snapshot · reopen · replay t1 → payment_declined · \
         tick 604799000 · hold x1 ana drop-1 1 → held · replay t1 → payment_declined · \
         tick 1000 · hold x2 ana drop-1 1 → sold_out · reopen · replay t1 → hold_expired",
    );
}

#[test]
fn a_promotion_use_stays_with_a_hold_that_a_decline_leaves() {
    check(
        "stock drop-1 2 · promo HALF 50% uses 1 · hold h1 ana drop-1 1 HALF → held · \
         pay h1 → authorizing · declined h1 → held · amount h1 1000 · \
         hold b1 bo drop-1 1 HALF → promotion_exhausted · pay h1 → authorizing · \
         amount h1 1000 · declined h1 → held · release h1 → released · \
         hold b2 bo drop-1 1 HALF → held",
    );
}

#[test]
fn an_expired_hold_cannot_be_paid_nor_released() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · tick 300000 · pay h1 → hold_expired · \
         release h1 → hold_expired",
    );
}

#[test]
fn a_buyer_has_a_limited_number_of_attempts_in_any_window() {
    check(
        "stock drop-1 9 · hold h1 ana drop-1 1 → held · tick 5000 · hold h2 ana drop-1 1 → held · \
         hold h3 ana drop-1 1 → held · hold h4 ana drop-1 1 → held · hold h5 ana drop-1 1 → held · \
         hold h6 ana drop-1 1 → rate_limited · hold b1 bo drop-1 1 → held · tick 4999 · \
         hold h6 ana drop-1 1 → rate_limited · tick 1 · hold h6 ana drop-1 1 → held · \
         hold h7 ana drop-1 1 → rate_limited",
    );
}

#[test]
fn the_rate_window_survives_a_restart() {
    check(
        "stock drop-1 9 · hold h1 ana drop-1 1 → held · hold h2 ana drop-1 1 → held · \
         hold h3 ana drop-1 1 → held · hold h4 ana drop-1 1 → held · hold h5 ana drop-1 1 → held · \
         reopen · hold h6 ana drop-1 1 → rate_limited · snapshot · reopen · \
         hold h6 ana drop-1 1 → rate_limited · tick 10000 · hold h6 ana drop-1 1 → held",
    );
}

#[test]
fn a_key_has_one_outcome_for_seven_days() {
    check(
        "stock drop-1 1 · hold h1 ana drop-1 1 → held · replay h1 → held · \
         hold h2 bo drop-1 1 → sold_out · tick 300000 · replay h2 → sold_out · replay h1 → held · \
         reuse h1 → idempotency_key_reused · reopen · replay h2 → sold_out · \
         reuse h2 → idempotency_key_reused · snapshot · reopen · replay h1 → held · \
         tick 604800000 · hold x1 cy drop-1 1 → held · tick 1 · hold x2 dan drop-1 1 → sold_out",
    );
}

#[test]
fn a_running_purchase_is_in_flight_under_its_key_until_its_outcome() {
    check(
        "stock drop-1 1 · buy p1 ana drop-1 1 → authorizing · \
         replay p1 → idempotency_in_flight · reopen · replay p1 → idempotency_in_flight · \
         authorized p1 → authorized · capturing p1 → capturing · captured p1 → captured · \
         replay p1 → captured · reopen · replay p1 → captured · snapshot · reopen · \
         replay p1 → captured",
    );
}

#[test]
fn a_buyers_limit_counts_open_holds_and_standing_purchases() {
    check(
        "stock drop-1 9 limit 2 · hold h1 ana drop-1 1 → held · buy p1 ana drop-1 1 → authorizing · \
         hold h2 ana drop-1 1 → per_user_limit · release h1 → released · tick 10000 · \
         hold h3 ana drop-1 2 → per_user_limit · hold h4 ana drop-1 1 → held · \
         declined p1 → declined · tick 10000 · hold h5 ana drop-1 1 → held · \
         hold b1 bo drop-1 2 → held · reopen · tick 10000 · hold h6 ana drop-1 1 → per_user_limit",
    );
}

#[test]
fn the_sale_has_a_window_and_a_switch() {
    check(
        "stock drop-1 9 opens 1000 closes 2000 · hold h1 ana drop-1 1 → sale_not_started · \
         tick 1000 · hold h2 ana drop-1 1 → held · tick 999 · hold h3 ana drop-1 1 → held · \
         tick 1 · hold h4 ana drop-1 1 → sale_ended · stock drop-1 9 off · \
         hold h5 ana drop-1 1 → sale_inactive · hold h6 bo drop-2 1 → product_not_found",
    );
}

#[test]
fn a_promotion_has_uses_in_all_and_for_each_buyer() {
    check(
        "stock drop-1 9 · promo TEN 10% uses 2 each 1 · hold h1 ana drop-1 2 TEN → held · \
         amount h1 3600 · hold h2 ana drop-1 1 TEN → promotion_exhausted · \
         hold h3 bo drop-1 1 TEN → held · hold h4 cy drop-1 1 TEN → promotion_exhausted · \
         hold h5 cy drop-1 1 NONE → promotion_not_found · release h1 → released · \
         hold h6 dan drop-1 1 TEN → held · reopen · hold h7 eve drop-1 1 TEN → promotion_exhausted",
    );
}

#[test]
fn a_sold_out_hold_takes_no_use_of_its_promotion() {
    check(
        "stock drop-1 1 · promo TEN 10% uses 1 each 1 · hold h1 ana drop-1 1 → held · \
         hold h2 bo drop-1 1 TEN → sold_out · release h1 → released · \
         hold h3 cy drop-1 1 TEN → held",
    );
}

#[test]
fn the_total_is_raised_and_lowered_but_never_below_what_is_committed() {
    check(
        "stock drop-1 2 · hold h1 ana drop-1 2 → held · stock drop-1 1 → stock_below_committed · \
         stock drop-1 3 · levels drop-1 1/2/0 · hold h2 bo drop-1 1 → held · release h1 → released · \
         stock drop-1 1 · levels drop-1 0/1/0 · hold h3 cy drop-1 1 → sold_out",
    );
}

#[test]
fn another_buyers_hold_is_not_found() {
    check("stock drop-1 1 · hold h1 ana drop-1 1 → held · pay h1 as bo → hold_not_found");
}

#[test]
fn state_goes_on_from_a_snapshot_and_the_log_behind_it() {
    check(
        "stock drop-1 5 · promo TEN 10% uses 9 · hold h1 ana drop-1 1 TEN → held · \
         buy p1 bo drop-1 2 → authorizing · snapshot · authorized p1 → authorized · \
         hold h2 cy drop-1 1 → held · snapshot · capturing p1 → capturing · reopen · \
         captured p1 → captured · levels drop-1 1/2/2 · snapshot · reopen · \
         release h1 → released · reopen · levels drop-1 2/1/2",
    );
}

// The wall clock. A day has 86400000 ms, an hour 3600000. A step that lasts for a minute is followed.

#[test]
fn a_wall_clock_that_is_wrong_for_a_second_changes_nothing() {
    for ms in ["691200000", "3600000", "301000", "34560000000", "-3600000"] {
        let back = ms.strip_prefix('-').map_or(format!("-{ms}"), str::to_owned);
        check(&format!(
            "stock drop-1 9 closes 400000 · hold h1 ana drop-1 1 → held · \
             buy p1 bo drop-1 1 → authorizing · tick 1000 · wall {ms} · \
             show h1 → held · hold h2 cy drop-1 1 → held · replay h1 → held · \
             hold h3 ana drop-1 1 → held · tick 1000 · wall {back} · \
             show h1 → held · replay h1 → held · replay h2 → held · hold h4 cy drop-1 1 → held · \
             tick 297999 · show h1 → held · tick 1 · show h1 → expired · \
             show h2 → held · tick 1000 · show h2 → expired · show h4 → held · tick 1000 · \
             show h4 → expired · hold h5 ana drop-1 1 → held · tick 98000 · \
             hold h6 ana drop-1 1 → sale_ended"
        ));
    }
}

#[test]
fn a_wall_clock_that_stays_wrong_is_followed_with_what_was_still_to_run() {
    for (ms, late) in [
        ("691200000", "sale_ended"),
        ("-3600000", "sale_not_started"),
    ] {
        check(&format!(
            "stock drop-1 9 · stock drop-2 9 opens 0 closes 3600000 · \
             hold h1 ana drop-1 1 → held · buy p1 bo drop-1 1 → authorizing · wall {ms} · \
             tick 59999 · hold h2 cy drop-2 1 → held · tick 1 · \
             hold h3 cy drop-2 1 → {late} · show h1 → held · reopen · show h1 → held · \
             replay h1 → held · replay h2 → held · snapshot · tick 239999 · show h1 → held · \
             reopen · show h1 → held · tick 1 · show h1 → expired · show h2 → held · tick 59999 · \
             show h2 → expired · hold h4 ana drop-1 1 → held"
        ));
    }
}

#[test]
fn attempts_keep_their_age_when_the_clock_is_corrected() {
    for ms in ["691200000", "-3600000"] {
        check(&format!(
            "stock drop-1 9 · wall {ms} · tick 55000 · hold h1 ana drop-1 1 → held · \
             hold h2 ana drop-1 1 → held · hold h3 ana drop-1 1 → held · \
             hold h4 ana drop-1 1 → held · hold h5 ana drop-1 1 → held · tick 5000 · \
             hold h6 ana drop-1 1 → rate_limited · reopen · hold h6 ana drop-1 1 → rate_limited · \
             tick 4999 · hold h6 ana drop-1 1 → rate_limited · tick 1 · hold h6 ana drop-1 1 → held"
        ));
    }
}
