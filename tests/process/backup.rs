//! Backups of the real process: shipped while it sells, restored, verified, kept and guarded; to an
//! S3-compatible store and to a directory.

mod stage;

use serde_json::Value;
use stage::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{ADMIN, Request, SHOP, Setup, binary, until};

/// What may be lost of what was acknowledged: it ships ten times a second here.
const BEHIND_MAX: Duration = Duration::from_secs(2);

#[test]
fn the_drill_killed_under_load_and_restored_from_a_bucket() {
    let scratch = tempfile::tempdir().unwrap();
    let [data, restored, whole] = ["data", "restored", "whole"].map(|it| scratch.path().join(it));
    let store = Store::start();
    let line = StoreProxy::to(&store);
    let place = Place::bucket(line.address, "drill/eu");
    let mut server = place.setup(&data, "").start();
    server.put_product("plenty", 100_000);

    // Past some segments and a snapshot, then on under load until it is killed.
    hold(&server, "plenty", names("early", 700));
    copy_directory(&data.join("log"), &whole);
    snapshot(&server);
    let mut client = server.connect();
    let began = Instant::now();
    let mut bought = Vec::new();
    while began.elapsed() < BEHIND_MAX + Duration::from_secs(3) {
        let user = format!("buyer-{}", bought.len());
        let answer = client.ask(&Request::buy(
            &user,
            "plenty",
            "tok_ok",
            &format!("{user}-buys"),
        ));
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.json()["purchase_id"].as_str().unwrap().to_owned();
        bought.push((Instant::now(), id));
    }
    server.kill();
    let killed = Instant::now();
    copy_directory(&data.join("log"), &whole);

    let figures = place.restored(&restored, &[]);
    let checked = check(&restored);
    assert_eq!(checked["digest"], figures["digest"]);
    assert!(figures["snapshot_lsn"].as_u64().is_some(), "{figures}");
    let end = figures["end_lsn"].as_u64().unwrap();
    assert_eq!(
        digest_at(&whole, end, scratch.path()),
        figures["digest"].as_str().unwrap(),
        "the state restored is the state at that place"
    );

    let server = Setup::demo().data_dir(&restored).start();
    let (mut kept, mut lost) = (0, 0);
    for (at, id) in &bought {
        let path = format!("/limited/purchases/{id}");
        let found = server.ask(&Request::get(&path).key(SHOP));
        if found.status == 200 && found.json()["status"] == "captured" {
            kept += 1;
        } else {
            lost += 1;
            let age = killed.duration_since(*at);
            assert!(age <= BEHIND_MAX, "{id} was acknowledged {age:?} before");
        }
    }
    println!(
        "of {} purchases {kept} are there, {lost} of the last two seconds are not",
        bought.len()
    );
    assert!(kept > 0);
    let good = place.verify(scratch.path());
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
}

#[test]
fn an_earlier_instant_and_an_earlier_place_are_restored_exactly() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let place = Place::directory(&scratch.path().join("backup"));
    let server = place.setup(&data, "").start();
    server.put_product("plenty", 100_000);
    hold(&server, "plenty", names("before", 600));
    let between = server.ask(&Request::hold(
        "the-last-before",
        "plenty",
        1,
        "the-last-before",
    ));
    let until_then = between.json()["expires_at"].as_str().unwrap().to_owned();
    // Holds of the demo last for five minutes: so it was placed then.
    let at: jiff::Timestamp = until_then.parse().unwrap();
    let at = at - jiff::SignedDuration::from_mins(5);
    let past = at + jiff::SignedDuration::from_millis(2);
    until("the instant has passed", || {
        (jiff::Timestamp::now() > past).then_some(())
    });
    hold(&server, "plenty", names("after", 600));
    let end = shipped(&server);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));

    let by_time = scratch.path().join("by-time");
    let figures = place.restored(&by_time, &["--at", &at.to_string()]);
    let users = users_in(&by_time);
    assert!(users.contains(&"the-last-before".to_owned()));
    assert!(!users.iter().any(|it| it.starts_with("after")), "{figures}");
    let cut = figures["end_lsn"].as_u64().unwrap();
    assert!(cut < end);
    let log = data.join("log");
    let digest = |lsn| digest_at(&log, lsn, scratch.path());
    assert_eq!(digest(cut), figures["digest"].as_str().unwrap());

    // At any place, within a frame and at the border of one, of a segment, and before all.
    for (n, at) in [
        16,
        cut - 1,
        cut,
        cut + 1,
        end / 3,
        end / 2 + 7,
        end - 16,
        end,
        end + 999,
    ]
    .into_iter()
    .enumerate()
    {
        let dir = scratch.path().join(format!("by-place-{n}"));
        let figures = place.restored(&dir, &["--at", &at.to_string()]);
        let to = figures["end_lsn"].as_u64().unwrap();
        assert!(to <= at, "{figures}");
        assert_eq!(digest(at), figures["digest"].as_str().unwrap(), "at {at}");
        assert_eq!(check(&dir)["end_lsn"], to);
    }
    let taken = place.restore(&by_time, &[]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(
        stderr(&taken).contains("is not empty"),
        "{}",
        stderr(&taken)
    );
    assert!(!scratch.path().join("by-time.restoring").exists());
}

fn users_in(data: &Path) -> Vec<String> {
    let output = binary()
        .args(["log", "--kind", "hold_placed"])
        .arg(data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let user = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["user_id"].as_str().unwrap().to_owned()
    };
    text.lines().map(user).collect()
}

#[test]
fn two_writers_do_not_share_a_prefix() {
    let scratch = tempfile::tempdir().unwrap();
    let [data, copied, other] = ["data", "copied", "other"].map(|it| scratch.path().join(it));
    let store = Store::start();
    let place = Place::bucket(StoreProxy::to(&store).address, "one");
    let first = place.setup(&data, "").start();
    first.put_product("plenty", 1_000);
    hold(&first, "plenty", names("ana", 20));
    shipped(&first);
    copy_directory(&data, &copied);

    let (status, log) = place.setup(&copied, "").refused();
    assert_eq!(status.code(), Some(1));
    let log = log.join("\n");
    assert!(
        log.contains("two copies of one data directory must not run"),
        "{log}"
    );
    let (status, log) = place.setup(&other, "").refused();
    assert_eq!(status.code(), Some(1));
    assert!(
        log.join("\n").contains("holds the backup of log"),
        "{log:?}"
    );

    hold(&first, "plenty", names("bo", 20));
    shipped(&first);
    let (status, log) = first.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
    // The one that was there goes on, and an older copy is found out.
    let (status, log) = place.setup(&copied, "").refused();
    assert_eq!(status.code(), Some(1));
    assert!(log.join("\n").contains("is an older copy"), "{log:?}");
    let again = place.setup(&data, "").start();
    hold(&again, "plenty", names("cy", 20));
    shipped(&again);
}

#[test]
fn a_core_that_was_superseded_stops_and_does_not_come_back() {
    let scratch = tempfile::tempdir().unwrap();
    let [data, restored, later, older] =
        ["data", "restored", "later", "older"].map(|it| scratch.path().join(it));
    let store = Store::start();
    let place = Place::bucket(StoreProxy::to(&store).address, "superseded");
    let mut first = place.setup(&data, "").start();
    first.put_product("plenty", 1_000);
    hold(&first, "plenty", names("ana", 20));
    let end = shipped(&first);
    let figures = place.restored(&restored, &[]);
    assert_eq!(figures["end_lsn"], end);
    assert_ne!(figures["generation"], figures["of_generation"]);

    let mut probes = first.connect();
    let second = place.setup(&restored, "").start();
    let began = Instant::now();
    let told = until("it is not ready, or gone", || {
        let Ok(ready) = probes.try_ask(&Request::get("/readyz")) else {
            return Some(None);
        };
        (ready.status == 503).then(|| Some(ready.json()))
    });
    let told = told.expect("it says why before it ends");
    assert_eq!(told["reason"], "not_leader", "{told}");
    assert_eq!(first.wait().code(), Some(1), "idle as it is, it stops");
    let took = began.elapsed();
    let log = first.log.all_lines().join("\n");
    assert!(log.contains("backup_refused"), "{log}");
    assert!(
        log.contains("the log was restored elsewhere since"),
        "{log}"
    );
    println!("it stopped {took:?} after");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let (status, log) = place.setup(&data, "").refused();
    assert_eq!(status.code(), Some(1));
    assert!(
        log.join("\n").contains("is written by generation"),
        "{log:?}"
    );

    // Each generation is restored by itself.
    shipped(&second);
    let (status, log) = second.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
    let newest = place.restored(&later, &[]);
    assert_eq!(newest["of_generation"], figures["generation"]);
    assert_eq!(newest["digest"], check(&restored)["digest"]);
    let of = figures["of_generation"].as_str().unwrap();
    let oldest = place.restored(&older, &["--generation", of]);
    assert_eq!(oldest["of_generation"], figures["of_generation"]);
    assert_eq!(oldest["digest"], check(&data)["digest"]);
    let verified = self::figures(&place.verify(scratch.path()));
    assert_eq!(verified["generations"].as_array().unwrap().len(), 2);
}

#[test]
fn a_directory_locked_by_another_process_is_reported_and_stops_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let there = scratch.path().join("backup");
    std::fs::create_dir(&there).unwrap();
    let lock = std::fs::File::create(there.join("lock")).unwrap();
    lock.lock().unwrap();
    let place = Place::directory(&there);
    let server = place.setup(&scratch.path().join("data"), "").start();
    server.put_product("plenty", 1_000);
    hold(&server, "plenty", names("ana", 3));
    let said = server.log.wait_for("backup_failing").expect("it is said");
    assert!(
        said.to_string().contains("another process has held"),
        "{said}"
    );
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
}

#[test]
fn a_missing_bucket_is_reported_and_stops_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::start();
    let mut place = Place::bucket(StoreProxy::to(&store).address, "nowhere");
    place.url = "s3://no-such-bucket/nowhere".to_owned();
    let server = place.setup(&scratch.path().join("data"), "").start();
    server.put_product("plenty", 1_000);
    hold(&server, "plenty", names("ana", 3));
    let said = server.log.wait_for("backup_failing").expect("it is said");
    assert!(
        said["message"].as_str().unwrap().contains("no-such-bucket"),
        "{said}"
    );
    assert_eq!(server.stop().0.code(), Some(0));
}

#[test]
fn an_unavailable_store_slows_no_buyer_and_is_caught_up_with() {
    let scratch = tempfile::tempdir().unwrap();
    let [data, restored] = ["data", "restored"].map(|it| scratch.path().join(it));
    let store = Store::start();
    let line = StoreProxy::to(&store);
    let place = Place::bucket(line.address, "away");
    let server = place.setup_with(LARGE, &data, "").start();
    server.put_product("plenty", 100_000);
    hold(&server, "plenty", names("before", 50));
    shipped(&server);

    line.cut();
    let began = Instant::now();
    hold(&server, "plenty", names("meanwhile", 5_000));
    let each = began.elapsed() / 5_000;
    println!("a hold took {each:?} while the store was away");
    server.log.wait_for("backup_failing").expect("it is said");
    let behind = status(&server)["backup"].clone();
    assert!(behind["lag_bytes"].as_u64().unwrap() > 10 << 20, "{behind}");
    assert_eq!(behind["up"], false);
    let lagging = until("it shows for how long", || {
        let shown = metric(&server, "holdfast_backup_lag_seconds");
        (shown >= 1.0).then_some(shown)
    });
    assert!(lagging < 60.0);
    assert!(metric(&server, "holdfast_backup_failures_total") >= 1.0);

    line.mend();
    server.log.wait_for("backup_again").expect("it is said");
    shipped(&server);
    assert!((metric(&server, "holdfast_backup_lag_bytes") - 0.0).abs() < 0.5);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
    let figures = place.restored(&restored, &[]);
    assert_eq!(check(&data)["digest"], figures["digest"]);
    assert_eq!(check(&data)["end_lsn"], figures["end_lsn"]);
}

fn metric(server: &support::Server, name: &str) -> f64 {
    let text = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let line = text
        .lines()
        .find_map(|it| it.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}

#[test]
fn one_copy_of_a_core_that_sells_and_of_one_that_stopped() {
    let scratch = tempfile::tempdir().unwrap();
    let [data, one, other] = ["data", "one", "other"].map(|it| scratch.path().join(it));
    let server = Setup::demo().data_dir(&data).config(SMALL).start();
    server.put_product("plenty", 100_000);
    hold(&server, "plenty", names("before", 400));
    snapshot(&server);

    let sells = Arc::new(AtomicBool::new(true));
    let (seller, selling) = (server.connect(), Arc::clone(&sells));
    let seller = std::thread::spawn(move || sell_on(seller, &selling));
    let from_running = Place::directory(&scratch.path().join("from-running"));
    let copied = figures(&from_running.copy(&data, scratch.path()));
    sells.store(false, Ordering::SeqCst);
    let sold = seller.join().unwrap();
    assert!(sold > 0);
    assert_eq!(from_running.verify(scratch.path()).status.code(), Some(0));
    let restored = from_running.restored(&one, &[]);
    assert_eq!(restored["end_lsn"], copied["end_lsn"]);
    assert_eq!(
        users_in(&one)
            .iter()
            .filter(|it| it.starts_with("before"))
            .count(),
        400
    );
    let again = from_running.copy(&data, scratch.path());
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("already holds a backup"),
        "{}",
        stderr(&again)
    );

    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
    let from_stopped = Place::directory(&scratch.path().join("from-stopped"));
    figures(&from_stopped.copy(&data, scratch.path()));
    let restored = from_stopped.restored(&other, &[]);
    assert_eq!(restored["digest"], check(&data)["digest"]);
    assert_eq!(restored["end_lsn"], check(&data)["end_lsn"]);
}

/// Goes on with a restored directory, and waits until it sells.
fn accept_history(server: &support::Server) {
    let order = Request::post("/admin/history/accept").key(ADMIN);
    let note = serde_json::json!({"note": "the other one is gone"});
    let accepted = server.ask(&order.json(&note));
    assert!(accepted.status < 300, "{accepted:?}");
    until("it sells again", || {
        let ready = server.ask(&Request::get("/readyz"));
        (ready.status == 200).then_some(())
    });
}

/// A hold, and when it was placed: after `before`.
fn placed(server: &support::Server, user: &str, before: jiff::Timestamp) -> jiff::Timestamp {
    until("the clock has gone on", || {
        (jiff::Timestamp::now().as_millisecond() > before.as_millisecond() + 1).then_some(())
    });
    let answer = server.ask(&Request::hold(user, "plenty", 1, &format!("{user}-holds")));
    let expires: jiff::Timestamp = answer.json()["expires_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    // Holds of the demo last for five minutes.
    expires - jiff::SignedDuration::from_mins(5)
}

fn at(instant: jiff::Timestamp) -> [String; 2] {
    ["--at".to_owned(), instant.to_string()]
}

#[test]
fn a_copy_made_later_is_restored_to_each_instant_that_it_holds() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, count) in [("whole", 0), ("from-a-snapshot", 600)] {
        let data = scratch.path().join(name);
        let server = Setup::demo().data_dir(&data).config(SMALL).start();
        server.put_product("plenty", 100_000);
        let oldest = placed(&server, "oldest", jiff::Timestamp::UNIX_EPOCH);
        hold(&server, "plenty", names("early", count));
        snapshot(&server);
        let one = placed(&server, "ana", oldest);
        let other = placed(&server, "bo", one);
        assert_eq!(server.stop().0.code(), Some(0));
        let place = Place::directory(&scratch.path().join(format!("{name}-copy")));
        figures(&place.copy(&data, scratch.path()));
        let verified = figures(&place.verify(scratch.path()));
        let [from, to] = ["from", "to"]
            .map(|it| verified["generations"][0][format!("restorable_{it}_lsn")].clone());
        assert_eq!(from == 0, count == 0, "{verified}");

        let restored = scratch.path().join(format!("{name}-restored"));
        place.restored(&restored, &at(one).each_ref().map(String::as_str));
        let users = users_in(&restored);
        assert_eq!(users.iter().filter(|it| *it == "bo").count(), 0, "{other}");
        assert!(users.contains(&"ana".to_owned()), "{users:?}");
        // Before the first event, and before the first snapshot that is there.
        let early = oldest - jiff::SignedDuration::from_hours(1);
        let refused = place.restore(
            &scratch.path().join("nothing"),
            &at(early).each_ref().map(String::as_str),
        );
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        let range = format!("it can be restored to LSN {from} to {to}, instants from 20");
        assert!(said.contains(&range), "{said}");
        assert!(!scratch.path().join("nothing").exists());
    }
}

#[test]
fn an_instant_is_restored_from_the_generation_that_ran_then() {
    let scratch = tempfile::tempdir().unwrap();
    let [data, second, copied] = ["data", "second", "copied"].map(|it| scratch.path().join(it));
    let place = Place::directory(&scratch.path().join("backup"));
    let server = place.setup(&data, "").start();
    server.put_product("plenty", 1_000);
    let ana = placed(&server, "ana", jiff::Timestamp::UNIX_EPOCH);
    let bo = placed(&server, "bo", ana);
    shipped(&server);
    assert_eq!(server.stop().0.code(), Some(0));
    place.restored(&second, &at(ana).each_ref().map(String::as_str));
    let server = place.setup(&second, "").start();
    accept_history(&server);
    let cy = placed(&server, "cy", bo);
    shipped(&server);
    assert_eq!(server.stop().0.code(), Some(0));
    // A copy of the second generation alone holds what it took over.
    let alone = Place::directory(&scratch.path().join("alone"));
    figures(&alone.copy(&second, scratch.path()));
    for (number, (place, instant, users)) in [
        (&place, ana, &["ana"][..]),
        (&place, bo, &["ana", "bo"]),
        (&place, cy, &["ana", "cy"]),
        (&alone, ana, &["ana"]),
        (&alone, bo, &["ana"]),
        (&alone, cy, &["ana", "cy"]),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = copied.with_extension(number.to_string());
        place.restored(&dir, &at(instant).each_ref().map(String::as_str));
        assert_eq!(users_in(&dir), users, "case {number}");
    }
}

#[test]
fn a_missing_backup_is_reported_and_not_created() {
    let scratch = tempfile::tempdir().unwrap();
    let [nowhere, restored] = ["nowhere", "restored"].map(|it| scratch.path().join(it));
    let place = Place::directory(&nowhere);
    for output in [place.verify(scratch.path()), place.restore(&restored, &[])] {
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("there is no such directory"), "{said}");
        assert!(
            said.contains(&place.url) && said.lines().count() == 1,
            "{said}"
        );
    }
    assert!(!nowhere.exists() && !restored.exists());
    // Reading leaves the mode of a directory to the one who made it.
    std::fs::create_dir(&nowhere).unwrap();
    std::fs::set_permissions(&nowhere, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.verify(scratch.path()).status.code(), Some(1));
    assert_eq!(place.restore(&restored, &[]).status.code(), Some(1));
    let mode = std::fs::metadata(&nowhere).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(files(&nowhere).is_empty());
}

fn sell_on(mut client: support::Client, on: &AtomicBool) -> usize {
    let mut sold = 0;
    while on.load(Ordering::SeqCst) {
        let user = format!("meanwhile-{sold}");
        let answer = client.ask(&Request::hold(&user, "plenty", 1, &format!("{user}-holds")));
        assert_eq!(answer.status, 201, "{answer:?}");
        sold += 1;
    }
    sold
}
