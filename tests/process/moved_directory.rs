//! A data directory that is moved, replaced, deleted or restored over while a process has it: the
//! process stops with the reason before it acknowledges anything more, what it did acknowledge is in
//! the directory that it wrote, and what stands under the path now is never touched.

use std::path::Path;
use std::process::Command;
use support::{Request, Response, Server, Setup, binary, until};

/// Segments are small, so that copies are.
const CONFIG: &str = "[storage]\nsegment_bytes = 1_049_088";

#[test]
fn a_directory_that_was_moved_is_left_alone_and_so_is_the_new_one() {
    let scratch = tempfile::tempdir().unwrap();
    let [path, moved] = ["data", "moved"].map(|name| scratch.path().join(name));
    let first = start(&path);
    let before = hold(&first, "ana", "in-the-first");

    std::fs::rename(&path, &moved).unwrap();
    refuses(&first, "bo", "after-the-move");
    let second = start(&path);
    let beside = hold(&second, "cy", "in-the-second");

    let log = stops(first);
    says(&log, &path.join("log").display().to_string());
    says(&log, "was moved, replaced or deleted");
    says(&log, &format!("is now {}", moved.join("log").display()));
    is_there(&second, "cy", "in-the-second", &beside);
    assert_eq!(second.stop().0.code(), Some(0));
    for directory in [&path, &moved] {
        check(directory);
    }
    let first = start(&moved);
    is_there(&first, "ana", "in-the-first", &before);
    let second = start(&path);
    is_there(&second, "cy", "in-the-second", &beside);
}

#[test]
fn a_switched_link_stops_the_process_that_came_by_it() {
    let scratch = tempfile::tempdir().unwrap();
    let [link, old, new] = ["data", "old", "new"].map(|name| scratch.path().join(name));
    let seed = start(&old);
    let shared = hold(&seed, "ana", "in-both-of-them");
    assert_eq!(seed.stop().0.code(), Some(0));
    copy(&old, &new);
    std::os::unix::fs::symlink(&old, &link).unwrap();

    let server = start(&link);
    let before = hold(&server, "bo", "in-the-old");
    let aside = scratch.path().join("aside");
    std::os::unix::fs::symlink(&new, &aside).unwrap();
    std::fs::rename(&aside, &link).unwrap();
    refuses(&server, "cy", "after-the-switch");
    let log = stops(server);
    says(&log, &link.join("log").display().to_string());
    says(&log, &old.join("log").display().to_string());

    check(&old);
    check(&new);
    let server = start(&link);
    is_there(&server, "ana", "in-both-of-them", &shared);
    let server = start(&old);
    is_there(&server, "ana", "in-both-of-them", &shared);
    is_there(&server, "bo", "in-the-old", &before);
}

#[test]
fn a_deleted_directory_stops_an_idle_process() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("data");
    let server = start(&path);
    hold(&server, "ana", "before-it");
    remove(&path);
    let log = stops(server);
    says(&log, "the path now leads to nothing");

    // Nothing of it comes back by itself, and the path can be used again.
    assert!(!path.exists());
    let server = start(&path);
    hold(&server, "ana", "after-it");
    assert_eq!(server.stop().0.code(), Some(0));
    check(&path);
}

#[test]
fn a_copy_put_in_place_of_the_files_is_not_written_to() {
    let (scratch, server, kept) = with_a_copy();
    let [path, copied] = ["data", "copy"].map(|name| scratch.path().join(name));
    for entry in std::fs::read_dir(&path).unwrap() {
        remove(&entry.unwrap().path());
    }
    copy(&copied, &path);
    refuses(&server, "cy", "after-the-copy");
    says(&stops(server), "was moved, replaced or deleted");
    check(&path);
    let server = start(&path);
    is_there(&server, "ana", "in-the-copy", &kept);
}

#[test]
fn a_copy_written_over_the_files_is_not_written_to() {
    let (scratch, server, kept) = with_a_copy();
    let [path, copied] = ["data", "copy"].map(|name| scratch.path().join(name));
    copy(&copied, &path);
    refuses(&server, "cy", "after-the-copy");
    says(&stops(server), "was changed by something else");
    check(&path);
    let server = start(&path);
    is_there(&server, "ana", "in-the-copy", &kept);
}

#[test]
fn a_lock_that_was_deleted_lets_no_second_process_in_beside_the_first() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("data");
    let server = start(&path);
    let before = hold(&server, "ana", "before-it");
    for lock in ["log/lock", "snapshots/lock", "lock"] {
        std::fs::remove_file(path.join(lock)).unwrap();
    }
    refuses(&server, "bo", "without-a-lock");
    says(&stops(server), &path.join("log/lock").display().to_string());
    check(&path);
    let server = start(&path);
    is_there(&server, "ana", "before-it", &before);
}

/// A server on `data` with one hold that `copy` has too, and one that it has not.
fn with_a_copy() -> (tempfile::TempDir, Server, Response) {
    let scratch = tempfile::tempdir().unwrap();
    let [path, copied] = ["data", "copy"].map(|name| scratch.path().join(name));
    let server = start(&path);
    let kept = hold(&server, "ana", "in-the-copy");
    assert_eq!(server.stop().0.code(), Some(0));
    copy(&path, &copied);
    let server = start(&path);
    hold(&server, "bo", "after-the-copy-was-made");
    (scratch, server, kept)
}

fn start(data_dir: &Path) -> Server {
    Setup::demo().config(CONFIG).data_dir(data_dir).start()
}

fn hold(server: &Server, user: &str, key: &str) -> Response {
    let answer = server.ask(&Request::hold(user, "drop-1", 1, key));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

/// The process may be gone already; what it must not do is acknowledge.
fn refuses(server: &Server, user: &str, key: &str) {
    let Ok(mut client) = support::Client::try_connect(server.address) else {
        return;
    };
    if let Ok(answer) = client.try_ask(&Request::hold(user, "drop-1", 1, key)) {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
}

/// It ends by itself, with a failure; what it logged.
fn stops(mut server: Server) -> String {
    let status = server.wait();
    let log = server.log.all_lines().join("\n");
    assert_eq!(status.code(), Some(1), "{log}");
    says(&log, "log_stopped");
    log
}

fn says(log: &str, words: &str) {
    assert!(
        log.contains(words),
        "the log does not say `{words}`:\n{log}"
    );
}

fn is_there(server: &Server, user: &str, key: &str, before: &Response) {
    let again = server.ask(&Request::hold(user, "drop-1", 1, key));
    assert_eq!((again.status, &again.body), (201, &before.body), "{key}");
    assert_eq!(again.header("idempotent-replayed"), Some("true"), "{key}");
}

/// A file, or a directory with all that is put into it meanwhile.
fn remove(path: &Path) {
    if path.is_file() {
        std::fs::remove_file(path).unwrap();
        return;
    }
    until("the directory is removed", || {
        let _ = std::fs::remove_dir_all(path);
        (!path.exists()).then_some(())
    });
}

/// The files of `from` into `to`, over those of the same names.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut command = Command::new("cp");
    let status = command.arg("-a").arg(from.join(".")).arg(to).status();
    assert!(status.unwrap().success());
}

fn check(data_dir: &Path) {
    let output = binary().arg("check").arg(data_dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("\"clean\":true"), "{text}");
}
