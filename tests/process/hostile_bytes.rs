//! The commands that read a stopped data directory, on bytes that somebody made: every checksum
//! agrees, and what they say cannot be; or a file is none. Each ends by itself, with a sentence
//! and never a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use support::history::{Draws, change, files_of, named, write_history};
use support::{binary, until};

/// What reads a stopped directory.
const COMMANDS: [&str; 4] = ["check", "log", "replay", "reconcile"];

/// Other rules, for `replay`.
const RULES: &str =
    "[[rule]]\nname = \"many\"\nwhen = \"count(attempt by ip last 1h) >= 2\"\nthen = \"block\"\n";

/// A copy of a stopped directory that can be changed.
struct Stage {
    scratch: tempfile::TempDir,
    data_dir: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let data_dir = scratch.path().join("data");
        write_history(&data_dir);
        Self { scratch, data_dir }
    }

    /// How a command ends, and what it says on stderr. It never panics, and never hangs.
    fn run(&self, command: &str, about: &str) -> (i32, String) {
        let mut child = binary()
            .arg(command)
            .arg(&self.data_dir)
            .args(self.more(command))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until(&format!("{command} ends, {about}"), || {
            child.try_wait().unwrap()
        });
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        let code = ended.status.code();
        assert!(!told.contains("panicked"), "{command}, {about}: {told}");
        let code = code.unwrap_or_else(|| panic!("{command}, {about}: {} {told}", ended.status));
        assert!((0..=2).contains(&code), "{command}, {about}: {code} {told}");
        (code, told)
    }

    /// What a command takes beside the directory.
    fn more(&self, command: &str) -> Vec<PathBuf> {
        if command == "replay" {
            let rules = self.scratch.path().join("rules.toml");
            fs::write(&rules, RULES).unwrap();
            return vec!["--rules".into(), rules];
        }
        Vec::new()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }
}

#[test]
fn no_command_panics_on_changed_bytes_whose_checksums_agree() {
    let cases: u64 = std::env::var("HOLDFAST_CASES").map_or(40, |it| it.parse().unwrap());
    let stage = Stage::new();
    let clean = files_of(&stage.data_dir);
    let (segment, snapshot) = (named(&clean, ".wal"), named(&clean, ".snapshot"));
    let mut damaged = [0_u64; COMMANDS.len()];
    for case in 0..cases {
        let mut draw = Draws(case);
        let name = [&segment, &segment, &snapshot][draw.below(3)];
        let mut bytes = clean[name].clone();
        let places = if name == &snapshot {
            patch::sections(&bytes)
        } else {
            patch::payloads(&bytes)
        };
        let what = change(&mut bytes, &mut draw, &places);
        fs::write(stage.path(name), bytes).unwrap();
        let gone = ["log/witness", &snapshot, "", ""][draw.below(4)];
        if !gone.is_empty() {
            fs::remove_file(stage.path(gone)).unwrap();
        }
        for (count, command) in damaged.iter_mut().zip(COMMANDS) {
            let about = format!("case {case}, {what} in {name}");
            let (code, told) = stage.run(command, &about);
            *count += u64::from(code != 0);
            // Of reconciling, 1 may be differences, which its report names.
            let said = code == 0 || command == "reconcile" || told.contains("holdfast: ");
            assert!(said, "{command}, {about}: {code} {told}");
        }
        for name in [name.as_str(), gone] {
            if let Some(bytes) = clean.get(name) {
                fs::write(stage.path(name), bytes).unwrap();
            }
        }
    }
    println!("damaged, of {cases}: {damaged:?}");
    assert!(
        damaged.iter().all(|count| *count > cases / 8),
        "{damaged:?}"
    );
}

/// The two that were found by hand: an instant that no calendar has, and a stock that never was.
#[test]
fn an_instant_beyond_the_calendar_and_a_patched_stock_are_errors_with_their_place() {
    let stage = Stage::new();
    let clean = files_of(&stage.data_dir);
    let segment = named(&clean, ".wal");
    let places = patch::payloads(&clean[&segment]);
    for at in [1, places.len() / 2, places.len() - 1] {
        for instant in [
            16_725_225_600_000_u64,
            300_000_000_000_000,
            u64::MAX >> 1,
            u64::MAX,
        ] {
            let mut bytes = clean[&segment].clone();
            let start = places[at].start;
            bytes[start..start + 8].copy_from_slice(&instant.to_le_bytes());
            patch::seal(&mut bytes);
            fs::write(stage.path(&segment), bytes).unwrap();
            for command in COMMANDS {
                stage.run(command, &format!("record {at} at {instant}"));
            }
        }
    }
    let stock = places.iter().find_map(|place| {
        let payload = &clean[&segment][place.clone()];
        let found = payload
            .windows(4)
            .position(|it| it == 500_u32.to_le_bytes());
        found.map(|at| place.start + at)
    });
    let stock = stock.expect("the jacket's total stands in its event");
    for total in [0, 1, 1 << 21, u32::MAX] {
        let mut bytes = clean[&segment].clone();
        bytes[stock..stock + 4].copy_from_slice(&total.to_le_bytes());
        patch::seal(&mut bytes);
        fs::write(stage.path(&segment), bytes).unwrap();
        for command in COMMANDS {
            let (code, told) = stage.run(command, &format!("a stock of {total}"));
            if command == "check" {
                assert_eq!(code, 1, "{total}: {told}");
            }
        }
    }
}

#[test]
fn no_command_waits_for_a_fifo_in_the_data_directory() {
    let stage = Stage::new();
    let mut names: Vec<String> = files_of(&stage.data_dir).into_keys().collect();
    for folder in ["sinks", "dead-letters"] {
        fs::create_dir_all(stage.path(folder)).unwrap();
    }
    let more = [
        "lock",
        "sandbox/ledger.log",
        "sinks/jsonl.cursor",
        "dead-letters/jsonl.jsonl",
    ];
    names.extend(more.map(str::to_owned));
    for name in names {
        let path = stage.path(&name);
        let before = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        make_fifo(&path);
        for command in COMMANDS {
            let (code, told) = stage.run(command, &format!("{name} is a FIFO"));
            // A command reads only what it needs.
            if command == "check" && name != "lock" {
                assert_ne!(code, 0, "{name}: {told}");
            }
        }
        fs::remove_file(&path).unwrap();
        if let Some(bytes) = before {
            fs::write(&path, bytes).unwrap();
        }
    }
    for command in COMMANDS {
        let (code, told) = stage.run(command, "everything was put back");
        assert_eq!(code, 0, "{command}: {told}");
    }
}

fn make_fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}
