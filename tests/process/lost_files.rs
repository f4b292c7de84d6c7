//! Files of a stopped data directory that are gone or have another length: what a clean stop left is missed, and a log that
//! is gone is not begun anew beside what is left of the old one.

use std::fs;
use std::path::{Path, PathBuf};
use support::{ADMIN, Request, Response, Server, Setup, binary};

const CONFIG: &str = "[storage]\nsegment_bytes = 1_049_088";
const WHOLE_PURCHASE: &str = "of-the-purchase";

#[test]
fn a_witness_that_is_gone_after_a_clean_stop_is_damage() {
    let (directory, before) = stopped();
    let witness = directory.path().join("log/witness");
    let kept = fs::read(&witness).unwrap();
    fs::remove_file(&witness).unwrap();
    is_damaged(directory.path(), &["witness", "the mark of a clean stop"]);

    fs::write(&witness, kept).unwrap();
    is_whole(directory.path(), &before);
}

#[test]
fn a_tail_that_is_gone_after_a_clean_stop_is_damage_with_a_witness_or_without() {
    let (directory, before) = stopped();
    let segment = last_segment(directory.path());
    let kept = fs::read(&segment).unwrap();
    let last_frame = kept.windows(4).rposition(|it| it == b"\xf7WFR").unwrap();
    let mut cut = kept.clone();
    cut[last_frame..].fill(0);
    fs::write(&segment, cut).unwrap();
    is_damaged(directory.path(), &["end of the log"]);

    fs::write(&segment, kept).unwrap();
    is_whole(directory.path(), &before);

    // Without a witness, only the mark knows where the log ended.
    let off = "witness = false";
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), off);
    buy(&server);
    assert_eq!(server.stop().0.code(), Some(0));
    let segment = last_segment(directory.path());
    let mut cut = fs::read(&segment).unwrap();
    let last_frame = cut.windows(4).rposition(|it| it == b"\xf7WFR").unwrap();
    cut[last_frame..].fill(0);
    fs::write(&segment, cut).unwrap();
    is_damaged(
        directory.path(),
        &["end of the log", "the mark of a clean stop"],
    );
}

#[test]
fn bytes_behind_the_end_after_a_clean_stop_are_no_torn_tail() {
    let (directory, before) = stopped();
    let segment = last_segment(directory.path());
    let kept = fs::read(&segment).unwrap();
    let mut more = kept.clone();
    let at = more.len() - 8;
    more[at..].fill(7);
    fs::write(&segment, more).unwrap();
    is_damaged(directory.path(), &["bytes behind the end"]);

    fs::write(&segment, kept).unwrap();
    is_whole(directory.path(), &before);
}

#[test]
fn a_file_that_is_longer_or_shorter_than_it_was_written_is_damage() {
    let (directory, before) = stopped();
    let segment = last_segment(directory.path());
    let snapshot = snapshot_of(directory.path());
    let witness = directory.path().join("log/witness");
    let longer = |path: &Path, more: &[u8]| [&fs::read(path).unwrap()[..], more].concat();
    let bytes = fs::read(&witness).unwrap();
    for (path, changed, words) in [
        (&segment, longer(&segment, &[0]), "segment length in bytes"),
        (
            &segment,
            longer(&segment, &[7; 4096]),
            "segment length in bytes",
        ),
        (
            &witness,
            bytes[..600].to_vec(),
            "length of the witness in bytes: expected 0x1200, found 0x258",
        ),
        (
            &witness,
            bytes[..4200].to_vec(),
            "length of the witness in bytes: expected 0x1200, found 0x1068",
        ),
        (
            &witness,
            Vec::new(),
            "length of the witness in bytes: expected 0x1200, found 0x0",
        ),
        (
            &witness,
            longer(&witness, &[7]),
            "length of the witness in bytes",
        ),
        (
            &witness,
            vec![7; bytes.len()],
            "witness magic: expected 0x544957f7, found 0x7070707",
        ),
    ] {
        let kept = fs::read(path).unwrap();
        fs::write(path, changed).unwrap();
        is_damaged(directory.path(), &[words]);
        fs::write(path, kept).unwrap();
    }
    let kept = fs::read(&snapshot).unwrap();
    fs::write(&snapshot, longer(&snapshot, b"x")).unwrap();
    // A start goes on from the log: the snapshot counts for nothing.
    check_is_damaged(
        directory.path(),
        &[&name_of(&snapshot), "bytes after the trailer"],
    );
    fs::write(&snapshot, kept).unwrap();
    is_whole(directory.path(), &before);
}

#[test]
fn after_a_kill_a_missing_witness_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = start(directory.path(), "");
    let before = buy(&server);
    server.kill();
    fs::remove_file(directory.path().join("log/witness")).unwrap();
    is_whole(directory.path(), &before);
}

#[test]
fn a_log_that_is_gone_beside_a_snapshot_or_a_ledger_is_not_begun_anew() {
    let (directory, before) = stopped();
    let [log, snapshots, kept] =
        ["log", "snapshots", "kept"].map(|name| directory.path().join(name));
    let snapshot = snapshot_of(directory.path());
    let ledger = directory.path().join("sandbox/ledger.log");
    fs::rename(&log, &kept).unwrap();

    let aside = directory.path().join("ledger.aside");
    fs::rename(&ledger, &aside).unwrap();
    is_damaged(directory.path(), &[&name_of(&snapshot), "restore log/"]);
    fs::rename(&aside, &ledger).unwrap();

    let aside = directory.path().join("snapshots.aside");
    fs::rename(&snapshots, &aside).unwrap();
    is_damaged(directory.path(), &["ledger.log", "restore log/"]);

    // Nothing was begun; what was there before fits.
    let begun = |name: &String| name.contains(".wal");
    assert!(!log.exists() || !names_in(&log).iter().any(begun));
    for made in [&log, &snapshots] {
        let _ = fs::remove_dir_all(made);
    }
    fs::rename(&aside, &snapshots).unwrap();
    fs::rename(&kept, &log).unwrap();
    is_whole(directory.path(), &before);
}

/// A directory of a server that bought, took a snapshot, and was stopped; and the purchase.
fn stopped() -> (tempfile::TempDir, Response) {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), "");
    let before = buy(&server);
    let request = Request::post("/admin/snapshot").key(ADMIN);
    let taken = server.ask(&request);
    assert!(matches!(taken.status, 200..=202), "{taken:?}");
    let last = server.ask(&Request::hold("bo", "drop-1", 1, "behind-the-snapshot"));
    assert_eq!(last.status, 201, "{last:?}");
    assert_eq!(server.stop().0.code(), Some(0));
    (directory, before)
}

fn start(data_dir: &Path, storage: &str) -> Server {
    setup(data_dir, storage).start()
}

fn setup(data_dir: &Path, storage: &str) -> Setup {
    Setup::demo()
        .config(CONFIG)
        .config(storage)
        .data_dir(data_dir)
}

fn buy(server: &Server) -> Response {
    let answer = server.ask(&Request::buy("ana", "drop-1", "tok_ok", WHOLE_PURCHASE));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

/// `check` calls it damaged, a start refuses it, and both say so in these words.
fn is_damaged(data_dir: &Path, words: &[&str]) {
    check_is_damaged(data_dir, words);
    refuses(data_dir, words);
}

fn check_is_damaged(data_dir: &Path, words: &[&str]) {
    let output = binary().arg("check").arg(data_dir).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    says(&text, words);
}

fn refuses(data_dir: &Path, words: &[&str]) {
    match setup(data_dir, "").try_start() {
        Ok(_) => panic!("it started"),
        Err((status, log)) => {
            assert_eq!(status.code(), Some(1));
            says(&log.join("\n"), words);
        }
    }
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not said:\n{text}");
    }
}

fn is_whole(data_dir: &Path, before: &Response) {
    let server = start(data_dir, "");
    let again = server.ask(&Request::buy("ana", "drop-1", "tok_ok", WHOLE_PURCHASE));
    assert_eq!((again.status, &again.body), (before.status, &before.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(server.stop().0.code(), Some(0));
    let output = binary().arg("check").arg(data_dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn snapshot_of(data_dir: &Path) -> PathBuf {
    let entries = fs::read_dir(data_dir.join("snapshots")).unwrap();
    let mut paths = entries.map(|it| it.unwrap().path());
    let found = paths.find(|it| it.extension().is_some_and(|it| it == "snapshot"));
    found.expect("there is one")
}

fn last_segment(data_dir: &Path) -> PathBuf {
    let log = data_dir.join("log");
    let mut names = names_in(&log);
    names.retain(|name| name.contains(".wal"));
    names.sort();
    log.join(names.last().unwrap())
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|it| name_of(&it.unwrap().path())).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
