//! Owns the files of the JSON Lines sink: appending, cutting what nobody vouches for, rotating.
//!
//! Order of what is durable: lines, then the cursor with the file's length; at a rotation the
//! rename, then the cursor with length zero. A crash in between is undone, or done, at opening.

use super::JsonlSettings;
use crate::files;
use crate::ids::Lsn;
use crate::report::feed::cursor::{log_id_text, replace, sealed, sync_folder, unsealed};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum JsonlError {
    /// The file system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has another log's events.
    #[error(
        "{path} has the events of log {theirs}, and this is log {ours}; name another path in \
         report.jsonl.path"
    )]
    OtherLog {
        /// Which file.
        path: PathBuf,
        /// Whose events it has.
        theirs: String,
        /// Which log this is.
        ours: String,
    },
    /// The file has lines, and what it has is not known.
    #[error(
        "{path} or files rotated from it are there without a good {path}.cursor beside them; move \
         them away, and the sink writes all of it anew from where the log begins"
    )]
    Unaccounted {
        /// Which file.
        path: PathBuf,
    },
    /// It was not opened after an error.
    #[error("the file is not open")]
    NotOpen,
}

/// What the small file beside the lines says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Account {
    log_id: String,
    cursor: u64,
    length: u64,
}

/// The file that is written.
#[derive(Debug)]
pub(super) struct EventFile {
    settings: JsonlSettings,
    file: File,
    account: Account,
    /// Whether the account has ever been written.
    begun: bool,
}

impl EventFile {
    /// Opens it as its account says it is.
    pub(super) fn open(settings: &JsonlSettings, log_id: u64) -> Result<Self, JsonlError> {
        let path = &settings.path;
        if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed("creating", folder))?;
        }
        let ours = log_id_text(log_id);
        let account = read_account(path)?;
        let begun = account.is_some();
        let mut account = account.unwrap_or(Account {
            log_id: ours.clone(),
            cursor: 0,
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
        // Right after a rotation the lines stand in the full files alone.
        if !begun && (there > 0 || !full_files(path)?.is_empty()) {
            return Err(JsonlError::Unaccounted { path: path.clone() });
        }
        if there < account.length {
            // A rotation that a crash cut off before its account was written.
            if !rotated(path, Lsn(account.cursor)).exists() {
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

    /// Everything before is in the files; `None`: nothing ever was.
    pub(super) fn cursor(&self) -> Option<Lsn> {
        self.begun.then_some(Lsn(self.account.cursor))
    }

    /// Appends lines durably, and moves the cursor where it moves.
    pub(super) fn append<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l [u8]>,
        cursor: Option<Lsn>,
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
            self.account.cursor = cursor.0;
        }
        self.save()
    }

    /// Renames a full file and begins a new one.
    pub(super) fn rotate_if_full(&mut self) -> Result<(), JsonlError> {
        if self.account.length < self.settings.rotate_bytes {
            return Ok(());
        }
        let path = &self.settings.path;
        let full = rotated(path, Lsn(self.account.cursor));
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

/// The full files that were rotated from `path`, oldest first.
fn full_files(path: &Path) -> Result<Vec<PathBuf>, JsonlError> {
    let folder = folder_of(path);
    let mut full = Vec::new();
    let prefix = format!("{}.", name_of(path));
    for entry in fs::read_dir(folder).map_err(failed("listing", folder))? {
        let entry = entry.map_err(failed("listing", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(&prefix).unwrap_or_default();
        if number.len() == 20 && number.bytes().all(|b| b.is_ascii_digit()) {
            full.push(entry.path());
        }
    }
    full.sort();
    Ok(full)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JsonlError {
    let path = path.to_owned();
    move |source| JsonlError::Io {
        operation,
        path,
        source,
    }
}
