//! What hangs on what in PostgreSQL: the actions and rewards of buyers on purchases, clawbacks on
//! the refund or the dispute that they come of; and that the proof notices what does not.

use serde_json::json;
use support::money::{id_of, part, put_rewarded, refund, spend};
use support::postgres_server::Postgres;
use support::postgres_server::tables::{assert_tables_are_the_log, events};
use support::signing::{Own, SECRETS, event};
use support::{ADMIN, Request, Server, Setup, until};

fn delivered(server: &Server) {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    let durable = status["durable_lsn"].as_u64();
    until("the sink has caught up", || {
        let sinks = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
        (sinks["sinks"][0]["cursor_lsn"].as_u64() >= durable).then_some(())
    });
}

fn buy(server: &Server, user: &str) -> String {
    let key = format!("key-links-{user}");
    let bought = server.ask(&Request::buy(user, "gift", "tok_ok", &key));
    assert_eq!(bought.status, 201, "{bought:?}");
    id_of(&bought.json())
}

#[test]
fn actions_and_rewards_belong_to_purchases_and_clawbacks_to_refunds_and_disputes() {
    let postgres = Postgres::start();
    let mut server = Setup::demo()
        .config(&format!(
            "{SECRETS}\n[report.batch]\nwait_ms = 5\n[report.postgres]\nurl = \"{}\"\n",
            postgres.url()
        ))
        .start();
    put_rewarded(&server, 10);
    let hold = server.ask(&Request::hold("ana", "gift", 1, "key-links-hold"));
    let hold = hold.json()["hold_id"].as_str().unwrap().to_owned();
    let released = Request::delete(&format!("/limited/holds/{hold}"));
    assert_eq!(server.ask(&released.key(support::SHOP)).status, 200);
    let [kept, refunded, spent, lost] =
        ["kept", "refunded", "spent", "lost"].map(|it| buy(&server, it));
    // Twice in part; all of it, after the tokens were spent; and by a dispute.
    for (number, before) in [(1, 0), (2, 500)] {
        let key = format!("key-links-part-{number}");
        assert_eq!(
            server
                .ask(&refund(&refunded, &key, &part(500, before)))
                .status,
            201
        );
    }
    assert_eq!(
        server.ask(&spend("spent", 8, "key-links-spend")).status,
        200
    );
    let whole = refund(
        &spent,
        "key-links-whole",
        &json!({"previously_refunded": 0, "reason": "all"}),
    );
    assert_eq!(server.ask(&whole).status, 201);
    let told = Own::new("nonce-links", &event("evt-links", "dispute.lost", &lost, 0));
    assert_eq!(server.ask(&told.request()).json()["status"], "processed");
    let refused = server.ask(&Request::buy("kept", "none", "tok_ok", "key-links-none"));
    assert_eq!(refused.status, 404);
    delivered(&server);

    let rewards = |purchase: &str| -> Vec<String> {
        postgres.column(&format!(
            "SELECT concat_ws(' ', reason, tokens, debt, moved_by, refund)
             FROM holdfast.purchase_rewards WHERE purchase_id = '{purchase}' ORDER BY lsn"
        ))
    };
    let granted = "granted 10 0 payment_captured";
    assert_eq!(rewards(&kept), [granted]);
    let parts = rewards(&refunded);
    assert_eq!((parts.len(), &parts[0][..]), (3, granted));
    for (number, row) in parts[1..].iter().enumerate() {
        assert!(row.starts_with("clawed_back -"), "{row}");
        assert!(
            row.ends_with(&format!(" refund_succeeded {}", number + 1)),
            "{row}"
        );
    }
    assert_eq!(
        rewards(&spent),
        [granted, "clawed_back -2 8 refund_succeeded 1"]
    );
    assert_eq!(
        rewards(&lost),
        [granted, "clawed_back -10 0 dispute_closed"]
    );
    let actions = |purchase: &str| -> Vec<String> {
        postgres.column(&format!(
            "SELECT concat_ws(' ', user_id, action, status) FROM holdfast.purchase_actions
             WHERE purchase_id = '{purchase}' ORDER BY lsn"
        ))
    };
    let purchase = hold.replacen("h_", "p_", 1);
    assert_eq!(actions(&purchase), ["ana hold_placed", "ana hold_released"]);
    assert_eq!(actions(&lost), ["lost payment_started charged_back"]);
    assert_eq!(actions(&kept), ["kept payment_started captured"]);

    server.terminate();
    server.wait();
    assert_tables_are_the_log(&postgres, &events(&server.data_dir));

    // The proof notices each link that is broken.
    for broken in [
        "UPDATE holdfast.user_actions SET purchase_id = NULL WHERE action = 'payment_started'",
        "UPDATE holdfast.user_actions SET purchase_id = 'p_other' WHERE action = 'hold_placed'",
        "UPDATE holdfast.user_actions SET user_id = 'other' WHERE action = 'attempt_refused'",
        "UPDATE holdfast.user_rewards SET purchase_id = NULL WHERE reason = 'granted'",
        "UPDATE holdfast.user_rewards SET reason = 'granted' WHERE reason = 'clawed_back'",
        "UPDATE holdfast.user_rewards SET user_id = 'other' WHERE reason = 'spent'",
        "DELETE FROM holdfast.shop_transactions WHERE user_id = 'kept'",
        "DELETE FROM holdfast.purchase_attempts WHERE flow = 'refund' AND user_id = 'spent'",
        "DELETE FROM holdfast.audit_log WHERE kind = 'dispute_closed'",
    ] {
        let noticed = "ASSERT (SELECT count(*) FROM holdfast.unlinked) > 0";
        let looked = format!("DO $$ BEGIN {noticed}, 'nothing is noticed'; END $$");
        postgres.execute(&format!("BEGIN; {broken}; {looked}; ROLLBACK"));
    }
}

/// What the tables say of a purchase's money and disputes; and that the ledger agrees.
fn disputed(postgres: &Postgres, purchase: &str) -> (String, Vec<String>) {
    for view in ["revenue_mismatch", "ledger_unbalanced", "unlinked"] {
        let found: Vec<String> =
            postgres.column(&format!("SELECT count(*)::text FROM holdfast.{view}"));
        assert_eq!(found, ["0"], "{view}");
    }
    let row: Vec<String> = postgres.column(&format!(
        "SELECT concat_ws(' ', status, refunded_amount, charged_back_amount, dispute)
         FROM holdfast.shop_transactions WHERE purchase_id = '{purchase}'"
    ));
    let booked: Vec<String> = postgres.column(&format!(
        "SELECT amount::text FROM holdfast.ledger_entries
         WHERE purchase_id = '{purchase}' AND account = 'chargebacks' ORDER BY lsn"
    ));
    (row[0].clone(), booked)
}

#[test]
fn disputes_are_booked_at_their_own_amounts_and_booked_back_where_they_are_won() {
    let postgres = Postgres::start();
    let mut server = Setup::demo()
        .config(&format!(
            "{SECRETS}\n[report.batch]\nwait_ms = 5\n[report.postgres]\nurl = \"{}\"\n",
            postgres.url()
        ))
        .start();
    put_rewarded(&server, 10);
    let id = buy(&server, "ana");
    let tell = |place: u64, kind: &str, amount: u64| {
        let name = format!("evt-{place}");
        let body = event(&name, &format!("dispute.{kind}"), &id, 100 - place);
        let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["data"]["amount"] = amount.into();
        let told = Own::new(&name, &body.to_string()).request();
        assert_eq!(server.ask(&told).json()["status"], "processed");
        delivered(&server);
    };
    let expect = |row: &str, booked: &[&str]| {
        let (found, entries) = disputed(&postgres, &id);
        assert_eq!((found.as_str(), entries), (row, strings(booked)));
    };
    tell(1, "opened", 500);
    expect("disputed 0 0 opened", &[]);
    tell(2, "lost", 500);
    expect("captured 0 500 lost", &["500"]);
    // Its tokens are spent by now: what is asked back is owed.
    let spent = server.ask(&spend("ana", 8, "key-links-disputed"));
    assert_eq!(spent.status, 200, "{spent:?}");
    tell(3, "lost", 1_499);
    expect("charged_back 0 1999 lost", &["500", "1499"]);
    tell(4, "opened", 100);
    expect("disputed 0 1999 opened", &["500", "1499"]);
    tell(5, "won", 100);
    expect("charged_back 0 1999 won", &["500", "1499"]);
    tell(6, "won", 1_499);
    expect("captured 0 500 won", &["500", "1499", "-1499"]);
    tell(7, "won", 500);
    expect("captured 0 0 won", &["500", "1499", "-1499", "-500"]);
    let rewards: Vec<String> = postgres.column(&format!(
        "SELECT concat_ws(' ', reason, tokens, debt) FROM holdfast.user_rewards
         WHERE purchase_id = '{id}' ORDER BY lsn"
    ));
    let expected = [
        "granted 10 0",
        "clawed_back -2 0",
        "clawed_back 0 8",
        "given_back 0 -8",
        "given_back 2 0",
    ];
    assert_eq!(rewards, expected);
    let risk = "SELECT concat_ws(' ', disputes, chargebacks) FROM holdfast.risk_profiles";
    assert_eq!(postgres.column::<String>(risk), ["2 0"]);
    server.terminate();
    server.wait();
    assert_tables_are_the_log(&postgres, &events(&server.data_dir));

    // Nothing else lowers what disputes took.
    let by_hand = "UPDATE holdfast.shop_transactions SET charged_back_amount = 7";
    let refused = "WHEN integrity_constraint_violation THEN RETURN";
    postgres.execute(&format!(
        "DO $$ BEGIN {by_hand}; RAISE 'it was taken'; EXCEPTION {refused}; END $$"
    ));
}

fn strings(of: &[&str]) -> Vec<String> {
    of.iter().map(|it| (*it).to_owned()).collect()
}
