//! Files import each other downwards: no circle runs through two folders of a room, and the folders
//! of the engine, the journal and the front end stand in an order.
//!
//! Read from `use` lines and paths that begin with `crate`, `super` or `self`. A method is called
//! without naming its file, so it shows no arrow here.

use super::architecture::{code_of, rooms, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folders of a room, the lowest first. A file may use its own folder and those before it.
const FOLDERS: [(&str, &[&str]); 3] = [
    (
        "engine",
        &[
            "cells", "words", "event", "state", "shared", "risk", "decide", "query",
        ],
    ),
    (
        "journal",
        &[
            "format",
            "time",
            "core",
            "turn",
            "reads",
            "catalogue",
            "risk",
            "webhooks",
            "snapshot",
            "recovery",
            "tail",
            "sweeper",
            "upkeep",
        ],
    ),
    (
        "http",
        &[
            "wire", "server", "call", "shop", "ops", "admin", "hooks", "core", "route", "front",
        ],
    ),
];

#[test]
fn no_circle_runs_through_two_folders_of_a_room() {
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        wrong.extend(circles_between_folders(&arrows(&modules(&room, &files))));
    }
    assert!(
        wrong.is_empty(),
        "files of different folders that import each other in a circle:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn folders_only_look_down() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (room, folders) in FOLDERS {
        let floor = |module: &str| {
            let folder = module.split("::").nth(1)?;
            let place = folders.iter().position(|it| *it == folder);
            Some(place.unwrap_or_else(|| panic!("{folder} is not in the list of folders")))
        };
        for (from, to) in arrows(&modules(room, &rooms[room])) {
            // The room's own file names every folder, for the other rooms; nobody in it goes that way.
            let looks_up = match (floor(&from), floor(&to)) {
                (Some(from), Some(to)) => to > from,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if looks_up {
                wrong.push(format!("{from} uses {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "they look up:\n{}", wrong.join("\n"));
}

#[test]
fn a_circle_through_two_folders_is_found_and_one_within_a_folder_is_not() {
    let code = |text: &str| text.to_owned();
    let house = |up: &str| {
        BTreeMap::from([
            (code("r"), code("mod a;\nmod b;")),
            (code("r::a"), code("mod x;\nmod y;\npub use x::X;")),
            (code("r::a::x"), code("use super::y::Y;")),
            (code("r::a::y"), code(&format!("use super::x::X;\n{up}"))),
            (code("r::b"), code("mod z;")),
            (code("r::b::z"), code("use crate::{r::a::X, r::a::y::Y};")),
        ])
    };
    let found = |up: &str| circles_between_folders(&arrows(&house(up))).len();
    assert_eq!(found(""), 0);
    assert_eq!(found("use crate::r::b::z::Z;"), 1);
    assert_eq!(found("fn f() { crate::r::b::z::g(); }"), 1);
    assert_eq!(found("use crate::r::b::{self, Q, z::{Z, W}};"), 1);
    assert_eq!(found("use crate::r::c::Z;"), 0);
}

/// The code of each module of a room, by its path from the crate's root.
fn modules(room: &str, files: &[PathBuf]) -> BTreeMap<String, String> {
    let source = root().join("src");
    let name = |file: &Path| {
        let inside = file.strip_prefix(&source).expect("it is below");
        let path = inside.with_extension("").to_string_lossy().into_owned();
        let path = path.strip_suffix("/mod").unwrap_or(&path).to_owned();
        path.replace('/', "::")
    };
    let own = |name: &String| name == room || name.starts_with(&format!("{room}::"));
    let all = files.iter().map(|file| (name(file), code_of(file)));
    all.filter(|(name, _)| own(name)).collect()
}

/// Which module uses which, both of one room.
fn arrows(modules: &BTreeMap<String, String>) -> BTreeSet<(String, String)> {
    let mut arrows = BTreeSet::new();
    for (module, code) in modules {
        for used in paths_used(module, code, modules) {
            if let Some(to) = module_of(&used, modules).filter(|to| to != module) {
                arrows.insert((module.clone(), to));
            }
        }
    }
    arrows
}

/// The module that a path leads into: the longest that is its beginning.
fn module_of(path: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let mut path = path.to_owned();
    while !modules.contains_key(&path) {
        let end = path.rfind("::")?;
        path.truncate(end);
    }
    Some(path)
}

/// The paths that `module` names, from the crate's root.
fn paths_used(module: &str, code: &str, modules: &BTreeMap<String, String>) -> Vec<String> {
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut found = Vec::new();
    for (prefix, base) in [("crate::", ""), ("super::", parent), ("self::", module)] {
        for (at, _) in code.match_indices(prefix) {
            let before = &code[..at];
            let longer =
                before.ends_with(|it: char| it.is_alphanumeric() || it == ':' || it == '_');
            // `pub(in crate::room)` says who may use an item, and uses nothing.
            if !longer && !before.ends_with("(in ") {
                expand(base, &code[at + prefix.len()..], &mut found);
            }
        }
    }
    // A folder's own file may name what stands in the folder without a prefix.
    for line in code.lines() {
        let used = line.trim_start_matches("pub ").strip_prefix("use ");
        let first = used.and_then(|it| it.split("::").next());
        if let Some(first) = first.filter(|it| modules.contains_key(&join(module, it))) {
            found.push(join(module, first));
        }
    }
    found
}

/// Every path of a tree of imports that begins with `text`: `a::b`, or `a::{b, c::{d, e}}`.
fn expand(base: &str, text: &str, found: &mut Vec<String>) {
    let word_end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let (word, rest) = text.split_at(word_end.unwrap_or(text.len()));
    let path = join(base, word.trim_end_matches(':'));
    if (word.ends_with("::") || word.is_empty())
        && let Some(group) = rest.strip_prefix('{')
    {
        for item in items(group) {
            expand(&path, item.trim(), found);
        }
    } else {
        found.push(path);
    }
}

/// The parts of a group up to its closing brace.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut items) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[begin..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|it| !it.trim().is_empty());
    items
}

fn join(base: &str, path: &str) -> String {
    match (base, path) {
        ("", path) => path.to_owned(),
        (base, "" | "self") => base.to_owned(),
        (base, path) => format!("{base}::{path}"),
    }
}

/// Circles whose modules stand in more than one folder, each in one line.
fn circles_between_folders(arrows: &BTreeSet<(String, String)>) -> Vec<String> {
    let from = |module: &str| {
        let mut reached = BTreeSet::new();
        let mut left = vec![module.to_owned()];
        while let Some(module) = left.pop() {
            let next = arrows.iter().filter(|(from, _)| *from == module);
            left.extend(
                next.filter(|(_, to)| reached.insert(to.clone()))
                    .map(|(_, to)| to.clone()),
            );
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = arrows
        .iter()
        .map(|(module, _)| (module, from(module)))
        .collect();
    let folders: BTreeSet<&str> = arrows
        .iter()
        .flat_map(|(from, to)| [from, to])
        .filter_map(|it| it.rsplit_once("::"))
        .map(|(folder, _)| folder)
        .collect();
    let folder = |module: &str| match module.rsplit_once("::") {
        Some((above, _)) if !folders.contains(module) => above.to_owned(),
        Some(_) | None => module.to_owned(),
    };
    let mut circles = BTreeSet::new();
    for (module, ways) in &reached {
        let circle = ways.iter().filter(|other| {
            let back = reached.get(other);
            back.is_some_and(|it| it.contains(*module))
        });
        let circle: BTreeSet<&String> = circle.collect();
        let through: BTreeSet<String> = circle.iter().map(|it| folder(it)).collect();
        if circle.contains(module) && through.len() > 1 {
            let names: Vec<&str> = circle.iter().map(|it| it.as_str()).collect();
            circles.insert(names.join(", "));
        }
    }
    circles.into_iter().collect()
}
