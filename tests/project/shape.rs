//! The size of the code's parts: files, functions, methods of a type, names with two meanings.
//!
//! Each figure has a bound that may only fall. `cargo test --test project shape -- --nocapture`
//! prints the figures. Read from the text, as `rustfmt` lays it out: an item ends at the brace that
//! stands under its first letter.

use super::architecture::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A longer file has a reason, and is one of few.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// What there is at most, by folder: files, functions, methods of one type, names.
const BOUNDS: [(&str, Shape); 3] = [
    (
        "src",
        Shape {
            long_files: 0,
            long_functions: 10,
            // Of the shard: deciding, applying and showing are methods of it, each in a folder of its own.
            methods: 142,
            names: 0,
        },
    ),
    (
        "wal/src",
        Shape {
            long_files: 0,
            long_functions: 0,
            // Of the log; the last one asks whether its ring has room.
            methods: 26,
            names: 0,
        },
    ),
    (
        "tests",
        Shape {
            long_files: 25,
            long_functions: 56,
            methods: 42,
            names: 2,
        },
    ),
];

/// What of a folder is larger than it should be.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    /// Files over [`FILE_LINES`].
    long_files: usize,
    /// Functions over [`FUNCTION_LINES`].
    long_functions: usize,
    /// Methods of the type that has most.
    methods: usize,
    /// Names of types that more than one file defines.
    names: usize,
}

/// The same, with the places.
#[derive(Default)]
struct Measured {
    long_files: Vec<(usize, String)>,
    long_functions: Vec<(usize, String)>,
    methods: BTreeMap<String, usize>,
    names: BTreeMap<String, BTreeSet<String>>,
}

#[test]
fn files_functions_types_and_names_stay_within_their_bounds() {
    let mut report = String::new();
    let mut beyond = String::new();
    for (folder, bound) in &BOUNDS {
        let measured = Measured::of(folder);
        let is = measured.shape();
        writeln!(report, "{folder}: {is:?}").expect("a text grows");
        if is.long_files > bound.long_files
            || is.long_functions > bound.long_functions
            || is.methods > bound.methods
            || is.names > bound.names
        {
            writeln!(beyond, "{folder}: {is:?}, at most {bound:?}").expect("a text grows");
            beyond.push_str(&measured.places());
        }
    }
    println!("{report}");
    assert!(
        beyond.is_empty(),
        "split what grew, or say in the bound why:\n{beyond}"
    );
}

#[test]
fn what_is_too_large_is_found() {
    let mut measured = Measured::default();
    let body = "    let a = 1;\n".repeat(FUNCTION_LINES);
    let text = format!(
        "struct One;\nimpl One {{\n    fn a(&self) {{}}\n    async fn b(&self) {{\n{}    }}\n}}\n\
         impl Clone for One {{\n    fn clone(&self) -> Self {{\n        One\n    }}\n}}\n\
         pub(crate) fn long() {{\n{body}}}\nfn short() {{\n}}\n",
        body.replace("    let", "        let"),
    );
    measured.add("x/one.rs", &text);
    measured.add("x/two.rs", "pub enum One {}\npub(super) trait Two {}\n");
    assert_eq!(
        measured.shape(),
        Shape {
            long_files: 0,
            long_functions: 2,
            methods: 2,
            names: 1,
        }
    );
    measured.add("x/three.rs", &"// \n".repeat(FILE_LINES + 1));
    assert_eq!(measured.shape().long_files, 1);
}

impl Measured {
    fn of(folder: &str) -> Self {
        let mut measured = Self::default();
        for file in rust_files(&root().join(folder)) {
            let name = file.strip_prefix(root()).expect("a file of the project");
            let text = std::fs::read_to_string(&file).expect("a source file is text");
            measured.add(&name.display().to_string(), &text);
        }
        measured
    }

    fn add(&mut self, file: &str, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES {
            self.long_files.push((lines.len(), file.to_owned()));
        }
        let mut owner = None;
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if let Some(name) = item(line, &["fn"]) {
                let length = lines_of_item(&lines[at..], indent);
                if length > FUNCTION_LINES {
                    self.long_functions.push((length, format!("{file} {name}")));
                }
                if let (Some(owner), 4) = (&owner, indent) {
                    *self.methods.entry(format!("{file} {owner}")).or_default() += 1;
                }
            }
            if indent == 0 && !line.is_empty() {
                if let Some(rest) = line.strip_prefix("impl") {
                    owner = inherent(rest);
                } else if line.starts_with('}') {
                    owner = None;
                }
                if let Some(name) = item(line, &["struct", "enum", "trait", "type", "union"]) {
                    let files = self.names.entry(name.to_owned()).or_default();
                    files.insert(file.to_owned());
                }
            }
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            long_files: self.long_files.len(),
            long_functions: self.long_functions.len(),
            methods: self.by_type().values().copied().max().unwrap_or(0),
            names: self.twice().count(),
        }
    }

    /// Methods by type: all `impl` blocks of a room count, wherever in it they stand.
    fn by_type(&self) -> BTreeMap<(String, &str), usize> {
        let mut types = BTreeMap::new();
        for (place, methods) in &self.methods {
            let (file, owner) = place.rsplit_once(' ').expect("a file and a type");
            let room: Vec<&str> = file.split('/').take(2).collect();
            *types.entry((room.join("/"), owner)).or_default() += methods;
        }
        types
    }

    fn twice(&self) -> impl Iterator<Item = (&String, &BTreeSet<String>)> {
        self.names.iter().filter(|(_, files)| files.len() > 1)
    }

    fn places(&self) -> String {
        let mut text = String::new();
        for (lines, place) in self.long_files.iter().chain(&self.long_functions) {
            writeln!(text, "  {lines} lines: {place}").expect("a text grows");
        }
        let most = self
            .by_type()
            .into_iter()
            .max_by_key(|(_, methods)| *methods);
        if let Some(((room, owner), methods)) = most {
            writeln!(text, "  {methods} methods: {owner} of {room}").expect("a text grows");
        }
        for (name, files) in self.twice() {
            writeln!(text, "  {name}: {files:?}").expect("a text grows");
        }
        text
    }
}

/// The type whose own methods the block that begins with `impl` and `rest` has.
fn inherent(rest: &str) -> Option<String> {
    let rest = match rest.strip_prefix('<') {
        // The parameters of the block: no type of ours has `>` in them but at their end.
        Some(generic) => generic.split_once("> ")?.1,
        None => rest.trim_start(),
    };
    let is_of_a_trait = rest.contains(" for ");
    let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_')?;
    (!is_of_a_trait).then(|| rest[..end].to_owned())
}

/// The name of the item that `line` begins, where it is one of `kinds`.
fn item<'l>(line: &'l str, kinds: &[&str]) -> Option<&'l str> {
    let mut rest = line.trim_start();
    if let Some(visible) = rest.strip_prefix("pub") {
        rest = match visible.strip_prefix('(') {
            Some(within) => within.split_once(')')?.1,
            None => visible,
        }
        .trim_start();
    }
    for word in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let (kind, rest) = rest.split_once(' ')?;
    if !kinds.contains(&kind) {
        return None;
    }
    let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_');
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// How many lines the item has that begins with the first of `lines`.
fn lines_of_item(lines: &[&str], indent: usize) -> usize {
    let ends = |line: &&str| {
        let (before, rest) = line.split_at(indent.min(line.len()));
        before.trim().is_empty() && (rest == "}" || rest.starts_with("} "))
    };
    // A declaration without a body, or a body on the same line.
    if lines[0].ends_with(';') || lines[0].ends_with('}') {
        return 1;
    }
    let signature = lines
        .iter()
        .position(|line| line.ends_with('{') || line.ends_with(';') || line.ends_with('}'));
    match signature {
        Some(at) if !lines[at].ends_with('{') => at + 1,
        Some(at) => at + 1 + lines[at + 1..].iter().position(ends).map_or(0, |it| it + 1),
        None => lines.len(),
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
