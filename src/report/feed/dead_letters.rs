//! Owns dead letters: events that a sink rejected permanently, kept in the data directory until
//! they are redriven.
//!
//! Invariants: a letter is synced before the sink's cursor passes it; it has the whole event, so
//! that it can be delivered after the log has removed it; the folder has a maximum size, at which a
//! sink stops rather than lose anything. After a crash a letter may be written twice; it is shown
//! once. A file is only appended to: a line names letters that are struck out, and the file is written
//! again without them once they are the larger part of it.
//! Deliberately absent: delivering them, which the runner does.

use super::cursor::{read_text, rename_in};
use super::sink::Fed;
use crate::engine::event::Event;
use crate::files::{bytes_of, read};
use crate::ids::Lsn;
use crate::journal::codec::{self, Kind};
use crate::journal::{Access, AuditEntry, Directory};
use crate::report::event_json;
use crate::time::UnixMs;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder in the data directory.
pub const FOLDER: &str = "dead-letters";

/// Above every `report.dead_letters_bytes_max` that fits into memory.
const FILE_BYTES_MAX: u64 = 1 << 40;

const SUFFIX: &str = ".jsonl";

/// A file with fewer struck letters is not written again for them.
const STRUCK_MIN: usize = 64;

/// An event that a sink rejected permanently.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The event.
    pub fed: Fed,
    pub cause: String,
    pub refused_at: UnixMs,
}

#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// An operation of the file system failed.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// `report.dead_letters_bytes_max` is reached.
    #[error(
        "the dead letters have reached {bytes_max} bytes (report.dead_letters_bytes_max); mend \
         what refuses them and drive them again, or move the bound"
    )]
    Full {
        /// The bound.
        bytes_max: u64,
    },
    /// A line is not a dead letter.
    #[error("{path}, line {line}: not a dead letter; restore the file from a copy")]
    Damaged {
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// The dead letters of all sinks.
#[derive(Debug)]
pub struct DeadLetters {
    folder: Directory,
    bytes_max: u64,
    /// Of each sink's file. The lock is held while files change.
    files: Mutex<BTreeMap<String, LetterFile>>,
}

/// What is known of a file.
#[derive(Debug, Default)]
struct LetterFile {
    /// Bytes of whole lines.
    bytes: u64,
    /// The letters that are not struck out.
    live: BTreeSet<Lsn>,
    /// Number of letters that are struck out, but still in the file.
    struck: usize,
    /// Whether a line is neither a letter nor strikes one out: then nothing is removed from the file.
    is_damaged: bool,
}

/// Whether a change waits for the disk.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::report) enum Durability {
    Synced,
    /// It survives the process, and may be lost with the machine.
    Written,
}

/// What a line says, without the event.
#[derive(Deserialize)]
#[serde(untagged)]
enum LetterLine {
    Struck { struck: Vec<u64> },
    Letter { lsn: u64 },
}

impl DeadLetters {
    /// Opens the folder in `data_dir`, creates it if it is missing, and cuts an incomplete last
    /// line.
    pub fn open(data_dir: &Directory, bytes_max: u64) -> Result<Self, LetterError> {
        Self::open_in(data_dir, FOLDER, bytes_max)
    }

    /// The same with another folder, for letters of another purpose.
    pub(in crate::report) fn open_in(
        parent: &Directory,
        folder: &str,
        bytes_max: u64,
    ) -> Result<Self, LetterError> {
        let folder = parent
            .create_below(folder)
            .map_err(at(&parent.path().join(folder)))?;
        let mut files = BTreeMap::new();
        for name in folder.list().map_err(at(folder.path()))? {
            let Some(sink) = name.strip_suffix(SUFFIX) else {
                continue;
            };
            let file = opened(&folder, &name).map_err(at(&folder.path().join(&name)))?;
            files.insert(sink.to_owned(), file);
        }
        Ok(Self {
            folder,
            bytes_max,
            files: Mutex::new(files),
        })
    }

    /// Stores the letters durably.
    pub fn keep(&self, sink: &str, letters: &[Letter]) -> Result<(), LetterError> {
        let mut lines = Vec::new();
        for letter in letters {
            lines.extend_from_slice(line(sink, letter).to_string().as_bytes());
            lines.push(b'\n');
        }
        let mut files = self.files.lock();
        let has_room = |files: &BTreeMap<_, LetterFile>| {
            let all: u64 = files.values().map(|it| it.bytes).sum();
            all + lines.len() as u64 <= self.bytes_max
        };
        if !has_room(&files)
            && let Some(file) = files.get_mut(sink).filter(|it| it.struck > 0)
        {
            self.write_again(sink, file)?;
        }
        if !has_room(&files) {
            let bytes_max = self.bytes_max;
            return Err(LetterError::Full { bytes_max });
        }
        let file = files.entry(sink.to_owned()).or_default();
        self.append(sink, file, &lines, Durability::Synced)?;
        file.live.extend(letters.iter().map(|it| it.fed.entry.lsn));
        self.folder.sync().map_err(at(self.folder.path()))
    }

    /// The letters of a sink from `from` to before `to`, each once, in the order of the log.
    pub fn of(&self, sink: &str, from: Lsn, to: Option<Lsn>) -> Result<Vec<Letter>, LetterError> {
        let _unchanged = self.files.lock();
        self.read(sink, from, to)
    }

    /// Every sink with letters, with their size in bytes.
    pub fn sizes(&self) -> BTreeMap<String, u64> {
        let files = self.files.lock();
        let bytes = files.iter().map(|(sink, it)| (sink.clone(), it.bytes));
        bytes.collect()
    }

    /// Strikes out the letters with these LSNs.
    pub(in crate::report) fn strike(
        &self,
        sink: &str,
        done: &HashSet<Lsn>,
        durability: Durability,
    ) -> Result<(), LetterError> {
        let mut files = self.files.lock();
        let Some(file) = files.get_mut(sink) else {
            return Ok(());
        };
        let struck: Vec<_> = file.live.iter().filter(|it| done.contains(it)).collect();
        if struck.is_empty() {
            return Ok(());
        }
        let numbers: Vec<_> = struck.iter().map(|it| it.0).collect();
        if numbers.len() == file.live.len() && !file.is_damaged {
            let emptied = empty(&self.folder, &name_of(sink), file, File::sync_data);
            return emptied.map_err(at(&self.path(sink)));
        }
        let mut line = json!({ "struck": numbers }).to_string().into_bytes();
        line.push(b'\n');
        self.append(sink, file, &line, durability)?;
        file.struck += numbers.len();
        file.live.retain(|it| !done.contains(it));
        // So often that each letter is written again about once.
        if file.struck >= file.live.len().max(STRUCK_MIN) && !file.is_damaged {
            self.write_again(sink, file)?;
        }
        Ok(())
    }

    /// Writes a file without what is struck out.
    fn write_again(&self, sink: &str, file: &mut LetterFile) -> Result<(), LetterError> {
        let mut lines = Vec::new();
        for letter in &self.read(sink, Lsn(0), None)? {
            lines.extend_from_slice(line(sink, letter).to_string().as_bytes());
            lines.push(b'\n');
        }
        rename_in(&self.folder, &name_of(sink), &lines).map_err(at(&self.path(sink)))?;
        // Before the sync, which may fail: the file is the new one from now on.
        file.bytes = lines.len() as u64;
        file.struck = 0;
        self.folder.sync().map_err(at(self.folder.path()))
    }

    fn append(
        &self,
        sink: &str,
        file: &mut LetterFile,
        lines: &[u8],
        durability: Durability,
    ) -> Result<(), LetterError> {
        let appended = append(&self.folder, &name_of(sink), lines, file.bytes, durability);
        file.bytes = appended.map_err(at(&self.path(sink)))?;
        Ok(())
    }

    fn read(&self, sink: &str, from: Lsn, to: Option<Lsn>) -> Result<Vec<Letter>, LetterError> {
        let path = self.path(sink);
        let text = match read_text(&self.folder, &name_of(sink), FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(at(&path)(source)),
        };
        let mut letters = BTreeMap::new();
        for (place, text) in text.lines().enumerate() {
            if let Some(struck) = struck_by(text) {
                for lsn in struck {
                    letters.remove(&lsn);
                }
                continue;
            }
            let letter = parsed(text).ok_or_else(|| LetterError::Damaged {
                path: path.clone(),
                line: place + 1,
            })?;
            let lsn = letter.fed.entry.lsn;
            if lsn >= from && to.is_none_or(|to| lsn < to) {
                letters.insert(lsn, letter);
            }
        }
        Ok(letters.into_values().collect())
    }

    fn path(&self, sink: &str) -> PathBuf {
        self.folder.path().join(name_of(sink))
    }
}

/// The number of letters in a file, without an incomplete last line.
pub(super) fn verify(path: &Path) -> Result<usize, LetterError> {
    let mut bytes = read(path, FILE_BYTES_MAX).map_err(at(path))?;
    bytes.truncate(whole_lines(&bytes));
    let mut live = BTreeSet::new();
    for (place, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let text = std::str::from_utf8(line).unwrap_or_default().trim_end();
        if let Some(struck) = struck_by(text) {
            live.retain(|lsn| !struck.contains(lsn));
        } else if let Some(letter) = parsed(text) {
            live.insert(letter.fed.entry.lsn);
        } else {
            return Err(LetterError::Damaged {
                path: path.to_owned(),
                line: place + 1,
            });
        }
    }
    Ok(live.len())
}

/// The letters that a line strikes out, if it does that.
fn struck_by(text: &str) -> Option<Vec<Lsn>> {
    // Without reading an event as JSON once more.
    if !text.starts_with("{\"struck\"") {
        return None;
    }
    match serde_json::from_str(text).ok()? {
        LetterLine::Struck { struck } => Some(struck.into_iter().map(Lsn).collect()),
        LetterLine::Letter { .. } => None,
    }
}

/// The JSON of a letter for operators.
pub fn letter_json(sink: &str, letter: &Letter) -> Value {
    json!({
        "sink": sink,
        "lsn": letter.fed.entry.lsn.0,
        "cause": letter.cause,
        "refused_at": letter.refused_at.to_string(),
        "event": event_json(&letter.fed.entry),
    })
}

/// The stored form of a letter: the JSON for operators, and the bytes of the event from the log.
fn line(sink: &str, letter: &Letter) -> Value {
    let AuditEntry {
        at, trace, event, ..
    } = &letter.fed.entry;
    let Kind { number, version } = codec::kind_of(event);
    let mut payload = Vec::new();
    codec::encode(event, *at, *trace, &mut payload);
    let mut shown = letter_json(sink, letter);
    shown["record"] = json!({
        "end": letter.fed.end.0,
        "kind": number,
        "version": version,
        "payload": hex::encode(payload),
        "refused_at_ms": letter.refused_at.get(),
    });
    shown
}

fn parsed(text: &str) -> Option<Letter> {
    let value: Value = serde_json::from_str(text).ok()?;
    let record = &value["record"];
    let small = |name: &str| u16::try_from(record[name].as_u64()?).ok();
    let kind = Kind {
        number: small("kind")?,
        version: small("version")?,
    };
    let payload = hex::decode(record["payload"].as_str()?).ok()?;
    let (at, event): (UnixMs, Event) = codec::decode(kind, &payload).ok()?;
    let lsn = Lsn(value["lsn"].as_u64()?);
    Some(Letter {
        fed: Fed {
            entry: AuditEntry {
                lsn,
                at,
                trace: codec::trace_of(&payload),
                event,
            },
            end: Lsn(record["end"].as_u64()?),
        },
        cause: value["cause"].as_str()?.to_owned(),
        refused_at: UnixMs::new(record["refused_at_ms"].as_u64()?),
    })
}

/// Appends to a file that has `length` valid bytes, and returns the new length. Bytes of an earlier
/// failed append are cut first; a file with fewer bytes is not the one that was written.
fn append(
    folder: &Directory,
    name: &str,
    lines: &[u8],
    length: u64,
    durability: Durability,
) -> io::Result<u64> {
    let mut file = folder.append_file(name)?;
    let found = file.metadata()?.len();
    if found < length {
        let what = format!("it has {found} bytes, and {length} were written to it");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    file.set_len(length)?;
    file.write_all(lines)?;
    if durability == Durability::Synced {
        file.sync_data()?;
    }
    Ok(length + lines.len() as u64)
}

/// Empties a file of which every letter is struck out.
fn empty(
    folder: &Directory,
    name: &str,
    file: &mut LetterFile,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let emptied = folder.append_file(name)?;
    emptied.set_len(0)?;
    // Before the sync, which may fail: the next line goes to the beginning. The letters stay known until
    // it is durable that they are gone.
    (file.bytes, file.struck) = (0, 0);
    sync(&emptied)?;
    *file = LetterFile::default();
    Ok(())
}

/// Cuts the file after its last line end, and returns what is in it.
fn opened(folder: &Directory, name: &str) -> io::Result<LetterFile> {
    let file = folder.open_file(name, Access::ReadWrite)?;
    let bytes = bytes_of(&file, FILE_BYTES_MAX)?;
    let whole = whole_lines(&bytes);
    if whole < bytes.len() {
        file.set_len(whole as u64)?;
        file.sync_data()?;
    }
    let mut found = LetterFile {
        bytes: whole as u64,
        ..LetterFile::default()
    };
    for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(LetterLine::Letter { lsn }) => drop(found.live.insert(Lsn(lsn))),
            Ok(LetterLine::Struck { struck }) => {
                let struck = struck.into_iter().filter(|it| found.live.remove(&Lsn(*it)));
                found.struck += struck.count();
            }
            Err(_) => found.is_damaged = true,
        }
    }
    Ok(found)
}

/// Number of bytes up to the last line end.
fn whole_lines(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte == b'\n');
    last.map_or(0, |at| at + 1)
}

fn name_of(sink: &str) -> String {
    format!("{sink}{SUFFIX}")
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LetterError {
    let path = path.to_owned();
    move |source| LetterError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_became_shorter_is_not_filled_with_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Directory::open(dir.path()).unwrap();
        let add = |length| append(&folder, "kept.jsonl", b"{}\n", length, Durability::Synced);
        assert_eq!(add(0).unwrap(), 3);
        assert_eq!(add(3).unwrap(), 6);
        add(9).unwrap_err();
        assert_eq!(read_text(&folder, "kept.jsonl", 99).unwrap(), "{}\n{}\n");
        assert_eq!(add(6).unwrap(), 9);
    }

    #[test]
    fn a_file_that_was_emptied_has_no_bytes_even_if_the_sync_failed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Directory::open(dir.path()).unwrap();
        let bytes = append(&folder, "kept.jsonl", b"{}\n", 0, Durability::Synced).unwrap();
        let mut file = LetterFile {
            bytes,
            live: BTreeSet::from([Lsn(7)]),
            ..LetterFile::default()
        };
        let failing = |_: &File| Err(io::Error::other("the disk"));
        empty(&folder, "kept.jsonl", &mut file, failing).unwrap_err();
        assert_eq!((file.bytes, file.live.len()), (0, 1));
        append(
            &folder,
            "kept.jsonl",
            b"{}\n",
            file.bytes,
            Durability::Synced,
        )
        .unwrap();
        assert_eq!(read_text(&folder, "kept.jsonl", 99).unwrap(), "{}\n");
        empty(&folder, "kept.jsonl", &mut file, File::sync_data).unwrap();
        assert!(file.live.is_empty());
    }
}
