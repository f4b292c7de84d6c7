//! Who may use whom: the edges between the rooms of the crate, read from its `use` lines and
//! paths. A new edge is a decision: it is added here and to `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room of `src/`, and the rooms that it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("trace", &[]),
    ("money", &[]),
    ("ids", &[]),
    ("json", &["ids", "money", "time"]),
    ("causes", &[]),
    ("job", &[]),
    ("random", &[]),
    ("files", &[]),
    ("trust", &["files"]),
    ("calling", &[]),
    ("engine", &["ids", "money", "time"]),
    (
        "journal",
        &["engine", "files", "ids", "money", "random", "time", "trace"],
    ),
    (
        "report",
        &[
            "calling", "causes", "engine", "files", "ids", "job", "journal", "json", "money",
            "receipts", "time", "trace", "trust",
        ],
    ),
    (
        "backup",
        &[
            "calling", "causes", "engine", "files", "ids", "journal", "random", "time", "trust",
        ],
    ),
    ("risk", &["engine", "ids", "money", "time"]),
    (
        "replay",
        &["engine", "ids", "journal", "money", "risk", "time"],
    ),
    ("receipts", &["engine", "ids", "json", "money", "time"]),
    (
        "payments",
        &[
            "calling", "engine", "files", "ids", "job", "journal", "money", "receipts", "time",
            "trace", "trust",
        ],
    ),
    (
        "reconcile",
        &[
            "engine", "ids", "job", "journal", "money", "payments", "time",
        ],
    ),
    (
        "config",
        &[
            "backup",
            "engine",
            "files",
            "ids",
            "journal",
            "money",
            "payments",
            "receipts",
            "report",
            "telemetry",
            "time",
            "webhooks",
        ],
    ),
    (
        "webhooks",
        &["engine", "ids", "journal", "money", "payments", "time"],
    ),
    (
        "telemetry",
        &[
            "causes", "engine", "ids", "money", "payments", "random", "time", "trace",
        ],
    ),
    (
        "http",
        &[
            "backup",
            "config",
            "engine",
            "files",
            "ids",
            "journal",
            "json",
            "money",
            "payments",
            "random",
            "receipts",
            "reconcile",
            "report",
            "risk",
            "telemetry",
            "time",
            "trace",
            "webhooks",
        ],
    ),
    (
        "cli",
        &[
            "backup",
            "config",
            "engine",
            "files",
            "http",
            "ids",
            "journal",
            "money",
            "payments",
            "random",
            "receipts",
            "reconcile",
            "replay",
            "report",
            "risk",
            "telemetry",
            "time",
            "trace",
            "trust",
            "webhooks",
        ],
    ),
    ("main", &["cli"]),
];

/// What a room must not name at all, whatever crate it comes from.
const FORBIDDEN: [(&str, &[&str]); 7] = [
    (
        "webhooks",
        &[
            "std::fs",
            "std::io",
            "SystemTime",
            "Instant::now",
            "tokio",
            "tracing",
        ],
    ),
    (
        "engine",
        &[
            "std::fs",
            "std::io",
            "std::net::Tcp",
            "std::time::SystemTime",
            "Instant::now",
            "SystemTime",
            "tokio",
            "hyper",
            "tracing",
            "serde",
            "println!",
            "rand::",
            "wal::",
        ],
    ),
    ("ids", &["std::fs", "tokio", "serde", "wal::"]),
    ("money", &["std::fs", "tokio", "serde", "wal::"]),
    ("time", &["SystemTime", "tokio", "serde", "wal::"]),
    ("http", &["wal::", "SystemTime"]),
    ("payments", &["wal::", "hyper_util::server"]),
];

#[test]
fn rooms_use_only_what_they_may() {
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        let allowed = EDGES.iter().find(|(name, _)| *name == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{room} is not in the list of rooms"));
        for file in files {
            for used in used_rooms(&code_of(&file)) {
                if used != room && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "edges that are not allowed:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn rooms_name_nothing_that_is_kept_out_of_them() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (room, forbidden) in FORBIDDEN {
        for file in rooms.get(room).into_iter().flatten() {
            let code = code_of(file);
            for word in forbidden {
                if code.contains(word) {
                    wrong.push(format!("{} names {word}", file.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "kept out, but named:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn only_the_journal_uses_the_log_and_the_log_uses_nobody() {
    for (room, files) in rooms() {
        if room != "journal" {
            for file in files {
                assert!(
                    !code_of(&file).contains("wal::"),
                    "{} uses the log",
                    file.display()
                );
            }
        }
    }
    let manifest = fs::read_to_string(root().join("wal/Cargo.toml")).expect("the log's manifest");
    assert!(!manifest.contains("holdfast"), "the log knows bytes only");
}

/// A new kind of event must be placed wherever events are told apart: nothing may leave it out
/// without a word.
#[test]
fn no_match_over_events_has_a_default_arm() {
    let mut wrong = Vec::new();
    for file in files_below(&root().join("src")) {
        let of_events = file.ends_with("engine/event.rs") || file.parent().is_some_and(ends_event);
        let code = code_of(&file);
        for line in default_arms(&code, of_events) {
            wrong.push(format!("{}:{line}", file.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "a default arm beside arms of events; name every kind:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_default_arm_over_events_is_found_and_others_are_not() {
    let over_events = "match event {\n    Event::HoldPlaced(it) => a(it),\n    _ => {}\n}";
    assert_eq!(default_arms(over_events, false), [3]);
    let named = over_events.replace('_', "other");
    assert_eq!(default_arms(&named, false), [3]);
    let by_group = over_events.replace("Event::HoldPlaced", "Group::Hold");
    assert_eq!(default_arms(&by_group, false), [3]);
    let in_group = over_events.replace("Event::", "HoldEvent::");
    assert_eq!(default_arms(&in_group, false), [3]);
    let within = over_events.replace("Event::", "Self::");
    assert_eq!(default_arms(&within, true), [3]);
    assert_eq!(default_arms(&within, false), [0; 0]);
    let refused = over_events.replace("{}", "unreachable!(\"it was made here\"),");
    assert_eq!(default_arms(&refused, false), [0; 0]);
    let other = over_events.replace("Event::HoldPlaced(it)", "1");
    assert_eq!(default_arms(&other, false), [0; 0]);
}

fn ends_event(folder: &Path) -> bool {
    folder.ends_with("engine/event")
}

/// The lines of arms that take any event, in code as `rustfmt` leaves it: an arm's siblings stand
/// at its own depth. One that stops the process is none.
fn default_arms(code: &str, of_events: bool) -> Vec<usize> {
    let lines: Vec<&str> = code.lines().collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let takes_all = |line: &str| {
        let pattern = line.trim_start().split(" =>").next().unwrap_or_default();
        let pattern = pattern.split(" if ").next().unwrap_or_default();
        let word = |it: char| it.is_ascii_lowercase() || it == '_';
        line.contains(" =>") && !pattern.is_empty() && pattern.chars().all(word)
    };
    let names_event = |line: &str| {
        let arm = line.trim_start().trim_start_matches("| ");
        // `Event::`, `Group::`, and the groups, `HoldEvent::` and so on.
        let named = arm.split("::").next().unwrap_or_default();
        let of_a_group = named == "Group" || named.ends_with("Event");
        of_a_group && arm.contains("::") || of_events && arm.starts_with("Self::")
    };
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        if !takes_all(line) || line.contains("unreachable!") {
            continue;
        }
        let within = lines[..place].iter().rev();
        let mut siblings = within
            .take_while(|it| it.trim().is_empty() || depth(it) >= depth(line))
            .filter(|it| depth(it) == depth(line));
        if siblings.any(|it| names_event(it)) {
            found.push(place + 1);
        }
    }
    found
}

#[test]
fn every_file_says_what_it_owns() {
    let mut silent = Vec::new();
    for folder in ["src", "wal/src", "loadtest/src"] {
        for file in files_below(&root().join(folder)) {
            let text = fs::read_to_string(&file).expect("a source file");
            if !text.starts_with("//!") {
                silent.push(file.display().to_string());
            }
        }
    }
    assert!(silent.is_empty(), "without a head:\n{}", silent.join("\n"));
}

#[test]
fn the_picture_in_the_docs_names_every_room() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("the document");
    for (room, _) in EDGES {
        assert!(
            text.contains(&format!("`src/{room}")),
            "docs/architecture.md forgets {room}"
        );
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of each room: `src/ROOM.rs` and everything below `src/ROOM/`.
pub(crate) fn rooms() -> BTreeMap<String, Vec<PathBuf>> {
    let source = root().join("src");
    let mut rooms: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files_below(&source) {
        let inside = file.strip_prefix(&source).expect("it is below");
        let first = inside.components().next().expect("it has a name");
        let room = Path::new(first.as_os_str())
            .file_stem()
            .expect("it has a name");
        let room = room.to_string_lossy().into_owned();
        if room != "lib" {
            rooms.entry(room).or_default().push(file);
        }
    }
    rooms
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file's code: without comments, and without its unit tests at the end.
pub(crate) fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    if file.components().any(|it| it.as_os_str() == "tests") {
        return String::new();
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The rooms named by `crate::ROOM` or `holdfast::ROOM`, grouped imports included.
fn used_rooms(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for prefix in ["crate::", "holdfast::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                for item in group.split('}').next().unwrap_or_default().split(',') {
                    insert_word(&mut used, item.trim());
                }
            } else {
                insert_word(&mut used, rest);
            }
        }
    }
    used
}

fn insert_word(used: &mut BTreeSet<String>, text: &str) {
    let word: String = text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    if EDGES.iter().any(|(room, _)| *room == word) {
        used.insert(word);
    }
}
