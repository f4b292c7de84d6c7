//! What is kept of a backup, and of the log while the store is away.

use super::damage::objects;
use super::*;

#[test]
fn unneeded_objects_are_deleted_and_the_newest_state_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let backup = scratch.path().join("backup");
    let place = Place::directory(&backup);
    let server = place.setup(&data, "keep_s = 1\n").start();
    server.put_product("plenty", 100_000);
    let first = |part: &str| {
        let of_part = |it: &PathBuf| it.to_string_lossy().contains(part);
        objects(&backup).into_iter().find(of_part)
    };
    hold(&server, "plenty", names("early", 1_100));
    shipped(&server);
    let oldest = first("/log/").expect("a sealed segment");
    let mut round = 0;
    until("the oldest segment goes", || {
        hold(&server, "plenty", names(&format!("round-{round}"), 20));
        round += 1;
        snapshot(&server);
        shipped(&server);
        (!oldest.exists()).then_some(())
    });
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
    assert_eq!(place.verify(scratch.path()).status.code(), Some(0));
    let restored = place.restored(&scratch.path().join("restored"), &[]);
    assert_eq!(restored["digest"], check(&data)["digest"]);
    let too_early = place.restore(&scratch.path().join("too-early"), &["--at", "16"]);
    assert_eq!(too_early.status.code(), Some(1));
    assert!(stderr(&too_early).contains("no backup to restore up to LSN 16"));
}

#[test]
fn log_deleted_while_the_store_is_unavailable_leaves_a_reported_gap() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let store = Store::start();
    let line = StoreProxy::to(&store);
    let place = Place::bucket(line.address, "gap");
    let server = place
        .setup(&data, "log_kept_bytes_max = 1_048_576\n")
        .start();
    server.put_product("plenty", 100_000);
    hold(&server, "plenty", names("before", 500));
    let kept = shipped(&server);
    line.cut();
    for round in 0..4 {
        hold(&server, "plenty", names(&format!("round-{round}"), 700));
        snapshot(&server);
    }
    server.log.wait_for("backup_failing").expect("it is said");
    // The bound is looked at between two tries.
    until("the log is let go of", || {
        snapshot(&server);
        let first = status(&server)["first_lsn"].as_u64().unwrap();
        (first > kept).then_some(())
    });
    line.mend();
    server.log.wait_for("backup_gap").expect("it is said");
    shipped(&server);
    let (ended, log) = server.stop();
    assert_eq!(ended.code(), Some(0), "{}", log.join("\n"));
    let verified = figures(&place.verify(scratch.path()));
    let gaps = verified["generations"][0]["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{verified}");
    let restored = place.restored(&scratch.path().join("restored"), &[]);
    assert_eq!(restored["digest"], check(&data)["digest"]);
    let before = scratch.path().join("before");
    let early = place.restored(&before, &["--at", &kept.to_string()]);
    assert_eq!(early["end_lsn"], kept);
}
