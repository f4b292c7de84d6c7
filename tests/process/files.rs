//! What the process makes private and refuses to wait for: modes of its files, its memory, and
//! files of the configuration that are none.

use rustix::fs::Mode;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{ADMIN, Request, Setup, binary, until};

/// A user who is not root.
const NOBODY: u32 = 65_534;

const OWN_KEYS: &str = r#"
    [[auth.keys]]
    name = "shop"
    role = "shop"
    key = "a-secret-of-the-shop-itself"
    [payments]
    gateway = "sandbox"
    [[receipts.hmac_keys]]
    id = "r1"
    key = "0123456789abcdef0123456789abcdef"
"#;

#[test]
fn created_files_are_private_whatever_the_umask() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = scratch.path().join("new/data");
    let server = Setup::demo()
        .config(&format!(
            "[report.jsonl]\npath = \"{}\"",
            scratch.path().join("events.jsonl").display()
        ))
        .data_dir(&data_dir)
        // Every file could be read and written by everybody.
        .umask("000")
        .start();
    let bought = server.ask(&Request::buy("ana", "drop-1", "tok_ok", "a-purchase"));
    assert_eq!(bought.status, 201, "{bought:?}");
    let snapshot = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(snapshot.status, 200, "{snapshot:?}");
    let account = scratch.path().join("events.jsonl.cursor");
    until("the sink has written", || account.exists().then_some(()));
    assert_eq!(server.stop().0.code(), Some(0));

    let mut names = Vec::new();
    for path in [vec![data_dir.clone()], below(&data_dir), vec![account]].concat() {
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    for expected in ["lock", "witness", "ledger.log", "snapshots"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
}

#[test]
fn what_others_reach_is_narrowed_and_a_directory_that_is_not_ours_alone_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = scratch.path().join("data");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    fs::create_dir_all(data_dir.join("log")).unwrap();
    fs::set_permissions(&data_dir, Permissions::from_mode(0o755)).unwrap();
    let server = Setup::demo().data_dir(&data_dir).start();
    let line = server.log.wait_for("data_dir_narrowed").unwrap();
    assert_eq!(line["mode"], "755", "{line}");
    assert_eq!(mode(&data_dir), 0o700);
    assert_eq!(server.stop().0.code(), Some(0));

    // A copy made by hand, on a file system of its own.
    fs::create_dir(data_dir.join("lost+found")).unwrap();
    let ours: Vec<_> = below(&data_dir);
    for path in &ours {
        let open = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
    }
    fs::set_permissions(&data_dir, Permissions::from_mode(0o777)).unwrap();
    let elsewhere = scratch.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, data_dir.join("sinks/link")).unwrap();
    let server = Setup::demo().data_dir(&data_dir).start();
    let line = server.log.wait_for("data_files_narrowed").unwrap();
    assert!(line["count"].as_u64().unwrap() >= 4, "{line}");
    // The mark of the clean stop is gone by now.
    let there = |it: &&PathBuf| it.exists() && !it.ends_with("lost+found");
    for path in ours.iter().filter(there) {
        assert_eq!(mode(path) & 0o077, 0, "{}", path.display());
    }
    assert_eq!(mode(&elsewhere), 0o644);
    assert_eq!(server.stop().0.code(), Some(0));

    // Other programs may need to reach through a directory that has files of theirs, or that many share.
    fs::set_permissions(&data_dir, Permissions::from_mode(0o1777)).unwrap();
    refused_as_shared(&data_dir, "many programs share it");
    fs::set_permissions(&data_dir, Permissions::from_mode(0o755)).unwrap();
    fs::write(data_dir.join("a file of somebody else"), "").unwrap();
    refused_as_shared(&data_dir, "it also holds a file of somebody else");
    assert_eq!(mode(&data_dir), 0o755);
    fs::set_permissions(&data_dir, Permissions::from_mode(0o700)).unwrap();
    Setup::demo().data_dir(&data_dir).start();
}

fn refused_as_shared(data_dir: &Path, why: &str) {
    let (status, said) = Setup::demo().data_dir(data_dir).refused();
    let said = said.join("\n");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(why) && said.contains("chmod 700"), "{said}");
}

#[test]
fn files_that_are_no_files_or_without_end_are_refused_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    make_fifo(&fifo);
    let huge = scratch.path().join("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 33).unwrap();
    let own = scratch.path().join("own.toml");
    for (bad, why) in [(&fifo, "regular file"), (&huge, "bytes")] {
        let shown = bad.display();
        for (line, word) in [
            ("", "configuration"),
            (
                "[[auth.keys]]\nname = \"a\"\nrole = \"admin\"\nkey = { file = \"FILE\" }",
                "secret",
            ),
            ("[server.tls]\ncert = \"FILE\"\nkey = \"FILE\"", "TLS"),
            ("[risk]\nrules_file = \"FILE\"", "rules"),
            ("[risk]\nmodel_file = \"FILE\"", "model"),
        ] {
            let line = line.replace("FILE", &shown.to_string());
            fs::write(&own, format!("{OWN_KEYS}\n{line}")).unwrap();
            let config = if line.is_empty() { bad } else { &own };
            let mut command = binary();
            command.arg("serve").arg("--config").arg(config);
            command.args(["--listen", "127.0.0.1:0", "--data-dir"]);
            // A log with rules in force would start without the file.
            command.arg(tempfile::tempdir_in(scratch.path()).unwrap().path());
            let ended = ended(&mut command);
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(1), "{word}: {said}");
            // A model is read up to its bound, and what was read is no model.
            let why = if word == "model" && bad == &huge {
                "model"
            } else {
                why
            };
            assert!(said.contains(why) && said.contains(word), "{word}: {said}");
        }
    }
}

#[test]
fn a_receipt_path_that_is_not_a_file_is_refused_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    make_fifo(&fifo);
    let mut command = binary();
    command.args(["receipt", "verify", "--demo"]).arg(&fifo);
    let ended = ended(&mut command);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("not a regular file"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_sandbox_gateway_and_plain_http_are_logged() {
    let server = Setup::plain()
        .config(OWN_KEYS)
        .config("[server]\nlisten = \"0.0.0.0:0\"")
        .start();
    let (_, lines) = server.stop();
    for event in ["sandbox_gateway", "plain_http"] {
        assert_eq!(level_of(event, &lines), ["warn"], "{lines:?}");
    }
    let (_, lines) = Setup::demo().start().stop();
    for event in ["sandbox_gateway", "plain_http", "data_dir_narrowed"] {
        assert!(level_of(event, &lines).is_empty(), "{lines:?}");
    }
}

#[test]
fn no_other_process_reads_the_memory_of_a_command() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut command = binary();
    command.args([
        "reconcile",
        "--url",
        &url,
        "--key",
        "a-secret-of-an-operator",
    ]);
    let asked = within(&mut command, |pid| {
        // It waits for an answer, so it has come past its beginning.
        let _connection = listener.accept().unwrap();
        // The kernel gives the files of a process that must not be dumped to root.
        fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid()
    });
    assert_eq!(asked, 0);
    let other = within(Command::new("sleep").arg("600"), |pid| {
        until("the program is loaded", || {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
            (name.trim() == "sleep").then_some(())
        });
        fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid()
    });
    assert_ne!(other, 0, "so are those of every process of this user");
}

/// Runs `command` as a user who is not root, for as long as `look` takes.
fn within<T>(command: &mut Command, look: impl FnOnce(u32) -> T) -> T {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).current_dir("/");
    }
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let found = look(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    found
}

#[test]
fn the_heap_of_a_server_stays_off_huge_pages() {
    let server = Setup::demo().start();
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let allowed = status.lines().find(|line| line.starts_with("THP_enabled"));
    let allowed = allowed.and_then(|line| line.split_whitespace().last());
    assert_eq!(allowed, Some("0"), "{status}");
    let maps = fs::read_to_string(format!("/proc/{}/smaps", server.pid())).unwrap();
    let kib: u64 = maps
        .lines()
        .filter_map(|line| line.strip_prefix("AnonHugePages:"))
        .map(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap())
        .sum();
    // What the runtime took before `main` may lie on the first huge pages of the heap.
    assert!(kib <= 4 << 10, "{kib} KiB are on huge pages");
}

fn level_of(event: &str, lines: &[String]) -> Vec<String> {
    let parsed = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    parsed
        .filter(|line: &Value| line["event"] == event)
        .map(|line| line["level"].as_str().unwrap().to_owned())
        .collect()
}

/// Runs a command that has to end by itself.
fn ended(command: &mut Command) -> Output {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What it says fits into the pipe.
    until("the command ends", || child.try_wait().unwrap());
    child.wait_with_output().unwrap()
}

fn make_fifo(path: &Path) {
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}
