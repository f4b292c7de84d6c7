//! What hangs on what in PostgreSQL: the actions and rewards of buyers on purchases, clawbacks on the
//! refund or the dispute that they come of; and that the proof notices what does not.

mod postgres_server;
mod support;

use postgres_server::Postgres;
use postgres_server::tables::{assert_tables_are_the_log, events};
use serde_json::json;
use support::money::{id_of, part, put_rewarded, refund, spend};
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
fn actions_and_rewards_hang_on_purchases_and_clawbacks_on_what_took_the_money_back() {
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
