//! What ended leaves memory: as events come, a shard keeps what is open, and no bound is one for
//! life.

use super::{BEGIN, hold_of, neighbour_of, open, put_product, release, reopened};
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::{PurchaseId, ShardId, UserId};
use holdfast::journal::{Journal, JournalOptions, ManualClock};
use std::path::Path;
use std::sync::Arc;
use support::signing::{Own, SECRETS, event, tell};
use support::{ADMIN, Request, SHOP, Server, Setup, until};

/// Buyers of one shard.
fn users(shard: ShardId) -> impl Iterator<Item = UserId> {
    let users = (0..).map(|number| UserId::parse(&format!("u-{number}")).expect("an id"));
    users.filter(move |user| ShardId::of(user) == shard)
}

fn sizes(journal: &Journal) -> (usize, usize, usize) {
    let status = journal.figures().status();
    (status.buyers, status.purchases, status.keys)
}

/// Room for a few of each in a shard; keys and ended holds are kept for a minute.
fn small(directory: &Path, clock: &ManualClock) -> Arc<Journal> {
    open(directory, clock, |options: &mut JournalOptions| {
        let engine = &mut options.engine;
        engine.idempotency_retention_ms = 60_000;
        engine.ended_keep_ms = 60_000;
        engine.bounds.buyers_max = 20;
        engine.bounds.purchases_max = 20;
        engine.bounds.keys_max = 20;
        engine.bounds.keys_per_user_max = 10;
    })
}

#[test]
fn a_shard_takes_more_holds_than_it_can_keep_one_after_the_other() {
    let kept = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(BEGIN);
    let mut journal = small(kept.path(), &clock);
    put_product(&journal);
    let mut most = (0, 0, 0);
    for (round, user) in users(ShardId::new(7)).take(500).enumerate() {
        clock.advance_ms(5_000);
        journal.upkeep().sweep().expect("the log takes it");
        let key = u8::try_from(round % 250).expect("few");
        let held = hold_of(&journal, user.as_str(), key).expect("there is room again");
        if round % 2 == 0 {
            release(&journal, held);
        }
        let (buyers, purchases, keys) = sizes(&journal);
        most = (most.0.max(buyers), most.1.max(purchases), most.2.max(keys));
        if round % 100 == 50 {
            journal.upkeep().snapshot().expect("it is written");
        }
        if round % 100 == 75 {
            // Within the first minute after a start nothing is forgotten.
            journal = reopened(journal, small, kept.path(), &clock);
            clock.advance_ms(60_000);
        }
    }
    assert!(most.0 <= 20 && most.1 <= 20 && most.2 <= 20, "{most:?}");
    journal.close();
    drop(journal);
    let checked =
        holdfast::journal::check(kept.path(), &EngineSettings::default()).expect("it is clean");
    assert!(checked.purchases <= 20, "{checked:?}");
}

#[test]
fn a_hold_is_kept_as_long_as_a_key_names_it_whatever_the_clock_does() {
    let kept = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(BEGIN);
    let mut journal = small(kept.path(), &clock);
    put_product(&journal);
    clock.advance_ms(60_000);
    journal.upkeep().sweep().expect("the clock is believed");
    let held = hold_of(&journal, "mallory", 1).expect("the first");
    release(&journal, held);
    // An hour back: the end of the hold becomes older by as much, its key does not.
    clock.step_ms(-3_600_000);
    journal.upkeep().sweep().expect("the log takes it");
    clock.advance_ms(60_000);
    journal.upkeep().sweep().expect("the log takes it");
    assert!(journal.now() < BEGIN, "the clock was corrected");
    for _ in 0..3 {
        hold_of(&journal, "mallory", 2).ok();
        assert_eq!(hold_of(&journal, "mallory", 1), Ok(held), "a replay");
        journal = reopened(journal, small, kept.path(), &clock);
        assert!(
            journal.reads().hold(held).is_some(),
            "its key is remembered"
        );
        journal.upkeep().snapshot().expect("it is written");
    }
    let neighbour = neighbour_of("mallory");
    let mut waits_ms = 0;
    for key in 100.. {
        clock.advance_ms(11_000);
        waits_ms += 11_000;
        journal.upkeep().sweep().expect("the log takes it");
        let next = hold_of(&journal, &neighbour, key).expect("there is room");
        release(&journal, next);
        if journal.reads().hold(held).is_none() {
            break;
        }
        assert!(waits_ms < 120_000, "for one retention at most");
    }
    assert!(
        waits_ms >= 60_000,
        "the key was kept for a retention: {waits_ms} ms"
    );
    assert_ne!(hold_of(&journal, "mallory", 1), Ok(held), "its key is free");
    assert!(journal.reads().has_forgotten(held));
    let never = PurchaseId::new(held.shard(), held.sequence() + 1_000, held.tag());
    assert!(!journal.reads().has_forgotten(never));
    journal.close();
    drop(journal);
    holdfast::journal::check(kept.path(), &EngineSettings::default()).expect("it is clean");
}

fn counts(server: &Server) -> [u64; 3] {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    ["buyers", "purchases", "idempotency_keys"].map(|name| status[name].as_u64().unwrap())
}

#[test]
fn forgotten_holds_are_gone_for_clients_operators_and_gateways() {
    let server = Setup::demo()
        .config(SECRETS)
        .config("[limits]\nrate = { count = 1000, per_s = 1 }")
        .config("[idempotency]\nretention_s = 1\n[engine]\nended_keep_s = 2")
        .config("[clock]\nsettle_s = 1")
        .start();
    server.put_product("watch", 1_000);
    let first = server.ask(&Request::hold("ana", "watch", 1, "key-first"));
    let first = first.json()["hold_id"].as_str().unwrap().to_owned();
    let path = format!("/limited/holds/{first}");
    assert_eq!(server.ask(&Request::delete(&path).key(SHOP)).status, 200);
    let declined = server.ask(&Request::buy(
        "ana",
        "watch",
        "tok_declined",
        "key-declined",
    ));
    assert_eq!(declined.status, 402, "{declined:?}");
    let declined = declined.json()["purchase_id"].as_str().unwrap().to_owned();
    let bought = server.ask(&Request::buy("ana", "watch", "tok_ok", "key-bought"));
    assert_eq!(bought.status, 201, "{bought:?}");
    let bought = bought.json()["purchase_id"].as_str().unwrap().to_owned();

    let purchase = |id: &str| {
        let path = format!("/limited/purchases/{id}");
        server.ask(&Request::get(&path).key(SHOP)).status
    };
    let mut number = 0;
    let hold_and_release = |number: &mut u64| {
        *number += 1;
        let key = format!("key-next-{number}");
        let placed = server.ask(&Request::hold("ana", "watch", 1, &key));
        assert_eq!(placed.status, 201, "{placed:?}");
        let id = placed.json()["hold_id"].as_str().unwrap().to_owned();
        let path = format!("/limited/holds/{id}");
        assert_eq!(server.ask(&Request::delete(&path).key(SHOP)).status, 200);
    };
    until("both are forgotten, as events come", || {
        hold_and_release(&mut number);
        (purchase(&declined) == 404).then_some(())
    });
    let gone = server.ask(&Request::get(&format!("/limited/holds/{first}")).key(SHOP));
    assert_eq!((gone.status, gone.reason()), (404, "hold_not_found".into()));
    let again = server.ask(&Request::delete(&path).key(SHOP));
    assert_eq!(
        (again.status, again.reason()),
        (404, "hold_not_found".into())
    );
    assert_eq!(purchase(&bought), 200, "what was paid stays");
    for act in ["void", "settle"] {
        let path = format!("/admin/purchases/{declined}/{act}");
        let body = serde_json::json!({"as": "voided", "note": "asked the bank"});
        let request = Request::post(&path).key(ADMIN);
        let request = match act {
            "void" => request,
            _ => request.json(&body),
        };
        let told = server.ask(&request);
        assert_eq!(
            (told.status, told.reason()),
            (404, "purchase_not_found".into())
        );
    }
    let pays = Request::buy("ana", "watch", "tok_ok", "key-late");
    let mut body: serde_json::Value = serde_json::from_slice(&pays.body).unwrap();
    body["hold_id"] = first.as_str().into();
    let pays = Request::post("/limited/buy").key(SHOP).once("key-late");
    let late = server.ask(&pays.json(&body));
    assert_eq!((late.status, late.reason()), (404, "hold_not_found".into()));

    // The gateway says late that it took money for one of them.
    let body = event("evt-late", "payment.captured", &declined, 0);
    assert_eq!(
        tell(&server, &Own::new("nonce-late", &body).request()),
        "ignored"
    );
    let line = server.log.wait_for("webhook_of_forgotten").unwrap();
    assert_eq!(line["purchase_id"], declined.as_str());
    // However many there were, those of the last seconds are kept.
    until("most of all holds are forgotten", || {
        hold_and_release(&mut number);
        let [buyers, purchases, keys] = counts(&server);
        assert_eq!(buyers, 1);
        (3 * purchases < number && 3 * keys < number).then_some(())
    });
    server.stop();
}

#[test]
fn a_start_forgets_nothing_before_its_clock_is_believed() {
    let kept = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(BEGIN);
    let mut journal = small(kept.path(), &clock);
    put_product(&journal);
    let held = hold_of(&journal, "mallory", 1).expect("the first");
    release(&journal, held);
    clock.advance_ms(10 * 86_400_000);
    journal = reopened(journal, small, kept.path(), &clock);
    let second = hold_of(&journal, "mallory", 2).expect("the second");
    assert!(
        journal.reads().hold(held).is_some(),
        "ten days may be an hour"
    );
    clock.advance_ms(60_000);
    hold_of(&journal, "mallory", 3).expect("the third");
    assert!(journal.reads().hold(held).is_none());
    assert!(journal.reads().hold(second).is_some());
    reopened(journal, small, kept.path(), &clock);
}
