//! A disk that fails under the running process: nothing more is acknowledged, whoever waits is
//! told, the process says why and stops, and what was answered before is there again afterwards.
//! And bytes that changed on it: `holdfast check` finds them, and never panics.

use holdfast::engine::settings::EngineSettings;
use holdfast::journal::{CheckError, check};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use support::history::{Draws, change, files_of, named, write_history};
use support::{ADMIN, Request, Server, Setup, binary, until};

#[test]
fn a_failed_write_stops_the_process_and_loses_nothing_that_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Setup::demo().data_dir(directory.path()).start();
    let answered = Request::hold("ana", "drop-1", 1, "before-the-fault");
    let before = server.ask(&answered);
    assert_eq!(before.status, 201, "{before:?}");

    fail_writes(&server);
    let mut connection = server.connect();
    let lost = connection.ask(&Request::hold("bo", "drop-1", 1, "into-the-fault"));
    assert_eq!(
        (lost.status, lost.reason().as_str()),
        (503, "storage_unavailable"),
        "{lost:?}"
    );

    let status = server.wait();
    assert_eq!(status.code(), Some(1), "the work failed");
    let log = server.log.lines().join("\n");
    for word in ["log_stopped", "write failed on", "look at the disk"] {
        assert!(log.contains(word), "the log does not say `{word}`:\n{log}");
    }

    let server = Setup::demo().data_dir(directory.path()).start();
    let again = server.ask(&answered);
    assert_eq!(
        (again.status, &again.body),
        (201, &before.body),
        "the answered hold is there"
    );
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(
        server.stock("drop-1"),
        [100, 1, 0, 99],
        "the unanswered one is not"
    );
}

#[test]
fn a_nearly_full_disk_refuses_new_purchases_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let finished = Request::hold("bo", "drop-1", 1, "before-it-was-full");
    let server = Setup::demo().data_dir(directory.path()).start();
    let before = server.ask(&finished);
    assert_eq!(server.stop().0.code(), Some(0));

    let setup = Setup::demo().config("[storage]\ndisk_free_bytes_min = 1125899906842624");
    let server = setup.data_dir(directory.path()).start();
    let again = server.ask(&finished);
    assert_eq!(
        (again.status, again.body),
        (201, before.body),
        "a finished key is answered"
    );
    let refused = server.ask(&Request::hold("ana", "drop-1", 1, "on-a-full-disk"));
    let told = (refused.status, refused.reason());
    assert_eq!(told, (503, "storage_unavailable".to_owned()), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let unready = server.ask(&Request::get("/readyz"));
    assert_eq!(unready.status, 503, "{unready:?}");
    let told = unready.json();
    let words = (&told["status"], &told["reason"]);
    assert_eq!(words, (&json!("not_ready"), &json!("disk_full")), "{told}");
    assert!(
        told["detail"].as_str().unwrap().contains("Free disk space"),
        "{told}"
    );
    let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    assert_eq!(status["readiness"], told);
    assert_eq!(server.ask(&Request::get("/livez")).status, 200);
}

/// The memory's file system: its free bytes change only by what a test writes there.
const SMALL_DISK: &str = "/dev/shm";

#[test]
fn a_full_disk_is_logged_once_and_once_more_when_there_is_room_again() {
    let scratch = tempfile::tempdir_in(SMALL_DISK).unwrap();
    let stat = rustix::fs::statvfs(SMALL_DISK).unwrap();
    let (mib, free) = (1 << 20, stat.f_bavail * stat.f_frsize);
    let least = free - 24 * mib;
    let config = format!(
        "[storage]\ndisk_free_bytes_min = {least}\nsegment_bytes = {}\n",
        2 * mib
    );
    let data_dir = scratch.path().join("data");
    let server = Setup::demo().config(&config).data_dir(&data_dir).start();
    let hold = |key: &str| {
        let answer = server.ask(&Request::hold(key, "drop-1", 1, key));
        (answer.status, answer.reason())
    };
    let reason = || server.ask(&Request::get("/readyz")).json()["reason"].clone();
    assert_eq!((hold("there-is-room").0, reason()), (201, Value::Null));

    let ballast = scratch.path().join("ballast");
    std::fs::write(&ballast, vec![1; 32 << 20]).unwrap();
    let full = server.log.wait_for("disk_full").unwrap();
    assert_eq!(reason(), "disk_full");
    assert_eq!(hold("there-is-none").1, "storage_unavailable");
    let shown = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    assert_eq!(shown["readiness"]["reason"], "disk_full");
    for told in [&full, &shown["disk"]] {
        assert_eq!(told["free_bytes_min"], least, "{told}");
        assert!(told["free_bytes"].as_u64().unwrap() < least, "{told}");
    }
    assert_eq!(full["path"], data_dir.display().to_string());
    let metrics = server.ask(&Request::get("/metrics")).text();
    let metric = |name: &str| {
        let lines = metrics.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().unwrap().parse::<f64>().unwrap()
    };
    assert!(metric("holdfast_disk_free_bytes") < metric("holdfast_disk_free_bytes_min"));
    assert!(metric("holdfast_log_sync_seconds_count") >= 1.0);
    assert!(metric("holdfast_log_sync_seconds_sum") > 0.0);
    assert_eq!(metric("holdfast_ready").to_bits(), 0.0_f64.to_bits());

    std::fs::remove_file(&ballast).unwrap();
    let again = server.log.wait_for("disk_room_again").unwrap();
    assert!(again["free_bytes"].as_u64().unwrap() >= least, "{again}");
    assert_eq!((hold("there-is-again").0, reason()), (201, Value::Null));
    let (_, lines) = server.stop();
    for word in ["disk_full", "disk_room_again"] {
        let word = format!("\"event\":\"{word}\"");
        assert_eq!(lines.iter().filter(|it| it.contains(&word)).count(), 1);
    }
}

/// The process is held while it syncs: for it, the sync takes as long.
#[test]
fn a_slow_disk_is_logged_and_shown() {
    let server = Setup::demo().start();
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    let signal = |signal| kill_process(pid, signal).unwrap();
    let mut number = 0;
    let shown = until("a sync is slow", || {
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let server = &server;
                scope.spawn(move || {
                    let mut connection = server.connect();
                    for hold in 0..50 {
                        let user = format!("slow-{number}-{worker}-{hold}");
                        connection.ask(&Request::hold(&user, "drop-1", 1, &user));
                    }
                });
            }
            until("holds are on their way", || {
                let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
                (status["log"]["syncs"].as_u64().unwrap() > 4).then_some(())
            });
            signal(Signal::STOP);
            std::thread::sleep(Duration::from_millis(1_200));
            signal(Signal::CONT);
        });
        number += 1;
        let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
        (status["disk"]["slow"] == true).then_some(status)
    });
    let slowest_ms = shown["disk"]["sync_slowest_ms"].as_u64().unwrap();
    assert!((1_000..60_000).contains(&slowest_ms), "{shown}");
    let said = server.log.wait_for("disk_slow").unwrap();
    assert_eq!(said["bound_ms"], 1_000, "{said}");
    assert!(said["slowest_ms"].as_u64().unwrap() > 1_000, "{said}");
    assert_eq!(server.ask(&Request::get("/readyz")).status, 200);
    assert!(server.log.wait_for("disk_fast_again").is_some());
}

/// From now on the kernel fails every write of the process to a file.
fn fail_writes(server: &Server) {
    let pid = i32::try_from(server.pid()).unwrap();
    let none = Rlimit {
        current: Some(0),
        maximum: None,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, none).unwrap();
}

/// Changes the bytes of a file.
type ByteChange<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Exit status, last line of stdout as JSON, and stderr of `holdfast check`.
fn checked(dir: &Path) -> (Option<i32>, Value, String) {
    let ended = binary().arg("check").arg(dir).output().unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    let last = out.lines().last().unwrap_or_default();
    let figures = serde_json::from_str(last).unwrap_or_default();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(
        told.lines().count() <= 1 && !told.contains("panicked"),
        "{told}"
    );
    (ended.status.code(), figures, told)
}

#[test]
fn check_tells_clean_from_damaged_from_unreadable() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let clean = at("clean");
    write_history(&clean);
    std::fs::create_dir_all(clean.join("sinks")).unwrap();
    let (status, figures, told) = checked(&clean);
    assert_eq!(
        (status, &figures["clean"]),
        (Some(0), &json!(true)),
        "{told}"
    );
    assert!(figures["events"].as_u64().unwrap() > 60, "{figures}");

    let files = files_of(&clean);
    let segment = &named(&files, ".wal");
    let snapshot = &named(&files, ".snapshot");
    let with = |name: &str, change: ByteChange<'_>| {
        let mut bytes = std::fs::read(clean.join(name)).unwrap_or_default();
        change(&mut bytes);
        std::fs::write(clean.join(name), bytes).unwrap();
    };
    let places = patch::payloads(&files[segment]);
    let stock = places.iter().find_map(|place| {
        let payload = &files[segment][place.clone()];
        let found = payload
            .windows(4)
            .position(|it| it == 500_u32.to_le_bytes());
        found.map(|at| place.start + at)
    });
    let stock = stock.expect("the jacket's total stands in its event");
    let damaged: [(&str, &str, ByteChange<'_>); 10] = [
        ("segment length", segment, &|bytes| bytes.truncate(2_000)),
        ("magic", segment, &Vec::clear),
        ("frame checksum", segment, &|bytes| bytes[300] ^= 1),
        // Every checksum agrees, and what the event says cannot be.
        ("I1", segment, &|bytes| {
            bytes[stock..stock + 4].copy_from_slice(&1_u32.to_le_bytes());
            patch::seal(bytes);
        }),
        ("more than can be counted", segment, &|bytes| {
            bytes[stock..stock + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            patch::seal(bytes);
        }),
        ("snapshot", snapshot, &|bytes| bytes[100] ^= 1),
        ("snapshot", snapshot, &Vec::clear),
        ("is damaged", "sinks/jsonl.cursor", &|bytes| {
            bytes.extend_from_slice(b"{}");
        }),
        ("not a dead letter", "dead-letters/jsonl.jsonl", &|bytes| {
            bytes.extend_from_slice(b"{}\n");
        }),
        ("I8", "sandbox/ledger.log", &Vec::clear),
    ];
    for (word, name, change) in damaged {
        let before = std::fs::read(clean.join(name)).ok();
        with(name, change);
        let (status, figures, told) = checked(&clean);
        assert_eq!(
            (status, &figures["clean"]),
            (Some(1), &json!(false)),
            "{name}: {told}"
        );
        assert!(told.contains(word), "{word}: {told}");
        assert!(
            told.contains(figures["error"].as_str().unwrap()),
            "{figures}"
        );
        match before {
            Some(bytes) => std::fs::write(clean.join(name), bytes).unwrap(),
            None => std::fs::remove_file(clean.join(name)).unwrap(),
        }
    }
    assert_eq!(checked(&clean).0, Some(0), "what was changed was put back");

    std::fs::write(at("file"), "x").unwrap();
    std::fs::create_dir_all(at("empty/log")).unwrap();
    std::fs::create_dir_all(at("empty/snapshots")).unwrap();
    std::fs::rename(clean.join(segment), at("segment")).unwrap();
    std::fs::create_dir(clean.join(segment)).unwrap();
    let running = Setup::demo().start();
    for unreadable in [
        at("missing"),
        at("file"),
        at("empty"),
        clean,
        running.data_dir.clone(),
    ] {
        let (status, figures, told) = checked(&unreadable);
        assert_eq!(
            (status, figures),
            (Some(2), Value::Null),
            "{unreadable:?}: {told}"
        );
        assert_eq!(told.lines().count(), 1, "{unreadable:?}: {told}");
    }
}

#[test]
fn no_command_panics_on_a_closed_pipe() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    write_history(&data);
    let receipt = scratch.path().join("receipt.json");
    std::fs::write(&receipt, "{}").unwrap();
    let (data, receipt) = (data.to_str().unwrap(), receipt.to_str().unwrap());
    let commands: [(&[&str], i32); 9] = [
        (&["check", data], 0),
        (&["log", data], 0),
        (&["replay", data], 0),
        (&["replay", data, "--json"], 0),
        (&["reconcile", data], 0),
        (&["schema", "postgres"], 0),
        (&["schema", "kafka"], 0),
        (&["receipt", "verify", receipt, "--demo"], 1),
        (&["--help"], 0),
    ];
    for (arguments, status) in commands {
        let closed = || std::io::pipe().unwrap().1;
        let out = binary().args(arguments).stdout(closed()).output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
        let both = binary()
            .args(arguments)
            .stdout(closed())
            .stderr(closed())
            .status();
        assert_eq!(both.unwrap().code(), Some(status), "{arguments:?}");
    }
    // Everybody's own sentence goes to nobody, too.
    let nothing = binary()
        .args(["check", "/nonexistent"])
        .stderr(std::io::pipe().unwrap().1)
        .status();
    assert_eq!(nothing.unwrap().code(), Some(2));
}

/// Bytes changed at random: raw, or with every checksum made to agree again, so that what is wrong is
/// what events and images say. Whatever it is, checking ends in a verdict.
#[test]
fn checking_never_panics_whatever_the_bytes() {
    let cases: u64 = std::env::var("HOLDFAST_CASES").map_or(300, |it| it.parse().unwrap());
    let (written, changed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_history(written.path());
    let clean = files_of(written.path());
    let (segment, snapshot) = (named(&clean, ".wal"), named(&clean, ".snapshot"));
    let places = [
        patch::payloads(&clean[&segment]),
        patch::sections(&clean[&snapshot]),
    ];
    assert!(
        places[0].len() > 60 && places[1].len() > 100,
        "a long history"
    );
    for folder in ["log", "snapshots"] {
        std::fs::create_dir(changed.path().join(folder)).unwrap();
    }
    for (name, bytes) in &clean {
        std::fs::write(changed.path().join(name), bytes).unwrap();
    }
    let settings = EngineSettings::default();
    let (mut verdicts, mut panics) = ([0_u64; 3], Vec::<String>::new());
    for case in 0..cases {
        let mut draw = Draws(case);
        let name = [&segment, &segment, &snapshot][draw.below(3)];
        let mut bytes = clean[name].clone();
        let what = change(
            &mut bytes,
            &mut draw,
            &places[usize::from(name == &snapshot)],
        );
        std::fs::write(changed.path().join(name), bytes).unwrap();
        // Some without what vouches for the end, or without one of the two ways to the state.
        let gone = ["log/witness", &snapshot, "", ""][draw.below(4)];
        if !gone.is_empty() {
            std::fs::remove_file(changed.path().join(gone)).unwrap();
        }
        match std::panic::catch_unwind(|| check(changed.path(), &settings)) {
            Ok(Ok(_)) => verdicts[0] += 1,
            Ok(Err(CheckError::Damaged(_))) => verdicts[1] += 1,
            Ok(Err(CheckError::Unreadable(why))) => {
                println!("case {case}, {what} in {name}: {why}");
                verdicts[2] += 1;
            }
            Err(_) => panics.push(format!("case {case}, {what} in {name}")),
        }
        for name in [name.as_str(), gone] {
            if let Some(bytes) = clean.get(name) {
                std::fs::write(changed.path().join(name), bytes).unwrap();
            }
        }
    }
    println!("clean, damaged, unreadable: {verdicts:?}");
    assert!(panics.is_empty(), "{panics:#?}");
    assert!(verdicts[0] > 0 && verdicts[1] > cases / 3, "{verdicts:?}");
    assert!(
        check(changed.path(), &settings).is_ok(),
        "what was changed was put back"
    );
}
