//! Quotas of one buyer: open holds and idempotency keys. What waits are told, what is still
//! answered, and what the others in the same shard notice: nothing.

mod forgetting;

use holdfast::engine::command::ReleaseHold;
use holdfast::engine::event::{IdempotencyKey, Origin};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::settings::RateLimit;
use holdfast::ids::{Digest16, KeyOwner, Lsn, ProductId, PurchaseId, RequestId, ShardId, UserId};
use holdfast::journal::{Clock, Journal, JournalOptions, ManualClock, read_log};
use holdfast::time::UnixMs;
use holdfast::trace::{Scoped, TraceContext};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use support::commands;
use support::{ADMIN, Request, SHOP, Server, Setup};

const BEGIN: UnixMs = UnixMs::new(1_800_000_000_000);
const HOLD_TTL_MS: u64 = 10_000;
const RETENTION_MS: u64 = 600_000;

fn open(
    directory: &Path,
    clock: &ManualClock,
    change: impl FnOnce(&mut JournalOptions),
) -> Arc<Journal> {
    let mut options = JournalOptions::new(directory);
    options.clock = Clock::Manual(clock.clone());
    options.log.disk_free_bytes_min = 0;
    options.log.segment_bytes = 2 << 20;
    let engine = &mut options.engine;
    engine.rate = RateLimit {
        count: 1_000,
        window_ms: 1,
    };
    engine.hold_ttl_ms = HOLD_TTL_MS;
    engine.idempotency_retention_ms = RETENTION_MS;
    engine.bounds.open_holds_per_user_max = 2;
    engine.bounds.keys_per_user_max = 5;
    change(&mut options);
    Journal::open(options, &mut |_| {}).expect("it opens")
}

fn put_product(journal: &Journal) {
    let set = commands::product_set(ProductId::parse("drop-1").expect("an id"), 1_000);
    let put = journal.catalogue().put_product(set);
    put.expect("it is written");
}

fn origin(key: Option<u8>) -> Origin {
    Origin {
        request: RequestId(1),
        owner: KeyOwner::parse("shop").expect("an id"),
        key: key.map(|key| IdempotencyKey {
            scope: Digest16([key; 16]),
            fingerprint: Digest16([key; 16]),
        }),
        ip: None,
        device: None,
    }
}

/// The hold, or how long to wait, in milliseconds.
fn hold(journal: &Journal, key: u8) -> Result<PurchaseId, u64> {
    hold_of(journal, "mallory", key)
}

fn hold_of(journal: &Journal, user: &str, key: u8) -> Result<PurchaseId, u64> {
    let command = commands::hold(
        UserId::parse(user).expect("an id"),
        ProductId::parse("drop-1").expect("an id"),
        origin(Some(key)),
    );
    match journal.place_hold(&command).expect("the log runs").outcome {
        Ok(held) => Ok(held.purchase),
        Err(refused) => {
            assert_eq!(refused.reason, Refusal::RateLimited);
            Err(refused.retry_after_ms.expect("it is told when"))
        }
    }
}

fn release(journal: &Journal, hold: PurchaseId) {
    let command = ReleaseHold {
        origin: origin(None),
        hold,
        user: None,
    };
    let told = journal.release_hold(&command).expect("the log runs");
    assert!(told.outcome.is_ok(), "{told:?}");
}

/// A restart changes neither the state nor what is told.
fn reopened(
    journal: Arc<Journal>,
    open: impl FnOnce(&Path, &ManualClock) -> Arc<Journal>,
    directory: &Path,
    clock: &ManualClock,
) -> Arc<Journal> {
    let digest = journal.upkeep().digest();
    journal.close();
    drop(journal);
    let journal = open(directory, clock);
    assert_eq!(journal.upkeep().digest(), digest);
    journal
}

#[test]
fn retry_after_is_until_a_hold_ends_or_a_key_is_forgotten() {
    let kept = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(BEGIN);
    let plain = |directory: &Path, clock: &ManualClock| open(directory, clock, |_| {});
    let mut journal = plain(kept.path(), &clock);
    put_product(&journal);
    hold(&journal, 1).expect("the first");
    clock.advance_ms(3_000);
    let second = hold(&journal, 2).expect("the second");
    clock.advance_ms(1_000);
    for _ in 0..2 {
        assert_eq!(hold(&journal, 3), Err(HOLD_TTL_MS - 4_000), "both are open");
        journal = reopened(journal, plain, kept.path(), &clock);
    }
    clock.advance_ms(HOLD_TTL_MS - 4_001);
    assert_eq!(hold(&journal, 3), Err(1));
    clock.advance_ms(1);
    let third = hold(&journal, 3).expect("the first has expired");
    release(&journal, second);
    let fourth = hold(&journal, 4).expect("the second is released");
    release(&journal, third);
    release(&journal, fourth);

    let fifth = hold(&journal, 5).expect("the fifth key");
    release(&journal, fifth);
    for _ in 0..2 {
        let first_is_kept_until = RETENTION_MS - HOLD_TTL_MS;
        assert_eq!(hold(&journal, 6), Err(first_is_kept_until), "five keys");
        assert_eq!(hold(&journal, 5), Ok(fifth), "a known key is answered");
        journal.upkeep().snapshot().expect("it is written");
        journal = reopened(journal, plain, kept.path(), &clock);
    }
    clock.advance_ms(RETENTION_MS - HOLD_TTL_MS - 1);
    assert_eq!(hold(&journal, 6), Err(1));
    clock.advance_ms(1);
    hold(&journal, 6).expect("the first key is out of its retention");
    assert_eq!(hold(&journal, 7), Err(3_000), "until the second is");
}

/// Another buyer of the same shard.
fn neighbour_of(user: &str) -> String {
    let shard = ShardId::of(&UserId::parse(user).unwrap());
    let names = (0..).map(|number| format!("neighbour-{number}"));
    let mut near = names.filter(|it| ShardId::of(&UserId::parse(it).unwrap()) == shard);
    near.next().unwrap()
}

fn keys(server: &Server) -> u64 {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN));
    status.json()["idempotency_keys"].as_u64().unwrap()
}

#[test]
fn one_account_cannot_take_the_room_of_its_neighbour_in_the_shard() {
    // The shard has room for ten keys; without quotas mallory has all of them.
    let server = Setup::demo()
        .config("[limits]\nrate = { count = 1000, per_s = 1 }")
        .config("[engine]\nkeys_max = 10\nkeys_per_user_max = 6\nopen_holds_per_user_max = 3")
        .start();
    server.put_product("watch", 100);
    let place = |user: &str, key: &str| server.ask(&Request::hold(user, "watch", 1, key));
    let mut held = Vec::new();
    for number in 0..3 {
        let answer = place("mallory", &format!("key-mallory-{number}"));
        assert_eq!(answer.status, 201, "{answer:?}");
        held.push(answer.json()["hold_id"].as_str().unwrap().to_owned());
    }
    let fourth = place("mallory", "key-mallory-3");
    assert_eq!(
        (fourth.status, fourth.reason()),
        (429, "rate_limited".into())
    );
    let told = fourth.json();
    assert_eq!(
        (&told["scope"], &told["limit"]),
        (&"open_holds".into(), &3.into())
    );
    let wait_s: u64 = fourth.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait_s), "until a hold ends: {wait_s} s");
    let policy = fourth.header("ratelimit-policy");
    assert_eq!(policy, Some("\"open_holds\";q=3"));
    let left = format!("\"open_holds\";r=0;t={wait_s}");
    assert_eq!(fourth.header("ratelimit"), Some(left.as_str()));
    assert_eq!(
        told["detail"],
        "A buyer may have at most 3 open holds at once, and has reached that. Try again after the seconds in Retry-After."
    );
    assert_eq!(place("mallory", "key-mallory-0").status, 201, "a replay");
    let bought = server.ask(&Request::buy("mallory", "watch", "tok_ok", "key-mallory-3"));
    assert_eq!(bought.status, 201, "a purchase is no open hold");

    let path = format!("/limited/holds/{}", held[0]);
    assert_eq!(server.ask(&Request::delete(&path).key(SHOP)).status, 200);
    for number in 4..6 {
        let answer = place("mallory", &format!("key-mallory-{number}"));
        assert_eq!(answer.status, 201, "{answer:?}");
        let path = format!(
            "/limited/holds/{}",
            answer.json()["hold_id"].as_str().unwrap()
        );
        assert_eq!(server.ask(&Request::delete(&path).key(SHOP)).status, 200);
    }
    for number in 6..20 {
        let key = format!("key-mallory-{number}");
        let answer = server.ask(&Request::buy("mallory", "watch", "tok_ok", &key));
        assert_eq!(answer.status, 429, "{answer:?}");
        let wait_s: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((604_000..=604_800).contains(&wait_s), "a week: {wait_s} s");
        let policy = answer.header("ratelimit-policy");
        assert_eq!(policy, Some("\"idempotency_keys\";q=6;w=604800"));
        assert_eq!(answer.json()["scope"], "idempotency_keys");
    }
    assert_eq!(keys(&server), 6);
    let neighbour = neighbour_of("mallory");
    let answer = server.ask(&Request::buy(
        &neighbour,
        "watch",
        "tok_ok",
        "key-neighbour",
    ));
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn a_bound_that_is_neared_shows_in_the_metrics_and_once_in_the_log() {
    let server = Setup::demo()
        .config("[limits]\nrate = { count = 1000, per_s = 1 }")
        .config("[engine]\npurchases_max = 10\nkeys_max = 100\nproducts_max = 3\nbuyers_max = 1000")
        .start();
    let memory = server.log.wait_for("memory_bound").unwrap();
    let of = |name: &str| memory[name].as_u64().unwrap();
    let kinds = ["buyers", "purchases", "keys", "velocity", "amounts", "ring"];
    let sum: u64 = kinds.iter().map(|it| of(&format!("{it}_bytes"))).sum();
    assert_eq!(of("bytes"), sum);
    assert!(of("purchases_bytes") > 256 * 10 * 400, "{memory}");
    assert!(of("machine_bytes") > 1 << 28, "{memory}");

    server.put_product("watch", 100);
    let ratio = |bound: &str| {
        let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
        let name = format!("holdfast_bound_used_ratio{{bound=\"{bound}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let near = || {
        let lines = server.log.lines();
        let near = lines.iter().filter(|line| line.contains("bound_near"));
        near.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .collect::<Vec<_>>()
    };
    let place = |number: u32| {
        let key = format!("key-mallory-{number}");
        server
            .ask(&Request::hold("mallory", "watch", 1, &key))
            .status
    };
    assert_eq!(ratio("purchases"), "0");
    for number in 0..7 {
        assert_eq!(place(number), 201);
    }
    assert_eq!(ratio("purchases"), "0.7");
    assert_eq!(ratio("idempotency_keys"), "0.07");
    assert_eq!(ratio("buyers"), "0.001");
    assert_eq!(ratio("products"), "0.666666", "the demo's and this one");
    assert_eq!(near(), [] as [serde_json::Value; 0]);
    for number in 7..10 {
        assert_eq!(place(number), 201);
    }
    assert_eq!(place(10), 503);
    assert_eq!(ratio("purchases"), "1");
    let line = server.log.wait_for("bound_near").unwrap();
    let shard = ShardId::of(&UserId::parse("mallory").unwrap()).index();
    assert_eq!(line["bound"], "purchases");
    assert_eq!(line["maximum"], 10);
    assert_eq!(line["shard"], shard);
    assert_eq!(line["setting"], "engine.purchases_max");
    assert!((8..=10).contains(&line["used"].as_u64().unwrap()), "{line}");
    server.put_product("second", 100);
    let two = support::until("another bound is near", || {
        let near = near();
        (near.len() > 1).then_some(near)
    });
    assert_eq!(two.len(), 2, "each is told once: {two:?}");
    assert_eq!(two[1]["bound"], "products");
    server.stop();
}

#[test]
fn a_start_warns_where_the_bounds_are_more_than_the_machine_can_hold() {
    let server = Setup::demo()
        .config("[engine]\npurchases_max = 4000000000")
        .start();
    let line = server.log.wait_for("memory_bound_large").unwrap();
    let of = |name: &str| line[name].as_u64().unwrap();
    assert!(of("bytes") > of("machine_bytes"), "{line}");
    server.stop();
}

#[test]
fn a_hold_that_expires_in_the_turn_of_a_request_is_not_of_its_trace() {
    let kept = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(BEGIN);
    let journal = open(kept.path(), &clock, |_| {});
    put_product(&journal);
    hold(&journal, 1).expect("the first");
    clock.advance_ms(HOLD_TTL_MS);
    let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let context = TraceContext::parse(parent).expect("it is one");
    let held = Scoped::new(Some(context.into()), async { hold(&journal, 2).map(drop) });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(held).expect("the second");
    assert_eq!(holdfast::trace::current(), None, "the trace has ended");
    journal.close();
    drop(journal);
    let mut traces = Vec::new();
    read_log(kept.path(), Lsn(0), None, &mut |entry| {
        traces.push((entry.event.kind(), entry.trace));
        ControlFlow::Continue(())
    })
    .expect("it is read");
    let holds: Vec<_> = traces
        .iter()
        .filter(|it| it.0.starts_with("hold_"))
        .collect();
    let expected = [
        ("hold_placed", None),
        ("hold_expired", None),
        ("hold_placed", Some(context)),
    ];
    assert_eq!(holds, expected.iter().collect::<Vec<_>>());
}
