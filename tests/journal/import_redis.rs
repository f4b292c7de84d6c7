//! `holdfast import redis` against a real `redis-server`: what the shop's Python and Lua left
//! there is taken over, once, and the core goes on from it.

use redis::Commands;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use support::signing::{self, SECRETS};
use support::{ADMIN, Request, Setup, free_port, until};

/// A private Redis.
struct Redis {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Redis {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args([
                "--requirepass",
                "secret-of-redis",
                "--port",
                &port.to_string(),
            ])
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not installed: run `./dev servers` once");
        let redis = Self {
            child,
            port,
            _dir: dir,
        };
        until("the Redis answers", || {
            let mut connection = redis.try_connect()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        });
        redis
    }

    fn url(&self) -> String {
        format!("redis://:secret-of-redis@127.0.0.1:{}/", self.port)
    }

    fn try_connect(&self) -> Option<redis::Connection> {
        redis::Client::open(self.url()).ok()?.get_connection().ok()
    }

    fn connect(&self) -> redis::Connection {
        self.try_connect().expect("it answers")
    }

    fn set(&self, pairs: &[(&str, &str)]) {
        let mut connection = self.connect();
        for (key, value) in pairs {
            let () = connection.set(key, value).unwrap();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a shop leaves behind.
fn a_shop() -> Redis {
    let redis = Redis::start();
    redis.set(&[
        ("product:drop-1:stock", "95"),
        ("user:ana:product:drop-1:count", "3"),
        ("user:bo:product:drop-1:count", "2"),
        ("product:other:stock", "7"),
        ("product:other:sold", "13"),
        (
            "idem:key-of-old-ana",
            r#"{"user_id": "ana", "status": "done"}"#,
        ),
        ("idem:key-of-nobody", "done"),
        ("nonce:nonce-of-before", "1"),
        ("nonce:nonce-of-old", "1"),
        ("promo:EARLY:uses", "4"),
        ("promo:NEVER-SET:uses", "1"),
        ("product:broken:stock", "many"),
        ("product:negative:stock", "-3"),
        ("product:huge:stock", "9000000"),
        ("session:1", "something else"),
    ]);
    let mut connection = redis.connect();
    let () = connection.rpush("product:list:stock", "1").unwrap();
    redis
}

fn import(redis: &Redis, dir: &Path, more: &[&str]) -> Output {
    let scratch = tempfile::tempdir().unwrap();
    let mapping = scratch.path().join("mapping.toml");
    // The name of the demo's key; everything else as usual.
    std::fs::write(&mapping, "key_owner = \"demo-shop\"").unwrap();
    let mut command = support::binary();
    command.args(["import", "redis", "--demo", "--json", "--url", &redis.url()]);
    command.arg("--data-dir").arg(dir).args(more);
    if !more.contains(&"--mapping") {
        command.arg("--mapping").arg(&mapping);
    }
    command.output().unwrap()
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let both = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        !both.contains("secret-of-redis"),
        "a secret is shown: {both}"
    );
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {both}"))
}

fn row(report: &Value, what: &str) -> [u64; 4] {
    let row = &report["rows"][what];
    ["taken", "there", "skipped", "conflicts"].map(|it| row[it].as_u64().unwrap())
}

fn log_of(dir: &Path) -> String {
    let output = support::binary().arg("log").arg(dir).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn checked(dir: &Path) -> Value {
    let output = support::binary().arg("check").arg(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The demo's directory with a promotion, stopped.
fn a_core(dir: &Path) {
    let server = Setup::demo().data_dir(dir).start();
    let promotion = json!({
        "percent_off": 10, "uses_max": 6, "uses_per_user_max": null,
        "starts_at": null, "ends_at": null, "active": true,
    });
    let set = Request::put("/admin/promotions/EARLY")
        .key(ADMIN)
        .json(&promotion);
    assert_eq!(server.ask(&set).status, 201);
    server.stop();
}

#[test]
fn the_data_in_redis_is_shown_then_imported_then_present() {
    let (redis, dir) = (a_shop(), tempfile::tempdir().unwrap());
    let dir = dir.path().join("data");
    a_core(&dir);
    let before = log_of(&dir);

    let dry = import(&redis, &dir, &[]);
    assert_eq!(
        dry.status.code(),
        Some(1),
        "some of it cannot be taken without loss"
    );
    let dry = report(&dry);
    assert_eq!(log_of(&dir), before, "a dry run writes nothing");
    assert_eq!(dry["applied"], false);
    let expected = [
        ("stock", [2, 0, 0, 4]),
        ("holdings", [2, 0, 0, 0]),
        ("keys", [1, 0, 0, 1]),
        ("nonces", [2, 0, 0, 0]),
        ("promotions", [1, 0, 0, 1]),
    ];
    for (what, figures) in expected {
        assert_eq!(row(&dry, what), figures, "{what}: {dry}");
    }
    let conflicts = dry["conflicts"].to_string();
    for why in [
        "not a whole number",
        "negative",
        "not a string",
        "user_id",
        "no such promotion",
    ] {
        assert!(conflicts.contains(why), "{why}: {conflicts}");
    }

    let refused = import(&redis, &dir, &["--apply"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(report(&refused)["applied"], false);
    assert_eq!(
        log_of(&dir),
        before,
        "where anything conflicts nothing is applied"
    );

    let skip = ["--apply", "--skip-conflicts"];
    let applied = import(&redis, &dir, &skip);
    assert!(applied.status.success(), "{applied:?}");
    let applied = report(&applied);
    assert_eq!(applied["applied"], true);
    for (what, figures) in expected {
        assert_eq!(row(&applied, what), figures, "{what}");
    }
    let figures = checked(&dir);
    let product = |id: &str| {
        let products = figures["products"].as_array().unwrap();
        products
            .iter()
            .find(|it| it["product_id"] == id)
            .unwrap()
            .clone()
    };
    assert_eq!(product("drop-1")["sold"], 5);
    assert_eq!(product("drop-1")["available"], 95);
    assert_eq!(product("other")["sold"], 13);
    assert_eq!(product("other")["total"], 20);
    let promotions = figures["promotions"].as_array().unwrap();
    let early = promotions.iter().find(|it| it["code"] == "EARLY").unwrap();
    assert_eq!(early["uses"], 4);

    let after = log_of(&dir);
    let again = report(&import(&redis, &dir, &skip));
    assert_eq!(log_of(&dir), after, "the same import again changes nothing");
    for (what, [taken, there, skipped, conflicts]) in expected {
        assert_eq!(
            row(&again, what),
            [0, taken + there, skipped, conflicts],
            "{what}"
        );
    }

    // Two more are sold over there before the switch.
    redis.set(&[
        ("product:drop-1:stock", "93"),
        ("user:bo:product:drop-1:count", "4"),
    ]);
    let more = report(&import(&redis, &dir, &skip));
    assert_eq!(row(&more, "stock")[..2], [1, 1]);
    assert_eq!(row(&more, "holdings")[..2], [1, 1]);
    the_core_goes_on_from_it(&dir);
}

fn the_core_goes_on_from_it(dir: &Path) {
    let server = Setup::demo().data_dir(dir).config(SECRETS).start();
    assert_eq!(server.stock("drop-1"), [100, 0, 7, 93]);
    let product = server
        .ask(&Request::get("/admin/products/drop-1").key(ADMIN))
        .json();
    let limit = product["per_user_limit"]
        .as_u64()
        .expect("the demo has one");

    // What a buyer bought over there counts for the limit here.
    let left = limit.saturating_sub(4);
    let over = Request::hold("bo", "drop-1", left + 1, "key-over-limit");
    let over = server.ask(&over);
    assert_eq!(
        (over.status, over.reason().as_str()),
        (409, "per_user_limit")
    );

    // A key that was used over there never leads to a second purchase.
    let old = Request::buy("ana", "drop-1", "tok_ok", "key-of-old-ana");
    for _ in 0..2 {
        let answer = server.ask(&old);
        let told = (answer.status, answer.reason());
        assert_eq!(told, (409, "idempotency_outcome_elsewhere".to_owned()));
    }
    let other = Request::buy("cy", "drop-1", "tok_ok", "key-of-old-ana");
    assert_eq!(
        server.ask(&other).status,
        201,
        "another buyer's key is another key"
    );

    // A nonce that was used over there is used.
    let event = signing::event("evt-1", "payment.captured", "p_1", 0);
    let replayed = signing::Own::new("nonce-of-before", &event).request();
    let replayed = server.ask(&replayed);
    assert_eq!(
        (replayed.status, replayed.reason().as_str()),
        (409, "replayed_nonce")
    );

    let snapshot = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert!(snapshot.status < 300, "{snapshot:?}");
    let status = server
        .ask(&Request::get("/admin/products/drop-1").key(ADMIN))
        .json();
    server.stop();
    let figures = checked(dir);
    assert_eq!(
        figures["digest_from"], "both",
        "snapshot and log agree on baselines"
    );
    let server = Setup::demo().data_dir(dir).start();
    let again = server
        .ask(&Request::get("/admin/products/drop-1").key(ADMIN))
        .json();
    assert_eq!(again, status, "baselines come back from the snapshot");
    let answer = server.ask(&old);
    assert_eq!(answer.reason(), "idempotency_outcome_elsewhere");
}

#[test]
fn stock_that_contradicts_the_core_is_a_conflict_and_nothing_of_it_is_taken() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    let dir = dir.path().join("data");
    a_core(&dir);
    redis.set(&[("product:drop-1:stock", "40"), ("promo:EARLY:uses", "7")]);
    let before = checked(&dir);
    let output = import(&redis, &dir, &["--apply"]);
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(row(&report, "stock"), [0, 0, 0, 1]);
    assert_eq!(row(&report, "promotions"), [0, 0, 0, 1]);
    assert!(
        report["conflicts"].to_string().contains("holdfast has 100"),
        "{report}"
    );
    assert_eq!(checked(&dir)["digest"], before["digest"]);
}

/// A core, a Redis with one fault in it, and what is said of it.
fn conflicts_with(faults: &[(&str, &str)], owner: &str) -> Vec<(String, String)> {
    let (redis, scratch) = (Redis::start(), tempfile::tempdir().unwrap());
    let dir = scratch.path().join("data");
    a_core(&dir);
    redis.set(&[("product:drop-1:stock", "98"), ("product:drop-1:sold", "2")]);
    redis.set(&[("user:ana:product:drop-1:count", "2")]);
    redis.set(faults);
    let mapping = scratch.path().join("mapping.toml");
    std::fs::write(&mapping, format!("key_owner = \"{owner}\"")).unwrap();
    let before = log_of(&dir);
    let arguments = ["--apply", "--mapping", mapping.to_str().unwrap()];
    let output = import(&redis, &dir, &arguments);
    assert_eq!(output.status.code(), Some(1), "{faults:?}: {output:?}");
    let told = report(&output);
    assert_eq!(told["applied"], false, "{faults:?}");
    assert_eq!(log_of(&dir), before, "{faults:?}: nothing is applied");
    let text = |it: &Value, field: &str| it[field].as_str().unwrap().to_owned();
    let conflicts = told["conflicts"].as_array().unwrap().iter();
    conflicts
        .map(|it| (text(it, "what"), text(it, "why")))
        .collect()
}

#[test]
fn what_cannot_be_taken_without_loss_stops_the_whole_import() {
    let demos = "demo-shop";
    for (faults, owner, what, why) in [
        (
            &[("product:drop-1:stock", "-1")][..],
            demos,
            "stock",
            "negative",
        ),
        (&[("product:drop-1:sold", "-2")], demos, "sold", "negative"),
        (
            &[("user:bo:product:drop-1:count", "-1")],
            demos,
            "holdings",
            "negative",
        ),
        (
            &[("promo:EARLY:uses", "-1")],
            demos,
            "promotions",
            "negative",
        ),
        (
            &[("product:drop-1:stock", "9.5")],
            demos,
            "stock",
            "not a whole number",
        ),
        (
            &[("user:bo:product:gone:count", "1")],
            demos,
            "holdings",
            "no such product",
        ),
        (
            &[("promo:GONE:uses", "1")],
            demos,
            "promotions",
            "no such promotion",
        ),
        (
            &[("product:gone:sold", "1")],
            demos,
            "sold",
            "no stock of this product",
        ),
        (
            &[("user:bo/x:product:drop-1:count", "1")],
            demos,
            "holdings",
            "an id must be",
        ),
        (
            &[("idem:a-key-of-ana", r#"{"user_id": "ana"}"#)],
            "shop-2",
            "keys",
            "no API key `shop-2`",
        ),
        (
            &[("idem:a-key-of-ana", r#"{"user_id": "ana"}"#)],
            "demo-admin",
            "keys",
            "role shop",
        ),
        (
            &[("promo:4111111111111111:uses", "1")],
            demos,
            "promotions",
            "an id must be",
        ),
    ] {
        let conflicts = conflicts_with(faults, owner);
        let named = |it: &(String, String)| it.0 == what && it.1.contains(why);
        assert!(conflicts.iter().any(named), "{faults:?}: {conflicts:?}");
        let shown = format!("{conflicts:?}");
        assert!(!support::shows_card_number(&shown), "{shown}");
    }
}

/// Buyers' units of a product whose stock is not there would stay on sale here.
#[test]
fn units_that_buyers_have_without_a_stock_that_counts_them_are_a_conflict() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    let dir = dir.path().join("data");
    a_core(&dir);
    redis.set(&[("user:ana:product:drop-1:count", "2")]);
    let output = import(&redis, &dir, &["--apply"]);
    assert_eq!(output.status.code(), Some(1));
    let told = report(&output);
    assert_eq!(row(&told, "holdings"), [0, 0, 0, 1], "{told}");
    // Once they are counted, the buyer's counter alone changes nothing.
    redis.set(&[("product:drop-1:stock", "98")]);
    assert!(import(&redis, &dir, &["--apply"]).status.success());
    let mut connection = redis.connect();
    let () = connection.del("product:drop-1:stock").unwrap();
    assert!(import(&redis, &dir, &["--apply"]).status.success());
}

/// Two buyers who used the same idempotency key keep both of theirs; names that are no text are named.
#[test]
fn nothing_is_left_out_in_silence() {
    let (redis, scratch) = (Redis::start(), tempfile::tempdir().unwrap());
    let dir = scratch.path().join("data");
    a_core(&dir);
    redis.set(&[("k/ana/key-number-1", "1"), ("k/bo/key-number-1", "1")]);
    let mapping = scratch.path().join("mapping.toml");
    let text = "key_owner = \"demo-shop\"\n[keys]\npattern = \"k/{user_id}/{key}\"";
    std::fs::write(&mapping, text).unwrap();
    let arguments = ["--apply", "--mapping", mapping.to_str().unwrap()];
    let output = import(&redis, &dir, &arguments);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(row(&report(&output), "keys"), [2, 0, 0, 0]);
    let mut connection = redis.connect();
    let () = connection.set(&b"product:\xff:stock"[..], "1").unwrap();
    let output = import(&redis, &dir, &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(row(&report(&output), "stock"), [0, 0, 0, 1]);
}

#[test]
fn codes_that_differ_in_case_only_are_a_conflict() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    let dir = dir.path().join("data");
    a_core(&dir);
    redis.set(&[("promo:early:uses", "1"), ("promo:Early:uses", "2")]);
    let both = import(&redis, &dir, &["--apply"]);
    assert_eq!(both.status.code(), Some(1));
    assert_eq!(row(&report(&both), "promotions"), [0, 0, 0, 2]);
    // One spelling of the code that the core has is that code.
    let redis = Redis::start();
    redis.set(&[("promo:early:uses", "2")]);
    let one = import(&redis, &dir, &["--apply"]);
    assert_eq!(row(&report(&one), "promotions"), [1, 0, 0, 0]);
}

#[test]
fn a_mapping_says_which_keys_mean_what() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    let mut connection = redis.connect();
    let () = connection.hset("stock", "drop-a", 8).unwrap();
    let () = connection.hset("stock", "bad id!", 8).unwrap();
    let () = connection.zadd("bought:drop-a", "ana", 2).unwrap();
    let () = connection.set("k/ana/key-number-1", "1").unwrap();
    let mapping = dir.path().join("mapping.toml");
    let text = r#"
        key_owner = "demo-shop"
        [stock]
        pattern = "stock"
        type = "hash"
        field = "{product_id}"
        [holdings]
        pattern = "bought:{product_id}"
        type = "zset"
        field = "{user_id}"
        [keys]
        pattern = "k/{user_id}/{key}"
        [nonces]
        skip = true
    "#;
    std::fs::write(&mapping, text).unwrap();
    let data = dir.path().join("data");
    let mapping = mapping.to_str().unwrap();
    let skip = ["--apply", "--skip-conflicts", "--mapping", mapping];
    let report = report(&import(&redis, &data, &skip));
    assert_eq!(row(&report, "stock"), [1, 0, 0, 1], "{report}");
    assert_eq!(row(&report, "holdings"), [1, 0, 0, 0], "{report}");
    assert_eq!(row(&report, "keys"), [1, 0, 0, 0], "{report}");
    let product = &checked(&data)["products"][0];
    assert_eq!(
        (&product["total"], &product["sold"]),
        (&json!(10), &json!(2))
    );
}

#[test]
fn a_running_core_and_an_unavailable_redis_are_reported() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    redis.set(&[("product:drop-1:stock", "95")]);
    let server = Setup::demo().data_dir(dir.path()).start();
    let output = import(&redis, dir.path(), &["--apply"]);
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("use"), "{why}");
    server.stop();

    let port = redis.port;
    drop(redis);
    let output = support::binary()
        .args(["import", "redis", "--demo", "--url"])
        .arg(format!("redis://:secret-of-redis@127.0.0.1:{port}/"))
        .arg("--data-dir")
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        why.contains("cannot connect to Redis") && !why.contains("secret-of-redis"),
        "{why}"
    );
}
