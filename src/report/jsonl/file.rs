//! Owns the files of the JSON Lines sink: appending, cutting unacknowledged lines, rotating, and
//! taking back what the log has lost.
//!
//! Order of durable writes: lines, then the cursor with the file's length; at a rotation the
//! rename, then the cursor with length zero; to take lines back, a copy of them, then the cursor,
//! then the cut. Opening undoes or completes what a crash interrupted: full files never have lines
//! after the cursor.

use super::{JsonlSettings, lines};
use crate::files::{self, folder_of};
use crate::ids::Lsn;
use crate::journal::{Cursor, Generation};
use crate::report::feed::cursor::{
    StoredCursor, log_id_text, replace, sealed, sync_folder, unsealed,
};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum JsonlError {
    /// An operation of the file system failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The file has events of another log.
    #[error(
        "{path} has the events of log {theirs}, and this is log {ours}; name another path in \
         report.jsonl.path"
    )]
    OtherLog {
        path: PathBuf,
        /// The log of the file.
        theirs: String,
        /// Which log this is.
        ours: String,
    },
    /// The file has lines, but its cursor file is missing.
    #[error(
        "{path} or files rotated from it are there without a good {path}.cursor beside them; move \
         them away, and the sink writes all of it anew from where the log begins"
    )]
    Unaccounted { path: PathBuf },
    /// A file has a line that is not an event.
    #[error("{path}, at byte {offset}: not the line of an event; move the files away")]
    NoLine { path: PathBuf, offset: u64 },
    /// The file was not opened again after an error.
    #[error("the file is not open")]
    NotOpen,
}

/// The content of the small file beside the lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Account {
    log_id: String,
    #[serde(flatten)]
    at: StoredCursor,
    length: u64,
}

/// The current file.
#[derive(Debug)]
pub(super) struct EventFile {
    settings: JsonlSettings,
    file: File,
    account: Account,
    /// Whether the cursor file was ever written.
    begun: bool,
}

impl EventFile {
    /// Opens the file and cuts it to the length in its cursor file.
    pub(super) fn open(
        settings: &JsonlSettings,
        log_id: u64,
        generation: Generation,
    ) -> Result<Self, JsonlError> {
        let path = &settings.path;
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(failed("creating", folder))?;
        let ours = log_id_text(log_id);
        let account = read_account(path)?;
        let begun = account.is_some();
        let mut account = account.unwrap_or(Account {
            log_id: ours.clone(),
            at: StoredCursor::beginning(generation),
            length: 0,
        });
        if account.log_id != ours {
            return Err(JsonlError::OtherLog {
                path: path.clone(),
                theirs: account.log_id,
                ours,
            });
        }
        let there = fs::metadata(path).map_or(0, |it| it.len());
        // Right after a rotation all lines are in the full files.
        if !begun && (there > 0 || !full_files(path)?.is_empty()) {
            return Err(JsonlError::Unaccounted { path: path.clone() });
        }
        let cursor = account.at.cursor().lsn;
        if begun && full_behind(path, cursor)?.next().is_some() {
            // Only an interrupted take-back leaves full files after the cursor, and it makes a copy
            // first.
            if !is_kept_from(path, cursor)? {
                return Err(JsonlError::Unaccounted { path: path.clone() });
            }
            cut_full_files(path, cursor)?;
        }
        if there < account.length {
            // A crash interrupted a rotation before its cursor file was written.
            if !rotated(path, cursor).exists() {
                return Err(JsonlError::Unaccounted { path: path.clone() });
            }
            account.length = 0;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(failed("opening", path))?;
        file.set_len(account.length)
            .and_then(|()| file.sync_data())
            .map_err(failed("cutting", path))?;
        Ok(Self {
            settings: settings.clone(),
            file,
            account,
            begun,
        })
    }

    /// Everything before this cursor is in the files; `None`: nothing was ever written.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.begun.then_some(self.account.at.cursor())
    }

    /// Appends lines durably, then moves the cursor.
    pub(super) fn append<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l [u8]>,
        cursor: Option<Cursor>,
    ) -> Result<(), JsonlError> {
        let bytes: Vec<u8> = lines.flatten().copied().collect();
        if !bytes.is_empty() {
            let path = &self.settings.path;
            self.file
                .write_all(&bytes)
                .and_then(|()| self.file.sync_data())
                .map_err(failed("appending to", path))?;
            self.account.length += bytes.len() as u64;
        }
        if let Some(cursor) = cursor {
            self.account.at = cursor.into();
        }
        self.save()
    }

    /// Renames a full file and begins a new one.
    pub(super) fn rotate_if_full(&mut self) -> Result<(), JsonlError> {
        if self.account.length < self.settings.rotate_bytes {
            return Ok(());
        }
        let path = &self.settings.path;
        let full = rotated(path, self.account.at.cursor().lsn);
        fs::rename(path, &full)
            .and_then(|()| sync_folder(folder_of(path)))
            .map_err(failed("renaming", path))?;
        self.account.length = 0;
        self.save()?;
        let path = &self.settings.path;
        let file = OpenOptions::new().create(true).append(true).open(path);
        self.file = file.map_err(failed("opening", path))?;
        self.remove_surplus()
    }

    /// Takes back the lines from `to` on into a separate file; returns their number.
    pub(super) fn take_back(&mut self, from: &Cursor, to: &Cursor) -> Result<u64, JsonlError> {
        let path = self.settings.path.clone();
        // 1. Copy all of them, in the order of the log. Repeating this after a crash gives the same
        // file.
        let kept = lost(&path, from, to);
        let mut files = full_files(&path)?;
        files.push(path.clone());
        let mut taken = 0;
        let copy = File::create(&kept).map_err(failed("creating", &kept))?;
        for file in &files {
            let at = lines::first_at_or_behind(file, to.lsn)?;
            taken += lines::copy(file, at, &copy).map_err(failed("copying", file))?;
        }
        copy.sync_all()
            .and_then(|()| sync_folder(folder_of(&path)))
            .map_err(failed("syncing", &kept))?;
        // 2. Move the cursor: from here on these lines are no longer part of the file.
        self.account.length = lines::first_at_or_behind(&path, to.lsn)?;
        self.account.at = (*to).into();
        self.save()?;
        // 3. Cut the lines.
        self.file
            .set_len(self.account.length)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("cutting", &path))?;
        cut_full_files(&path, to.lsn)?;
        if taken == 0 {
            fs::remove_file(&kept).map_err(failed("removing", &kept))?;
        }
        Ok(taken)
    }

    fn remove_surplus(&self) -> Result<(), JsonlError> {
        let path = &self.settings.path;
        let full = full_files(path)?;
        let surplus = full.len().saturating_sub(self.settings.keep);
        for path in &full[..surplus] {
            fs::remove_file(path).map_err(failed("removing", path))?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), JsonlError> {
        let path = account_path(&self.settings.path);
        let json = serde_json::to_string(&self.account).expect("it is numbers and a word");
        replace(&path, sealed(&json).as_bytes()).map_err(failed("writing", &path))?;
        self.begun = true;
        Ok(())
    }
}

fn read_account(path: &Path) -> Result<Option<Account>, JsonlError> {
    let account = account_path(path);
    match files::read_text(&account, files::SECRET_BYTES_MAX) {
        Ok(text) => unsealed(&text)
            .and_then(|json| serde_json::from_str(json).ok())
            .map(Some)
            .ok_or_else(|| JsonlError::Unaccounted {
                path: path.to_owned(),
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("reading", &account)(source)),
    }
}

fn account_path(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}.cursor", name_of(path)))
}

/// The name of a full file whose last event ends at `cursor`.
fn rotated(path: &Path, cursor: Lsn) -> PathBuf {
    path.with_file_name(format!("{}.{:020}", name_of(path), cursor.0))
}

/// The file for lines that are taken back from `path`.
fn lost(path: &Path, from: &Cursor, to: &Cursor) -> PathBuf {
    let (name, generation) = (name_of(path), from.generation);
    let (first, end) = (to.lsn.0, from.lsn.0);
    path.with_file_name(format!("{name}.lost-{generation}-{first:020}-{end:020}"))
}

/// The full files that end after `cursor`.
fn full_behind(path: &Path, cursor: Lsn) -> Result<impl Iterator<Item = PathBuf>, JsonlError> {
    let last = rotated(path, cursor);
    Ok(full_files(path)?.into_iter().filter(move |it| *it > last))
}

/// Whether there is a file with lines taken back from `first` on.
fn is_kept_from(path: &Path, first: Lsn) -> Result<bool, JsonlError> {
    let (prefix, part) = (
        format!("{}.lost-", name_of(path)),
        format!("-{:020}-", first.0),
    );
    let mut names = names_beside(path)?.into_iter();
    Ok(names.any(|name| name.starts_with(&prefix) && name.contains(&part)))
}

/// Cuts full files that end after `cursor`: completes a take-back that a crash interrupted before
/// the cut.
fn cut_full_files(path: &Path, cursor: Lsn) -> Result<(), JsonlError> {
    for full in full_behind(path, cursor)? {
        let length = lines::first_at_or_behind(&full, cursor)?;
        if length == 0 {
            fs::remove_file(&full).map_err(failed("removing", &full))?;
            continue;
        }
        let file = OpenOptions::new().write(true).open(&full);
        let file = file.map_err(failed("opening", &full))?;
        file.set_len(length)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&full, rotated(path, cursor)))
            .map_err(failed("cutting", &full))?;
    }
    let folder = folder_of(path);
    sync_folder(folder).map_err(failed("syncing", folder))
}

/// The full files that were rotated from `path`, oldest first.
pub(super) fn full_files(path: &Path) -> Result<Vec<PathBuf>, JsonlError> {
    let prefix = format!("{}.", name_of(path));
    let mut full = names_beside(path)?;
    full.retain(|name| {
        let number = name.strip_prefix(&prefix).unwrap_or_default();
        number.len() == 20 && number.bytes().all(|b| b.is_ascii_digit())
    });
    full.sort();
    Ok(full.iter().map(|it| path.with_file_name(it)).collect())
}

fn names_beside(path: &Path) -> Result<Vec<String>, JsonlError> {
    let folder = folder_of(path);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("listing", folder))? {
        let entry = entry.map_err(failed("listing", folder))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JsonlError {
    let path = path.to_owned();
    move |source| JsonlError::Io {
        operation,
        path,
        source,
    }
}
